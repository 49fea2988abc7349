//! The log: lines in SRS's layout or as JSON, and where they go.
//!
//! Operators grep for these lines, so texts at the moments listed in SRS's documents keep SRS's words. A line
//! is handed to a writer thread ([`writer`]): a slow disk or terminal costs lines, never media. [`Control`]
//! changes everything about the log while the server runs.

mod layout;
mod throttle;
mod writer;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mill_config::model::{self, Format, Level as Least, Tank};
use parking_lot::Mutex;
use tracing::error;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

pub(crate) use self::throttle::Throttle;

use self::layout::{Layout, Style};
use self::writer::{Lines, Output, Writer};

tokio::task_local! {
    static CID: u64;
}

/// Runs a task under a context id.
pub(crate) fn with_cid<F: Future>(cid: u64, task: F) -> impl Future<Output = F::Output> {
    CID.scope(cid, task)
}

/// Logs something on behalf of another task.
pub(crate) fn under(cid: u64, log: impl FnOnce()) {
    CID.sync_scope(cid, log);
}

/// The context id of the running task; 0 outside all tasks.
fn cid() -> u64 {
    CID.try_with(|cid| *cid).unwrap_or(0)
}

/// The log of the process. Dropping it writes out what waits.
pub(crate) struct Log {
    control: Control,
    _writer: Writer,
}

impl Log {
    /// The handle that changes it.
    pub(crate) fn control(&self) -> Control {
        self.control.clone()
    }
}

/// Starts logging.
///
/// # Errors
/// If the log file cannot be opened: a server without a log would be a riddle.
pub(crate) fn init(conf: &model::Log, utc: bool) -> io::Result<Log> {
    let (lines, style) = (Lines::default(), Arc::new(Style::default()));
    let output = Place::of(conf).open()?;
    let (filter, level) = reload::Layer::new(max_level(conf.level));
    let layout = Layout { pid: std::process::id(), style: style.clone() };
    let layer = tracing_subscriber::fmt::layer().event_format(layout).with_writer(lines.clone());
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(io::Error::other)?;
    let place = Arc::new(Mutex::new(Place::of(conf)));
    let control = Control { level, style, lines: lines.clone(), place };
    control.restyle(conf, utc, output.colour);
    if conf.tank == Tank::File {
        point_to(&conf.file);
    }
    log_panics();
    Ok(Log { control, _writer: Writer::start(lines, output)? })
}

/// Changes the log while it is written. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Control {
    level: reload::Handle<LevelFilter, Registry>,
    style: Arc<Style>,
    lines: Lines,
    place: Arc<Mutex<Place>>,
}

impl Control {
    /// Opens what these settings need. Blocks for the disk.
    ///
    /// # Errors
    /// If the new log file cannot be opened; then nothing has changed.
    pub(crate) fn prepare(&self, conf: &model::Log, utc: bool) -> io::Result<Prepared> {
        let wanted = Place::of(conf);
        let same = *self.place.lock() == wanted;
        let output = if same { None } else { Some(wanted.open()?) };
        Ok(Prepared { conf: conf.clone(), utc, output })
    }

    /// Uses the new settings from the next line on.
    pub(crate) fn commit(&self, prepared: Prepared) {
        let Prepared { conf, utc, output } = prepared;
        let mut colour = self.style.colour.load(Ordering::Relaxed);
        if let Some(output) = output {
            colour = output.colour;
            self.lines.write_to(output);
            *self.place.lock() = Place::of(&conf);
        }
        self.restyle(&conf, utc, colour);
        // It can only fail if the log is gone, and then there is nobody to filter for.
        let _ = self.level.reload(max_level(conf.level));
    }

    /// Opens the log file again, after somebody has renamed it. If that fails the old one is kept, and the
    /// log and standard error say so. Returns at once.
    pub(crate) fn reopen(&self) {
        self.lines.reopen();
    }

