//! What can be measured: each section is one run of loadgen's `pair`, and one table of docs/performance.md.

/// Which servers take part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The server, the others, and this floor beside them.
    Floor(&'static str),
    /// The server and the others: a floor does nothing of the kind.
    Servers,
    /// Only these sections of the plan, compared to the first of them.
    Only(&'static [&'static str]),
}

/// One section.
pub(super) struct Section {
    pub(super) name: &'static str,
    /// What it shows, in one line.
    pub(super) about: &'static str,
    /// loadgen's name of the test.
    pub(super) test: &'static str,
    pub(super) protos: &'static str,
    /// Players, publishers or connections, in a short run and in a full one.
    pub(super) counts: [&'static str; 2],
    /// Bit rate of each stream, in kbit/s.
    pub(super) kbps: u32,
    pub(super) who: Who,
    /// Further words for `pair`.
    pub(super) extra: &'static [&'static str],
    /// Part of a run that names no section.
    pub(super) usual: bool,
}

/// Connections beside the players of `keepalive`.
pub(super) const BESIDE: u32 = 10_000;

/// Players who watch while those of `newcomers` come.
pub(super) const WATCHING: u32 = 1000;

const FLOOR: Who = Who::Floor("floor-350");

/// In the order in which they run.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "fanout",
        about: "players of one stream of 1 Mbit/s: processor time beside the floor, first frame, stalls",
        test: "play",
        protos: "rtmp,flv",
        counts: ["1000", "200,1000,4000"],
        kbps: 1000,
        who: FLOOR,
        extra: &[],
        usual: true,
    },
    Section {
        name: "thin",
        about: "the same, 200 kbit/s",
        test: "play",
        protos: "rtmp,flv",
        counts: ["1000", "1000"],
        kbps: 200,
        who: FLOOR,
        extra: &[],
        usual: false,
    },
    Section {
        name: "fat",
        about: "the same, 4 Mbit/s",
        test: "play",
        protos: "rtmp,flv",
        counts: ["1000", "1000"],
        kbps: 4000,
        who: FLOOR,
        extra: &[],
        usual: false,
    },
    Section {
        name: "threads",
        about: "more than one core can carry: what arrives with --threads 1, 2, 4",
        test: "play",
        protos: "flv",
        counts: ["2000", "2000"],
        kbps: 16_000,
        who: Who::Only(&["threads-1", "threads-2", "threads-4"]),
        extra: &["--ramp", "200"],
        usual: false,
    },
    Section {
        name: "storm",
        about: "connect, play, first frame, leave, as fast as it goes",
        test: "storm",
        protos: "rtmp,flv",
        counts: ["32", "32"],
        kbps: 1000,
        who: Who::Servers,
        extra: &[],
        usual: true,
    },
    Section {
        name: "newcomers",
        about: "while 1000 others watch, a player comes every 50 ms: how long until its first frame",
        test: "storm",
        protos: "rtmp,flv",
        counts: ["1", "1"],
        kbps: 1000,
        who: Who::Servers,
        extra: &["--watching", "1000", "--rate", "20"],
        usual: true,
    },
    Section {
        name: "fanin",
        about: "publishers nobody watches: processor time and memory beside a sink that forgets",
        test: "publish",
        protos: "rtmp",
        counts: ["1000", "100,1000"],
        kbps: 200,
        who: Who::Floor("sink"),
        extra: &[],
        usual: true,
    },
    Section {
        name: "pairs",
        about: "500 publishers with one player each",
        test: "play",
        protos: "rtmp,flv",
        counts: ["500", "500"],
        kbps: 200,
        who: Who::Servers,
        extra: &["--streams", "500", "--head-start-ms", "6000"],
        usual: false,
    },
    Section {
        name: "latency",
        about: "delay from publisher to player",
        test: "latency",
        protos: "rtmp,flv",
        counts: ["1,1000", "1,100,1000,4000"],
        kbps: 1000,
        who: Who::Servers,
        extra: &[],
        usual: true,
    },
    Section {
        name: "memory",
        about: "what each player more costs in resident memory: from the difference of two counts",
        test: "play",
        protos: "rtmp,flv",
        counts: ["500,4000", "500,4000"],
        kbps: 1000,
        who: Who::Servers,
        extra: &["--ramp", "1500", "--seconds", "2"],
        usual: false,
    },
    Section {
        name: "waiting",
        about: "a player each for streams nobody publishes: processor time and memory of idle streams",
        test: "idle",
        protos: "waiting",
        counts: ["1000", "1000"],
        kbps: 1000,
        who: Who::Only(&["millstream"]),
        extra: &[],
        usual: false,
    },
    Section {
        name: "keepalive",
        about: "5000 players beside 10 000 idle connections to the API",
        test: "play",
        protos: "flv",
        counts: ["5000", "5000"],
        kbps: 1000,
        who: Who::Only(&["millstream"]),
        extra: &["--beside", "10000", "--ramp", "2000", "--head-start-ms", "5000", "--seconds", "4"],
        usual: false,
    },
    Section {
        name: "slow",
        about: "a tenth of the players read at a tenth of the rate, a twentieth not at all; figures of the others",
        test: "play",
        protos: "rtmp,flv",
        counts: ["1000", "1000"],
        kbps: 1000,
        who: Who::Only(&["queue-3"]),
        extra: &["--slow", "10", "--dead", "5"],
        usual: false,
    },
];

/// The section of that name.
pub(super) fn find(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}
