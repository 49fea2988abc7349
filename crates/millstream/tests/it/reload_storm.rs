//! A hundred random reloads under 20 publishers and 200 players: nobody is disconnected, nothing is lost, nobody
//! waits for long, and what comes out is what a fresh start with the last file gives.

use crate::harness::client::{Player, Publisher};
use crate::harness::http::Http;
use crate::harness::media::{FlvViewer, Receive, avc, kind, serial};
use crate::harness::server::{Conf, Ports, Server};
use crate::harness::{Noise, SOON, pause, wait_until};
use rustix::process::Signal;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RELOADS: u32 = 100;
const STREAMS: usize = 20;
/// Of each protocol, for each stream.
const PLAYERS: usize = 5;
/// Milliseconds between two frames.
const FRAME: u32 = 100;
/// Longest way of a frame from the publisher to a player.
const STALL: Duration = Duration::from_secs(1);
/// How often a player looks whether the show is over.
const LOOK: Duration = Duration::from_millis(200);
/// What a hundred reloads may leave behind, in kilobytes: a process breathes.
const GROWTH: u64 = 16 << 10;
/// Vhosts that come and go.
const GUESTS: usize = 5;

/// A configuration drawn by lot, and what is to be seen of it from outside.
struct Draw {
    text: String,
    /// Broken on purpose.
    broken: bool,
}

fn draw(noise: &mut Noise, server: &Server, spare: [Ports; 2]) -> Draw {
    let mut one_of = |choices: &[&str]| choices[noise.next() as usize % choices.len()].to_string();
    let on_off = &["on", "off"];
    // No `mix_correct`: it holds back ten frames of a stream without sound, which is a second here.
    let play = format!(
        "play {{ gop_cache {}; gop_cache_max_frames {}; queue_length {}; time_jitter {}; mw_latency {}; \
         send_min_interval {}; reduce_sequence_header {}; }}",
        one_of(on_off),
        one_of(&["5", "2500"]),
        one_of(&["10", "20", "30"]),
        one_of(&["full", "zero", "off"]),
        one_of(&["0", "100", "350"]),
        one_of(&["0", "50"]),
        one_of(on_off),
    );
    let publish = format!(
        "publish {{ normal_timeout {}; firstpkt_timeout {}; parse_sps {}; }} min_latency {};",
        one_of(&["30000", "60000"]),
        one_of(&["30000", "60000"]),
        one_of(on_off),
        one_of(on_off),
    );
    let global = format!("chunk_size {};", one_of(&["1024", "4096", "60000"]));
    let guests: String = (0..GUESTS)
        .map(|n| match one_of(&["", "on", "off"]).as_str() {
            "" => String::new(),
            state => format!("vhost guest{n} {{ enabled {state}; chunk_size 20{n}0; }}\n"),
        })
        .collect();
    let mut ports = server.ports();
    // The API moves; RTMP and HTTP stay where new players look for them, and get company.
    let [first, second] = spare;
    ports.api = if one_of(on_off) == "on" { first.api } else { ports.api };
    let conf = Conf::vhost(&format!("{publish} {play}")).global(&global).vhosts(&guests);
    let mut text = conf.text(ports, server.dir());
    let rtmp = format!("listen 127.0.0.1:{}", ports.rtmp);
    let company = one_of(&["", "first", "second", "both"]);
    let company = match company.as_str() {
        "first" => format!(" 127.0.0.1:{}", first.rtmp),
        "second" => format!(" 127.0.0.1:{}", second.rtmp),
        "both" => format!(" 127.0.0.1:{} 127.0.0.1:{}", first.rtmp, second.rtmp),
        _ => String::new(),
    };
    text = text.replace(&rtmp, &format!("{rtmp}{company}"));
    text = text.replace("max_connections 1500", &format!("max_connections {}", one_of(&["400", "1500"])));
    let broken = one_of(&["", "", "", "", "", "", "x;", "vhost {", "}", "lisen 1;"]);
    text.push_str(&broken);
    Draw { text, broken: !broken.is_empty() }
}

/// What can be seen of a configuration from outside.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    listening: Vec<(u16, bool)>,
    api: bool,
    chunk_size: usize,
    guests: Vec<Option<usize>>,
}

fn look(server: &Server, spare: [Ports; 2]) -> Seen {
    let ports = server.ports();
    let all = [ports.rtmp, ports.http, ports.api, spare[0].rtmp, spare[1].rtmp, spare[0].api];
    let answers = |port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
    let listening: Vec<(u16, bool)> = all.map(|port| (port, answers(port))).to_vec();
    let at_home = listening[2].1;
    let api = if at_home { ports.api } else { spare[0].api };
    let versions = Http::get((Ipv4Addr::LOCALHOST, api).into(), "/api/v1/versions");
    let guest = |n: usize| {
        let app = format!("live?vhost=guest{n}");
        Player::ask_at(server, &server.rtmp(&app), &app, "s").ok().map(|player| player.chunk_size())
    };
    Seen {
        listening,
        api: versions.head.status == 200,
        chunk_size: Player::start(server, "live/new").chunk_size(),
        guests: (0..GUESTS).map(guest).collect(),
    }
}

