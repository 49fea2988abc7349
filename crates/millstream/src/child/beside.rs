//! The programs beside one publish: `transcode` and `exec`.
//!
//! They begin with the publish and end with it; those of `exec.unpublish` run once when it has ended. A reload ends those
//! whose words have changed and begins those that are new; all others run on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mill_config::Snapshot;
use mill_config::model::{DEFAULT_VHOST, Engine, Vhost};
use mill_hub::StreamId;
use mill_packager::path::{StreamName, Template};
use mill_rtmp::url;
use tracing::warn;

use super::keeper::{Order, Sink};
use super::lineage::{Lineage, streams_here};
use super::words::{BadWord, Values};
use super::{Children, Job, Kind, Label, Prepared, Running, log, now};
use crate::attach::Source;

/// What runs beside a publish. Dropping it ends all of it, and begins what is to be run then.
pub(crate) struct Beside {
    children: Children,
    stream: StreamId,
    /// What the stream has come through.
    lineage: Lineage,
    running: Vec<(Wanted, Option<Running>)>,
    at_end: Vec<Job>,
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.running.clear();
        let others = self.children.beside(&self.stream);
        for job in self.at_end.drain(..) {
            self.children.start_once(job, others.clone());
        }
    }
}

/// What the configuration wants for the stream.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Transcode { ffmpeg: String, engine: Box<Engine>, at: SocketAddr },
    Exec { name: String, words: Vec<String>, at: SocketAddr },
}

impl Beside {
    /// Nothing yet.
    pub(crate) fn new(children: &Children, stream: &StreamId) -> Self {
        Self {
            children: children.clone(),
            stream: stream.clone(),
            lineage: children.0.family.of(stream),
            running: Vec::new(),
            at_end: Vec::new(),
        }
    }

    /// Starts what should run and does not, ends what runs and should not.
    pub(crate) fn settle(&mut self, config: &Snapshot, vhost: Option<&Vhost>, source: &Arc<Source>) {
        let mut wanted = vhost.map_or_else(Vec::new, |vhost| self.wanted(config, vhost, source));
        self.running.retain(|(runs, _)| {
            let place = wanted.iter().position(|wanted| wanted == runs);
            place.map(|place| wanted.remove(place)).is_some()
        });
        for wanted in wanted {
            let job = wanted.job(self.lineage, source);
            // One that cannot be started stands in the list too, so that it is not tried with every reload.
            self.running.push((wanted, self.children.start(job)));
        }
        let at_end = vhost.map_or_else(Vec::new, |vhost| self.wanted_at_end(config, vhost, source));
        self.at_end = at_end.iter().map(|wanted| wanted.job(self.lineage, source)).collect();
    }

    fn wanted_at_end(&self, config: &Snapshot, vhost: &Vhost, source: &Source) -> Vec<Wanted> {
        if !vhost.exec.enabled || self.lineage.executed {
            return Vec::new();
        }
        let at = own_address(&config.global.listen, &source.peer.tc_url);
        let lines = (1..).zip(&vhost.exec.unpublish);
        let exec = |(number, words): (usize, &Vec<String>)| Wanted::Exec {
            name: format!("unpublish-{number}"),
            words: words.clone(),
            at,
        };
        lines.map(exec).collect()
    }

    fn wanted(&self, config: &Snapshot, vhost: &Vhost, source: &Source) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let StreamId { app, name, .. } = source.stream();
        let at = own_address(&config.global.listen, &source.peer.tc_url);
        let recoded =
            vhost.transcode.iter().filter(|block| block.applies(app, name) && !block.ffmpeg.is_empty());
        for block in recoded.filter(|_| !self.lineage.transcoded) {
            for engine in block.engines.iter().filter(|engine| engine.enabled) {
                match engine.check() {
                    Ok(()) => wanted.push(Wanted::Transcode {
                        ffmpeg: block.ffmpeg.clone(),
                        engine: Box::new(engine.clone()),
                        at,
                    }),
                    Err(e) => warn!("transcode {}: engine {} is left out: {e}", source.stream(), engine.name),
                }
            }
        }
        if vhost.exec.enabled && !self.lineage.executed {
            for (number, words) in (1..).zip(&vhost.exec.publish) {
                wanted.push(Wanted::Exec { name: number.to_string(), words: words.clone(), at });
            }
        }
        wanted
    }
}

impl Wanted {
    fn job(&self, lineage: Lineage, source: &Arc<Source>) -> Job {
        let stream = source.stream().clone();
        let label = |kind, name: &str| Label {
            kind,
            vhost: stream.vhost.clone(),
            stream: Some(stream.clone()),
            name: name.to_owned(),
        };
        let source = source.clone();
        match self.clone() {
            Self::Transcode { ffmpeg, engine, at } => Job {
                label: label(Kind::Transcode, &engine.name),
                lineage: Lineage { transcoded: true, ..lineage },
                prepare: Box::new(move |config| transcode(config, &source, &ffmpeg, &engine, at)),
            },
            Self::Exec { name, words, at } => Job {
                label: label(Kind::Exec, &name),
                lineage: Lineage { executed: true, ..lineage },
                prepare: Box::new(move |config| exec(config, &source, &name, &words, at)),
            },
        }
    }
}

