//! Where the configuration comes from, and the way to load it: the first time and every time after.
//!
//! Paths mean what they meant when the server was started, whatever `work_dir` has changed to since.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mill_config::{Loaded, Report};

/// A configuration's origin.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    origin: Origin,
    /// The working directory at the start.
    base: PathBuf,
    /// Variables beside those of the environment, and stronger.
    overrides: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum Origin {
    File(PathBuf),
    Environment,
    BuiltIn,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Invalid(#[from] Report),
}

impl Source {
    /// `SRS_ENV_ONLY` and `SRS_CONFIG_FILE` in the environment win over the command line.
    pub(crate) fn new(file: Option<PathBuf>, env_only: bool, overrides: Vec<(String, String)>) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|v: &OsString| !v.is_empty());
        let origin = if env_only || set("SRS_ENV_ONLY").is_some() {
            Origin::Environment
        } else if let Some(path) = set("SRS_CONFIG_FILE").map(PathBuf::from).or(file) {
            Origin::File(path)
        } else {
            Origin::BuiltIn
        };
        // Without a working directory only absolute paths can be read, and relative ones say so.
        Self { origin, base: std::env::current_dir().unwrap_or_default(), overrides }
    }

    /// Reads, parses and checks. Blocks for the disk.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn load(&self) -> Result<Loaded, Problem> {
        let text = self.text()?;
        self.check(text.as_deref())
    }

    /// What stands in the file, if it is one. Blocks likewise.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn text(&self) -> Result<Option<Vec<u8>>, Problem> {
        let Origin::File(path) = &self.origin else { return Ok(None) };
        let read = std::fs::read(self.base.join(path));
        read.map(Some).map_err(|error| Problem::Unreadable { path: path.clone(), error })
    }

    /// Parses and checks `text` in the place of the file's. Blocks for included files.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn check(&self, text: Option<&[u8]>) -> Result<Loaded, Problem> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            // What is not UTF-8 cannot be one of ours.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let environment = environment.chain(self.overrides.iter().cloned());
        let mut read = |path: &str| std::fs::read(self.base.join(path));
        let loaded = match &self.origin {
            Origin::File(path) => {
                let text = text.unwrap_or_default();
                mill_config::load(Some((&path.to_string_lossy(), text)), environment, &mut read)
            }
            Origin::Environment => mill_config::load(None, environment, &mut read),
            Origin::BuiltIn => {
                let text = mill_config::BUILT_IN.as_bytes();
                mill_config::load(Some(("built-in", text)), environment, &mut read)
            }
        };
        Ok(loaded?)
    }

    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match &self.origin {
            Origin::File(path) => Some(self.base.join(path)),
            _ => None,
        }
    }

    /// Puts `text` into the place of the file's, all of it or nothing. A link stays a link, and the file keeps
    /// its permissions. Blocks until the disk has it.
    ///
    /// # Errors
    /// If there is no file, or the disk says so; then the file is as it was.
    pub(crate) fn replace(&self, text: &[u8]) -> io::Result<()> {
        let file = self.file().ok_or(io::ErrorKind::Unsupported)?;
        replace(&std::fs::canonicalize(file)?, text)
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let replaced = (|| {
        let permissions = std::fs::metadata(path)?.permissions();
        let mut file = std::fs::File::create(&temporary)?;
        file.set_permissions(permissions)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if replaced.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    replaced
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(path) => write!(f, "the configuration file {}", Path::display(path)),
            Origin::Environment => write!(f, "the configuration from the environment"),
            Origin::BuiltIn => write!(f, "the built-in configuration"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SRS does not find a relative file again once `work_dir` has taken it elsewhere.
    #[test]
    fn relative_files_are_found_again_from_anywhere() {
        let base = std::env::temp_dir().join(format!("millstream-conf-{}", std::process::id()));
        std::fs::create_dir_all(base.join("conf")).unwrap();
        std::fs::write(base.join("conf/srs.conf"), "listen 1935; work_dir /; include conf/vhost.conf;")
            .unwrap();
        std::fs::write(base.join("conf/vhost.conf"), "vhost a {}").unwrap();
        // The working directory of the tests is another one than `base`.
        let origin = Origin::File("conf/srs.conf".into());
        let overrides = vec![("SRS_CHUNK_SIZE".into(), "4096".into())];
        let source = Source { origin, base: base.clone(), overrides };
        let loaded = source.load().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.snapshot.vhosts[0].name, "a");
        assert_eq!(loaded.snapshot.global.chunk_size, 4096);
        assert_eq!(source.file(), Some(base.join("conf/srs.conf")));

        source.replace(b"listen 1936;").unwrap();
        let loaded = source.load().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.snapshot.global.listen[0].port(), 1936);

        std::fs::remove_dir_all(&base).unwrap();
        assert!(matches!(source.load(), Err(Problem::Unreadable { .. })));
    }
}
