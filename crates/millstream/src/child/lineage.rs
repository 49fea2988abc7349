//! Which streams our own programs make, and from what: so that none makes streams from its own, for ever.
//!
//! A program that is started for a stream may publish here again, where the same configuration would start it for
//! what it made. SRS compares the text of two URLs; here an output is taken apart as a client's URL is, and the
//! stream it means counts. A stream made by `transcode`, directly or over others, is not recoded; one made by `exec`
//! gets no `exec`. So every chain ends, whatever is configured.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use mill_config::Snapshot;
use mill_hub::StreamId;
use mill_rtmp::url;
use parking_lot::Mutex;

/// What kinds of programs a stream has come through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub(crate) transcoded: bool,
    pub(crate) executed: bool,
}

impl Lineage {
    fn with(self, other: Self) -> Self {
        Self { transcoded: self.transcoded || other.transcoded, executed: self.executed || other.executed }
    }
}

/// What programs read and make at the moment. Cheap to clone. Bounded by the programs that run.
#[derive(Clone, Default)]
pub(super) struct Family(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    next: u64,
    runs: HashMap<u64, Run>,
}

struct Run {
    input: Option<StreamId>,
    outputs: HashSet<StreamId>,
    lineage: Lineage,
}

impl Family {
    /// What a stream that is published now has come through.
    pub(super) fn of(&self, stream: &StreamId) -> Lineage {
        let table = self.0.lock();
        let made = table.runs.values().filter(|run| run.outputs.contains(stream));
        made.fold(Lineage::default(), |lineage, run| lineage.with(run.lineage))
    }

    /// Whether a stream is one of these, or is made from one of them, directly or over others.
    pub(super) fn comes_from(&self, stream: &StreamId, sources: &HashSet<StreamId>) -> bool {
        let table = self.0.lock();
        let mut line = HashSet::from([stream]);
        loop {
            let known = line.len();
            let makers = table.runs.values().filter(|run| run.outputs.iter().any(|made| line.contains(made)));
            let before: Vec<&StreamId> = makers.filter_map(|run| run.input.as_ref()).collect();
            line.extend(before);
            if line.len() == known {
                return line.iter().any(|stream| sources.contains(*stream));
            }
        }
    }

    /// Whether some program makes one of these.
    pub(super) fn makes(&self, streams: &HashSet<StreamId>) -> bool {
        self.0.lock().runs.values().any(|run| !run.outputs.is_disjoint(streams))
    }

    /// Notes a program, until the guard is dropped.
    pub(super) fn enter(
        &self,
        input: Option<StreamId>,
        outputs: HashSet<StreamId>,
        lineage: Lineage,
    ) -> Member {
        let mut table = self.0.lock();
        let id = table.next;
        table.next += 1;
        table.runs.insert(id, Run { input, outputs, lineage });
        Member { family: self.clone(), id }
    }
}

/// A program in the table.
pub(super) struct Member {
    family: Family,
    id: u64,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.family.0.lock().runs.remove(&self.id);
    }
}

/// The streams of this server that publishing to the URL could mean. A client divides a URL into app and stream as
/// it likes, so there may be several.
pub(super) fn streams_here(config: &Snapshot, text: &str) -> HashSet<StreamId> {
    /// More levels than any URL has.
    const LEVELS: usize = 16;
    let mut found = HashSet::new();
    let slashes = text.match_indices('/').map(|(at, _)| at).skip(3);
    for at in slashes.take(LEVELS) {
        let Ok(target) = url::resolve(&text[..at], &text[at + 1..]) else { continue };
        if target.schema != "rtmp" || target.stream.is_empty() || !is_here(config, &target) {
            continue;
        }
        if let Some(vhost) = config.vhost(&target.vhost) {
            found.insert(StreamId { vhost: vhost.name.clone(), app: target.app, name: target.stream });
        }
    }
    found
}

/// Whether that host and port are ours: the port is, and the host is this machine or the name of a vhost.
fn is_here(config: &Snapshot, target: &url::Target) -> bool {
    let host = target.host.trim_matches(['[', ']']);
    let ours = |ip: IpAddr| {
        ip.is_loopback()
            || ip.is_unspecified()
            || config.global.listen.iter().any(|at| at.ip() == ip)
            || if_addrs::get_if_addrs().is_ok_and(|all| all.iter().any(|interface| interface.ip() == ip))
    };
    let named = || host == "localhost" || config.vhosts.iter().any(|vhost| vhost.name == host);
    config.global.listen.iter().any(|at| at.port() == target.port)
        && host.parse().map_or_else(|_| named(), ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Snapshot {
        let text = "listen 1935 127.0.0.1:1936; vhost a.com { } vhost __defaultVhost__ { }";
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        mill_config::load(Some(("t", text.as_bytes())), [], &mut no_files).unwrap().snapshot
    }

    fn stream(text: &str) -> StreamId {
        let [vhost, app, name] = text.split('/').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
        StreamId { vhost, app, name }
    }

    #[track_caller]
    fn means(url: &str, expected: &[&str]) {
        let expected: HashSet<StreamId> = expected.iter().map(|text| stream(text)).collect();
        assert_eq!(streams_here(&config(), url), expected, "{url}");
    }

    #[test]
    fn a_stream_in_all_its_spellings() {
        let x = &["__defaultVhost__/live/x"];
        means("rtmp://127.0.0.1/live/x", x);
        means("rtmp://127.0.0.1:1935/live?vhost=__defaultVhost__/x", x);
        means("rtmp://localhost:1936/live/x?token=1", x);
        means("rtmp://[::1]/live/x", x);
        means("rtmp://127.0.0.1/live?vhost=nobody/x", x);
        means("rtmp://127.0.0.1/live/x?vhost=a.com", &["a.com/live/x"]);
        means("rtmp://a.com/live/x", &["a.com/live/x"]);
        means("rtmp://127.0.0.1/live...vhost...a.com/x", &["a.com/live/x"]);
    }

    #[test]
    fn what_is_elsewhere() {
        for url in [
            "rtmp://127.0.0.1:1999/live/x",
            "rtmp://b.com/live/x",
            "rtmp://192.0.2.1/live/x",
            "rtmp://127.0.0.1/x",
            "./html/live/x.flv",
            "http://127.0.0.1:1935/live/x",
            "rtmp:",
            "",
        ] {
            means(url, &[]);
        }
    }

    #[test]
    fn lineage_is_handed_on() {
        let family = Family::default();
        let (a, b, c) = (stream("v/live/a"), stream("v/live/b"), stream("v/live/c"));
        let transcoded = Lineage { transcoded: true, executed: false };
        let first = family.enter(Some(a.clone()), HashSet::from([b.clone()]), transcoded);
        assert_eq!((family.of(&a), family.of(&b)), (Lineage::default(), transcoded));
        let both = Lineage { executed: true, ..family.of(&b) };
        let _second = family.enter(Some(b.clone()), HashSet::from([c.clone()]), both);
        assert_eq!(family.of(&c), Lineage { transcoded: true, executed: true });
        let from = |stream, source: &StreamId| family.comes_from(stream, &HashSet::from([source.clone()]));
        assert!(from(&a, &a) && from(&b, &a) && from(&c, &a) && from(&c, &b));
        assert!(!from(&a, &b) && !from(&b, &c));
        assert!(family.makes(&HashSet::from([c.clone()])) && !family.makes(&HashSet::from([a.clone()])));
        drop(first);
        assert_eq!(family.of(&b), Lineage::default());
        assert!(!family.comes_from(&c, &HashSet::from([a])));
    }
}