fn transcode(
    config: &Snapshot,
    source: &Source,
    ffmpeg: &str,
    engine: &Engine,
    at: SocketAddr,
) -> Result<Prepared, BadWord> {
    let StreamId { vhost, app, name } = source.stream();
    // ffmpeg takes one level for the stream and at most two for the app.
    if name.contains('/') || app.split('/').count() > 2 {
        return Err(BadWord::Levels);
    }
    let input = format!("rtmp://{at}/{app}?vhost={vhost}/{name}");
    let mut values = values(config, source, at);
    values.named.push(("param", source.param.clone()));
    values.named.push(("engine", engine.name.clone()));
    let output = values.output(&engine.output)?;
    let mut parts = vec!["ffmpeg-encoder", vhost, app, name];
    parts.extend(Some(&*engine.name).filter(|name| !name.is_empty()));
    let log = log(config, &parts);
    Ok(Prepared {
        makes: streams_here(config, &output),
        order: Order {
            program: ffmpeg.to_owned(),
            arguments: engine.transcode(&input, &output),
            stdout: log.clone(),
            stderr: log,
            directory: directory(&output),
        },
    })
}

/// The folder of an output that is a file.
pub(super) fn directory(output: &str) -> PathBuf {
    let file = output.strip_prefix("file:").unwrap_or(output);
    let is_file = !file.split('/').next().unwrap_or_default().contains(':');
    let folder = Path::new(file).parent().filter(|_| is_file);
    folder.map(Path::to_owned).unwrap_or_default()
}

fn exec(
    config: &Snapshot,
    source: &Source,
    name: &str,
    words: &[String],
    at: SocketAddr,
) -> Result<Prepared, BadWord> {
    let stream = source.stream();
    let peer = &source.peer;
    let mut values = values(config, source, at);
    let urls = [
        ("tcUrl", peer.tc_url.to_string()),
        ("swfUrl", peer.swf_url.to_string()),
        ("pageUrl", peer.page_url.to_string()),
        ("url", own_url(at, stream, &source.param)),
    ];
    values.named.extend(urls);
    let Redirected { words, stdout, stderr } = redirected(words);
    let mut words = words.into_iter().map(|word| values.word(word)).collect::<Result<Vec<_>, _>>()?;
    let log = log(config, &["exec", &stream.vhost, &stream.app, &stream.name, name]);
    let file = |target: &str| {
        let id =
            StreamName { vhost: stream.vhost.clone(), app: stream.app.clone(), stream: stream.name.clone() };
        let mut file = mill_packager::path::Values::new(&id);
        file.time = Some(values.time);
        let path = Template::new(target).fill(&file).map_err(|e| BadWord::File(e.to_string()))?;
        Ok::<_, BadWord>(if path == "/dev/null" { Sink::Null } else { Sink::File(path.into()) })
    };
    let stdout = stdout.map_or(Ok(log.clone()), file)?;
    let stderr = match stderr {
        Some("&1") => stdout.clone(),
        Some(target) => file(target)?,
        None => log,
    };
    // By convention a program's last word is where its result goes. What it reads it may name there too.
    let mut makes = words.last().map(|last| streams_here(config, last)).unwrap_or_default();
    makes.remove(stream);
    let program = if words.is_empty() { String::new() } else { words.remove(0) };
    Ok(Prepared {
        makes,
        order: Order { program, arguments: words, stdout, stderr, directory: PathBuf::new() },
    })
}

/// The words of an `exec` line without its redirections.
#[derive(Debug, PartialEq, Eq)]
struct Redirected<'a> {
    words: Vec<&'a str>,
    stdout: Option<&'a str>,
    stderr: Option<&'a str>,
}

/// Takes `>f`, `1>f`, `2>f`, `1 >f`, `2 > f` and the like out of a line; `>>` is the same, for files are continued
/// anyway. Only the operator's own words are looked at: this comes before names are put in.
fn redirected(line: &[String]) -> Redirected<'_> {
    let mut found = Redirected { words: Vec::new(), stdout: None, stderr: None };
    let mut rest = line.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        let (number, arrow) = match word {
            // The number stands alone, the arrow before the next word.
            "1" | "2" if rest.peek().is_some_and(|next| next.starts_with('>')) => {
                (word, rest.next().unwrap_or_default())
            }
            _ => word.split_at(word.len().min(usize::from(word.starts_with(['1', '2'])))),
        };
        let Some(target) = arrow.strip_prefix(">>").or_else(|| arrow.strip_prefix('>')) else {
            found.words.push(word);
            continue;
        };
        let target = Some(target).filter(|target| !target.is_empty()).or_else(|| rest.next());
        match number {
            "2" => found.stderr = target,
            _ => found.stdout = target,
        }
    }
    found
}