    fn restyle(&self, conf: &model::Log, utc: bool, colour: bool) {
        self.style.utc.store(utc, Ordering::Relaxed);
        self.style.colour.store(colour, Ordering::Relaxed);
        self.style.json.store(conf.format == Format::Json, Ordering::Relaxed);
    }
}

/// Settings that are not in force yet, with the output they need if it is another.
pub(crate) struct Prepared {
    conf: model::Log,
    utc: bool,
    output: Option<Output>,
}

/// Where the log goes.
#[derive(PartialEq, Eq)]
enum Place {
    Console,
    File(PathBuf),
}

impl Place {
    fn of(conf: &model::Log) -> Self {
        match conf.tank {
            Tank::Console => Self::Console,
            Tank::File => Self::File(conf.file.clone()),
        }
    }

    fn open(&self) -> io::Result<Output> {
        match self {
            Self::Console => Output::console(),
            Self::File(path) => Output::file(path),
        }
    }
}

/// Tells whoever looks at the console where to look instead.
#[expect(clippy::print_stdout, reason = "it is about the log not being on the console")]
fn point_to(file: &Path) {
    println!("millstream: the log is written to {}", file.display());
}

/// A panic is a line of the log: a daemon has no standard error, and writing there could block.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some(writer::THREAD) {
            usual(panic);
        } else {
            error!("{panic}");
        }
    }));
}

fn max_level(least: Least) -> LevelFilter {
    match least {
        Least::Trace => LevelFilter::TRACE,
        Least::Debug => LevelFilter::DEBUG,
        Least::Info => LevelFilter::INFO,
        Least::Warn => LevelFilter::WARN,
        Least::Error => LevelFilter::ERROR,
    }
}

/// A URL, or a part of one, for the log: names of parameters stay; their values (tokens, passwords) and who
/// logs in do not. Parameters are found in all the spellings of [`mill_rtmp::url`].
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

/// What may stand between the parameters of a URL, and between their names and values; longer ones first.
const SEPARATORS: [&str; 6] = ["...", "&&", "&", "=", ",", "?"];

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0;
        if let Some((schema, rest)) = text.split_once("://") {
            let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
            write!(f, "{schema}://")?;
            text = match authority.rfind('@') {
                Some(at) => {
                    f.write_str("***@")?;
                    &rest[at + 1..]
                }
                None => rest,
            };
        }
        // `live,vhost,v,token,x`: with a vhost among them, the rarer separators are such.
        let path = text.split('?').next().unwrap_or(text);
        let rare = SEPARATORS.iter().any(|separator| path.contains(&format!("{separator}vhost")));
        let separators: &[&str] = if rare { &SEPARATORS } else { &["?", "..."] };
        let (path, mut separator, mut rest) = split(text, separators);
        f.write_str(path)?;
        while let Some(before) = separator {
            f.write_str(before)?;
            let (name, behind, value) = split(rest, &SEPARATORS);
            match behind {
                Some(assigns @ ("=" | "..." | ",")) => {
                    let known = name == "vhost";
                    // A token may have `=` in it, and what else is no end here.
                    let ends: &[&str] =
                        if known { &SEPARATORS } else { &[assigns, "&"][usize::from(assigns == "=")..] };
                    let (value, next, behind) = split(value, ends);
                    write!(f, "{name}{assigns}{}", if known { value } else { "***" })?;
                    (separator, rest) = (next, behind);
                }
                _ => {
                    f.write_str("***")?;
                    (separator, rest) = (behind, value);
                }
            }
        }
        Ok(())
    }
}

/// Splits at the first separator: what stands before it, the separator itself, and what comes behind.
fn split<'a, 's>(text: &'a str, separators: &[&'s str]) -> (&'a str, Option<&'s str>, &'a str) {
    let found = separators.iter().filter_map(|separator| Some((text.find(separator)?, *separator)));
    // Of two that begin at the same place the first in the list.
    match found.min_by_key(|(at, _)| *at) {
        Some((at, separator)) => (&text[..at], Some(separator), &text[at + separator.len()..]),
        None => (text, None, ""),
    }
}

#[cfg(test)]
mod tests;
