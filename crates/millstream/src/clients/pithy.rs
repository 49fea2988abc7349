//! The periodic statistics lines of SRS's log.
//!
//! Each kind of session, and of program beside the server, writes one line per `pithy_print_ms` for the whole server,
//! whichever's turn it is; so a log stays readable however many there are. Times are in milliseconds, where SRS prints
//! microseconds. One task does it all: sessions neither print nor count for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_config::model::Vhost;
use tracing::info;

use crate::child::{self, Label, State, Status};
use crate::clients::stats::Kbps;
use crate::clients::{Client, Kind};
use crate::log;
use crate::session::{Context, admit};

/// How often the interval is looked at: it may change.
const GLANCE: Duration = Duration::from_millis(100);

/// The kinds of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// `-> PLA`, an RTMP player.
    Play,
    /// `<- CPB`, an RTMP publisher.
    Publish,
    /// `-> HTS`, a viewer of a live stream over HTTP.
    HttpStream,
}

impl Line {
    const ALL: [Self; 3] = [Self::Play, Self::Publish, Self::HttpStream];

    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Play => Self::Play,
            Kind::HttpPlay | Kind::HlsPlay | Kind::DashPlay | Kind::HdsPlay => Self::HttpStream,
            Kind::FmlePublish | Kind::FlashPublish | Kind::HaivisionPublish => Self::Publish,
        }
    }
}

/// Writes the lines, for as long as it is run.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut printed = Instant::now();
    let mut turns = [0; Line::ALL.len()];
    let mut program_turns = [0; child::Kind::ALL.len()];
    loop {
        tokio::time::sleep(GLANCE).await;
        let config = ctx.config.load_full();
        if printed.elapsed() < config.global.pithy_print {
            continue;
        }
        printed = Instant::now();
        let clients = ctx.clients.all();
        for (line, last) in Line::ALL.into_iter().zip(&mut turns) {
            let Some(client) = whose_turn(&clients, line, *last) else { continue };
            *last = client.peer.id;
            if let Some(vhost) = config.vhost(&client.stream.vhost) {
                log::under(client.peer.id, || print(&ctx, line, client, vhost));
            }
        }
        let programs = ctx.children.all();
        for (kind, last) in child::Kind::ALL.into_iter().zip(&mut program_turns) {
            let Some((id, line)) = about_programs(&programs, kind, *last) else { continue };
            *last = id;
            log::under(id, || info!("{line}"));
        }
    }
}

/// The line of the next ingest after the last one, by id, or of the programs of a kind beside the next stream; with the
/// id of the program, of the oldest if there are several.
fn about_programs(all: &[(u64, Label, Status)], kind: child::Kind, last: u64) -> Option<(u64, String)> {
    let of_kind: Vec<_> = all.iter().filter(|(_, label, _)| label.kind == kind).collect();
    let mut streams = HashSet::new();
    let mut has_turn = |label: &Label| label.stream.clone().is_none_or(|stream| streams.insert(stream));
    let turns: Vec<_> = of_kind.iter().enumerate().filter(|(_, (_, label, _))| has_turn(label)).collect();
    let (number, (id, label, status)) = turns.iter().find(|(_, (id, ..))| *id > last).or(turns.first())?;
    let time = status.wanted.elapsed().as_millis();
    let line = match &label.stream {
        None => {
            let alive = if status.state == State::Running { status.since.elapsed().as_millis() } else { 0 };
            let (count, Label { vhost, name, .. }) = (of_kind.len(), label);
            format!("-> IGS time={time}ms, ingesters={count}, #{number}(alive={alive}ms, {vhost}/{name})")
        }
        Some(stream) => {
            let count = of_kind.iter().filter(|(_, label, _)| label.stream.as_ref() == Some(stream)).count();
            match kind {
                child::Kind::Exec => format!("-> EXE time={time}, publish={count}, input={stream}"),
                _ => format!("-> ENC time={time}, encoders={count}, input={stream}"),
            }
        }
    };
    Some((*id, line))
}

/// The next client after the last one, by id; after the highest the lowest again.
fn whose_turn(clients: &[Arc<Client>], line: Line, last: u64) -> Option<&Arc<Client>> {
    let of_kind = || clients.iter().filter(|client| Line::of(client.kind) == line);
    of_kind().find(|client| client.peer.id > last).or_else(|| of_kind().next())
}