/// What all programs beside a publish may name.
fn values(config: &Snapshot, source: &Source, at: SocketAddr) -> Values {
    let StreamId { vhost, app, name } = source.stream().clone();
    let named = vec![("vhost", vhost), ("port", at.port().to_string()), ("app", app), ("stream", name)];
    Values { named, time: now(config) }
}

/// Where on this machine the server that was published to is reached: at the port the publisher says it has
/// connected to, if that is ours. Its word for the host is not taken.
fn own_address(listen: &[SocketAddr], tc_url: &str) -> SocketAddr {
    let port = url::resolve(tc_url, "").map_or(0, |target| target.port);
    let at = listen.iter().find(|at| at.port() == port).or(listen.first());
    at.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, url::DEFAULT_PORT)), |at| reached(*at))
}

/// The address to connect to for what listens there.
pub(super) fn reached(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

/// The stream as this machine plays it. The default vhost is left out.
fn own_url(at: SocketAddr, stream: &StreamId, param: &str) -> String {
    let StreamId { vhost, app, name } = stream;
    let rest = param.strip_prefix('?').unwrap_or(param);
    let named = vhost == DEFAULT_VHOST || rest.split('&').any(|pair| pair.starts_with("vhost="));
    let query = match (named, rest.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!("?{rest}"),
        (false, true) => format!("?vhost={vhost}"),
        (false, false) => format!("?vhost={vhost}&{rest}"),
    };
    format!("rtmp://{at}/{app}/{name}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, words: &str, stdout: Option<&str>, stderr: Option<&str>) {
        let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let expected = Redirected { words: words.split(' ').collect(), stdout, stderr };
        assert_eq!(redirected(&line), expected);
    }

    #[test]
    fn redirections() {
        check("a b", "a b", None, None);
        check("a >f b", "a b", Some("f"), None);
        check("a 1>f 2>g", "a", Some("f"), Some("g"));
        check("a 1 >f 2 > g b", "a b", Some("f"), Some("g"));
        check("a > f 2>&1", "a", Some("f"), Some("&1"));
        check("a >>f", "a", Some("f"), None);
        check("a 1 2 x>y 12>z -vf gte(t,1)>0", "a 1 2 x>y 12>z -vf gte(t,1)>0", None, None);
        check("a >", "a", None, None);
    }

    #[test]
    fn the_address_of_ours_is_used_whatever_a_publisher_says() {
        let at = |listen: &str, tc_url: &str| {
            let listen: Vec<SocketAddr> = listen.split(' ').map(|at| at.parse().unwrap()).collect();
            own_address(&listen, tc_url).to_string()
        };
        assert_eq!(at("0.0.0.0:1935 0.0.0.0:1936", "rtmp://evil.com:1936/live"), "127.0.0.1:1936");
        assert_eq!(at("0.0.0.0:1935 0.0.0.0:1936", "rtmp://evil.com:80/live"), "127.0.0.1:1935");
        assert_eq!(at("192.0.2.1:1935", "rtmp://h/live"), "192.0.2.1:1935");
        assert_eq!(at("[::]:1935", "junk"), "[::1]:1935");
    }

    #[test]
    fn urls_of_streams() {
        let at: SocketAddr = "127.0.0.1:1935".parse().unwrap();
        let url = |vhost: &str, param: &str| {
            let stream = StreamId { vhost: vhost.into(), app: "live".into(), name: "x".into() };
            own_url(at, &stream, param)
        };
        assert_eq!(url(DEFAULT_VHOST, "?token=abc&x=1"), "rtmp://127.0.0.1:1935/live/x?token=abc&x=1");
        assert_eq!(url(DEFAULT_VHOST, ""), "rtmp://127.0.0.1:1935/live/x");
        assert_eq!(url("a.com", ""), "rtmp://127.0.0.1:1935/live/x?vhost=a.com");
        assert_eq!(url("a.com", "?t=1"), "rtmp://127.0.0.1:1935/live/x?vhost=a.com&t=1");
        assert_eq!(url("a.com", "?vhost=a.com&t=1"), "rtmp://127.0.0.1:1935/live/x?vhost=a.com&t=1");
    }

    #[test]
    fn folders_of_files() {
        for (output, folder) in [
            ("./html/live/a-%03d.png", "./html/live"),
            ("file:/x/y.mp4", "/x"),
            ("a.mp4", ""),
            ("rtmp://127.0.0.1/live/x", ""),
            ("udp:127.0.0.1:1", ""),
        ] {
            assert_eq!(directory(output), Path::new(folder), "{output}");
        }
    }
}