/// The running show and its stage clock.
struct Show {
    begun: Instant,
    over: AtomicBool,
    /// Frames that arrived.
    frames: AtomicU64,
    /// The longest way of a frame, in milliseconds.
    longest: AtomicU64,
    /// The longest that this machine left a thread of ours waiting, in milliseconds.
    busy: AtomicU64,
}

impl Show {
    fn now(&self) -> u32 {
        self.begun.elapsed().as_millis() as u32
    }

    fn is_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Every frame says when it was sent.
    fn publish(&self, mut publisher: Publisher) {
        publisher.headers(0);
        let mut due = self.now();
        for n in 0.. {
            while self.is_on() && self.now() < due {
                pause();
            }
            if !self.is_on() {
                return;
            }
            publisher.send(9, FRAME * n, &avc(n % 10 == 0, self.now(), 400));
            due += FRAME;
        }
    }

    fn watch(&self, viewer: &mut dyn Receive, who: &str) {
        let (mut last, mut heard) = (None, Instant::now());
        while self.is_on() {
            let Some(tag) = viewer.next(LOOK) else {
                assert!(heard.elapsed() < SOON || !self.is_on(), "{who} got nothing any more");
                continue;
            };
            heard = Instant::now();
            if kind(&tag).is_none_or(|kind| kind.is_header()) {
                continue;
            }
            let way = self.now().saturating_sub(serial(&tag));
            // The first ones come from the cache and are as old as they are.
            if let Some(last) = last {
                assert_eq!(tag.timestamp, last + FRAME, "{who} lost something");
                self.longest.fetch_max(u64::from(way), Ordering::Relaxed);
            } else if way >= 2 * FRAME {
                continue;
            }
            last = Some(tag.timestamp);
            self.frames.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Finds out how busy the machine is beside all this.
    fn feel(&self) {
        while self.is_on() {
            let before = Instant::now();
            pause();
            self.busy.fetch_max(before.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_hundred_reloads_disturb_nobody() {
    let mut server = Server::start(&Conf::vhost("publish { normal_timeout 60000; }"));
    let spare = [Ports::free(), Ports::free()];
    let show = Show {
        begun: Instant::now(),
        over: AtomicBool::new(false),
        frames: AtomicU64::new(0),
        longest: AtomicU64::new(0),
        busy: AtomicU64::new(0),
    };
    let last = std::thread::scope(|scope| {
        // Whatever fails, the show ends: a scope waits for its threads.
        struct Curtain<'a>(&'a AtomicBool);
        impl Drop for Curtain<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _curtain = Curtain(&show.over);
        let mut cast = Vec::new();
        for stream in 0..STREAMS {
            let path = format!("live/s{stream}");
            let publisher = Publisher::start(&server, &path);
            let show = &show;
            cast.push(scope.spawn(move || show.publish(publisher)));
            for n in 0..PLAYERS {
                let mut rtmp = Player::start(&server, &path);
                let mut flv = FlvViewer::open(&server, &format!("/{path}.flv"));
                let who = format!("player {n} of {path}");
                let also = who.clone();
                cast.push(scope.spawn(move || show.watch(&mut rtmp, &who)));
                cast.push(scope.spawn(move || show.watch(&mut flv, &format!("{also} over HTTP"))));
            }
        }
        let feel = scope.spawn(|| show.feel());
        let all = (2 * STREAMS * PLAYERS) as u64;
        wait_until("everybody watches", SOON, || show.frames.load(Ordering::Relaxed) > 2 * all);

        let mut noise = Noise::new(4);
        let (mut last, mut before) = (String::new(), 0);
        for n in 0..RELOADS {
            if n == RELOADS / 4 {
                before = server.rss_kb();
            }
            let draw = draw(&mut noise, &server, spare);
            let log = server.try_reload(&draw.text);
            assert_eq!(log.contains("reload config success."), !draw.broken, "{log}\n{}", draw.text);
            assert!(cast.iter().all(|actor| !actor.is_finished()), "somebody has left the stage");
            if !draw.broken {
                last = draw.text;
            }
        }
        let count = show.frames.load(Ordering::Relaxed);
        wait_until("everybody still watches", SOON, || show.frames.load(Ordering::Relaxed) > count + 5 * all);
        let after = server.rss_kb();
        assert!(after < before + GROWTH, "{before} kB have become {after} kB");
        show.over.store(true, Ordering::Relaxed);
        for actor in cast {
            actor.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        }
        let _ = feel.join();
        last
    });
    // A machine that lets us wait lets everybody wait, several times on the way of a frame.
    let busy = Duration::from_millis(4 * show.busy.load(Ordering::Relaxed));
    let longest = Duration::from_millis(show.longest.load(Ordering::Relaxed));
    assert!(longest < STALL + busy, "a frame took {longest:?}; threads waited up to {:?}", busy / 4);

    server.write(&last);
    assert!(server.reload_file().contains("reload config success."));
    let seen = look(&server, spare);
    server.signal(Signal::TERM);
    assert!(server.wait(SOON).is_some());
    let fresh = Server::again(&last, server.ports());
    assert_eq!(look(&fresh, spare), seen, "{last}");
}