fn print(ctx: &Context, line: Line, client: &Client, vhost: &Vhost) {
    let time = client.since.elapsed().as_millis();
    let rates = client.kbps();
    let (okbps, ikbps) = (triple(rates, |kbps| kbps.sent), triple(rates, |kbps| kbps.received));
    let merged = ctx.fanout.interval(admit::pace(vhost));
    let (messages, mw) = (messages(client, merged), merged.as_millis());
    let publish = &vhost.publish;
    let (first, normal) = (publish.first_packet_timeout.as_millis(), publish.normal_timeout.as_millis());
    match line {
        Line::Play => info!("-> PLA time={time}, msgs={messages}, okbps={okbps}, ikbps={ikbps}, mw={mw}"),
        Line::Publish => {
            let (mr, wait) = (u8::from(publish.merged_read), publish.merged_read_latency.as_millis());
            info!(
                "<- CPB time={time}, okbps={okbps}, ikbps={ikbps}, mr={mr}/{wait}, p1stpt={first}, pnt={normal}"
            );
        }
        Line::HttpStream => info!("-> HTS http: got {messages} msgs, age={time}, min=1, mw={mw}"),
    }
}

/// The last sample, 30 s, five minutes.
fn triple(rates: [Kbps; 3], direction: fn(Kbps) -> f64) -> String {
    rates.map(|kbps| format!("{:.0}", direction(kbps))).join(",")
}

/// Messages that one write carries at the stream's rate.
fn messages(client: &Client, merged: Duration) -> u64 {
    let written = client.place.frame_rate.messages() * merged.as_secs_f64();
    written.round().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{Clients, Peer};
    use crate::identity::Identity;
    use mill_hub::StreamId;

    #[test]
    fn clients_of_a_kind_take_turns() {
        let clients = Clients::new(Arc::new(Identity::new(1, 1)));
        let enter = |id, kind| {
            let peer = Peer {
                id,
                ip: std::net::Ipv4Addr::LOCALHOST.into(),
                tc_url: "".into(),
                page_url: "".into(),
                swf_url: "".into(),
                traffic: Arc::default(),
            };
            let stream = StreamId { vhost: "v".into(), app: "a".into(), name: "s".into() };
            clients.enter(peer, kind, stream)
        };
        let _all = [enter(5, Kind::Play), enter(6, Kind::HttpPlay), enter(7, Kind::Play)];
        let all = clients.all();
        let next = |last| whose_turn(&all, Line::Play, last).map(|client| client.peer.id);
        assert_eq!([next(0), next(5), next(7), next(100)], [Some(5), Some(7), Some(5), Some(5)]);
        assert!(whose_turn(&all, Line::Publish, 0).is_none());
    }

    #[test]
    fn programs_take_turns_by_stream() {
        use crate::child::Kind::{Exec, Ingest, Transcode};
        let program = |id, kind, stream: &str, name: &str| {
            let stream = (!stream.is_empty()).then(|| StreamId {
                vhost: "v".into(),
                app: "live".into(),
                name: stream.into(),
            });
            let label = Label { kind, vhost: "v".into(), stream, name: name.into() };
            (id, label, Status::new(Instant::now()))
        };
        let all = [
            program(3, Ingest, "", "a"),
            program(4, Ingest, "", "b"),
            program(5, Transcode, "x", "hd"),
            program(6, Transcode, "x", "sd"),
            program(7, Transcode, "y", "hd"),
            program(8, Exec, "x", "1"),
        ];
        let line = |kind, last| {
            let (id, line) = about_programs(&all, kind, last)?;
            let begin = line.find("time=").unwrap() + "time=".len();
            let behind = line[begin..].trim_start_matches(|c: char| c.is_ascii_digit());
            Some((id, format!("{}{behind}", &line[..begin])))
        };
        let is = |id, line: &str| Some((id, line.to_owned()));
        assert_eq!(line(Ingest, 0), is(3, "-> IGS time=ms, ingesters=2, #0(alive=0ms, v/a)"));
        assert_eq!(line(Ingest, 3), is(4, "-> IGS time=ms, ingesters=2, #1(alive=0ms, v/b)"));
        assert_eq!(line(Ingest, 4).map(|(id, _)| id), Some(3));
        assert_eq!(line(Transcode, 0), is(5, "-> ENC time=, encoders=2, input=v/live/x"));
        assert_eq!(line(Transcode, 5), is(7, "-> ENC time=, encoders=1, input=v/live/y"));
        assert_eq!(line(Transcode, 7).map(|(id, _)| id), Some(5));
        assert_eq!(line(Exec, 8), is(8, "-> EXE time=, publish=1, input=v/live/x"));
        assert_eq!(about_programs(&all[..2], Exec, 0), None);
    }

    #[test]
    fn rates_are_whole_numbers() {
        let rates = [1.4, 2.5, 1000.0].map(|received| Kbps { received, sent: 0.0 });
        assert_eq!(triple(rates, |kbps| kbps.received), "1,2,1000");
        assert_eq!(triple(rates, |kbps| kbps.sent), "0,0,0");
    }
}
