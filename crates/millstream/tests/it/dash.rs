//! DASH: a player that goes by the standard finds what the manifest promises, whatever happens to stream, disk and
//! server.

use crate::harness::api;
use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{
    AAC, AUDIO, VIDEO, decode, decode_file, make, pictures, probe_file, publish, publish_both, tool,
};
use crate::harness::http::Http;
use crate::harness::media::{aac, avc};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Server};
use crate::harness::{PATIENCE, SOON, wait_until};
use crate::httpts::frames;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) const QUICK: &str =
    "enabled on; dash_fragment 1; dash_timeshift 20; dash_path ./html; dash_ctx off;";

fn dash(lines: &str) -> Conf {
    Conf::vhost(&format!("dash {{ {QUICK} {lines} }}"))
}

/// A manifest as a player sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mpd {
    pub(crate) root: BTreeMap<String, String>,
    base: String,
    pub(crate) sets: Vec<Set>,
    pub(crate) periods: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Set {
    period: f64,
    offset: f64,
    timescale: f64,
    init: String,
    media: String,
    /// In ticks.
    segments: Vec<(f64, f64)>,
    pub(crate) representation: BTreeMap<String, String>,
}

/// Attributes of an element's text, which are never escaped here.
fn attributes(element: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = element;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').expect("quotes are closed");
        let name = name.rsplit([' ', '\n']).next().unwrap();
        found.insert(name.to_owned(), value.to_owned());
        rest = after;
    }
    found
}

fn seconds(duration: &str) -> f64 {
    duration.strip_prefix("PT").and_then(|rest| rest.strip_suffix('S')).unwrap().parse().unwrap()
}

impl Mpd {
    pub(crate) fn parse(text: &str) -> Self {
        let (mut mpd, mut period) = (Self::default(), 0.0);
        for element in text.split('<').skip(1) {
            let all = attributes(element);
            let number = |name: &str| all[name].parse::<f64>().unwrap();
            match element.split([' ', '>', '\n']).next().unwrap() {
                "MPD" => mpd.root = all,
                "BaseURL" => element["BaseURL>".len()..].clone_into(&mut mpd.base),
                "Period" => {
                    period = seconds(&all["start"]);
                    mpd.periods += 1;
                }
                "SegmentTemplate" => mpd.sets.push(Set {
                    period,
                    offset: number("presentationTimeOffset"),
                    timescale: number("timescale"),
                    init: all["initialization"].clone(),
                    media: all["media"].clone(),
                    ..Set::default()
                }),
                "S" => {
                    let (mut time, duration) = (number("t"), number("d"));
                    for _ in 0..=all.get("r").map_or(0, |r| r.parse().unwrap()) {
                        mpd.sets.last_mut().unwrap().segments.push((time, duration));
                        time += duration;
                    }
                }
                "Representation" => {
                    let set = mpd.sets.last_mut().unwrap();
                    for name in [&mut set.init, &mut set.media] {
                        *name = name.replace("$RepresentationID$", &all["id"]);
                    }
                    set.representation = all;
                }
                _ => {}
            }
        }
        mpd
    }

    /// That of a stream, if it has one with a segment.
    pub(crate) fn get(addr: SocketAddr, path: &str) -> Option<Self> {
        let answer = api::ask(addr, "GET", path);
        assert!(matches!(answer.head.status, 200 | 404), "{}", answer.text);
        (answer.head.status == 200).then(|| {
            assert_eq!(answer.head.header("content-type"), Some("application/dash+xml"));
            assert!(matches!(answer.head.header("cache-control"), Some("no-cache" | "no-store")));
            Self::parse(&answer.text)
        })
    }

    /// Waits until the stream's manifest is as wanted.
    #[track_caller]
    pub(crate) fn until(server: &Server, what: &str, wanted: impl Fn(&Self) -> bool) -> Self {
        let mut found = None;
        wait_until(what, PATIENCE, || {
            found = Self::get(server.http_addr(), "/live/show.mpd").filter(|mpd| wanted(mpd));
            found.is_some()
        });
        found.unwrap()
    }

    fn starts(&self) -> &str {
        &self.root["availabilityStartTime"]
    }

    fn root_millis(&self, name: &str) -> i64 {
        self.root[name].parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    /// When the newest segment of all tracks can be had, in milliseconds since 1970 (5.3.9.5.3).
    fn newest(&self) -> i64 {
        let end = |set: &Set| {
            let &(time, duration) = set.segments.last().unwrap();
            set.period + (time + duration - set.offset) / set.timescale
        };
        let ends = self.sets.iter().map(|set| (end(set) * 1000.0) as i64);
        self.root_millis("availabilityStartTime") + ends.max().unwrap()
    }

    /// Segments of the track that has most.
    pub(crate) fn listed(&self) -> usize {
        let of = |id: &str| {
            let sets = self.sets.iter().filter(|set| set.representation["id"] == id);
            sets.map(|set| set.segments.len()).sum::<usize>()
        };
        of("video").max(of("audio"))
    }
}

impl Set {
    fn paths<'a>(&'a self, base: &'a str) -> impl Iterator<Item = String> + 'a {
        let segments = self.segments.iter().map(|(time, _)| self.media.replace("$Time$", &time.to_string()));
        [self.init.clone()].into_iter().chain(segments).map(move |file| format!("/live/{base}{file}"))
    }
}

/// The bytes of a file, which must be there.
#[track_caller]
fn fetch(server: &Server, path: &str) -> Vec<u8> {
    let mut body = Http::get(server.http_addr(), path);
    assert_eq!(body.head.status, 200, "{path}");
    let expected = if path.ends_with(".m4s") { "video/iso.segment" } else { "video/mp4" };
    assert_eq!(body.head.header("content-type"), Some(expected));
    body.read_to_end(SOON)
}

/// What a player puts together: a file for each track of each period.
#[track_caller]
pub(crate) fn assembled(server: &Server, mpd: &Mpd) -> Vec<PathBuf> {
    let assemble = |(index, set): (usize, &Set)| {
        let all: Vec<u8> = set.paths(&mpd.base).flat_map(|path| fetch(server, &path)).collect();
        let file = server.dir().join(format!("set-{index}.mp4"));
        std::fs::write(&file, all).unwrap();
        file
    };
    mpd.sets.iter().enumerate().map(assemble).collect()
}

/// That decodes.
#[track_caller]
fn decodes(server: &Server, mpd: &Mpd) {
    for (file, set) in assembled(server, mpd).iter().zip(&mpd.sets) {
        decode_file(file);
        let times: Vec<i64> = probe_file(file).packets.iter().map(|packet| packet.dts).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        assert!((1..=250).contains(&gap), "{gap} ms between two of {:?}", set.representation);
    }
}

#[test]
fn a_stream_plays_and_is_where_the_clock_says() {
    let server = Server::start(&dash(""));
    let _encoder = publish_both(&server.rtmp("live/show"));
    let mpd = Mpd::until(&server, "four segments", |mpd| mpd.listed() >= 4 && mpd.sets.len() == 2);
    assert_eq!(mpd.root["minimumUpdatePeriod"], "PT1S");
    let [video, audio] = [0, 1].map(|set| &mpd.sets[set].representation);
    assert!(video["codecs"].starts_with("avc1.42") && video["frameRate"] == "25", "{video:?}");
    assert_eq!((&*video["width"], &*video["height"]), ("320", "180"));
    assert_eq!((&*audio["codecs"], &*audio["audioSamplingRate"]), ("mp4a.40.2", "44100"));
    assert!(video["bandwidth"].parse::<u64>().unwrap() > 10_000);
    decodes(&server, &mpd);
    // Whatever is listed is there by the clock, and is not old once the encoder keeps up.
    Mpd::until(&server, "many segments", |mpd| {
        let now = jiff::Timestamp::now().as_millisecond();
        let late = now - mpd.newest();
        assert!(late >= -100, "the newest segment is {late} ms behind the clock");
        let newest = mpd.sets[0].paths(&mpd.base).last().unwrap();
        fetch(&server, &newest);
        mpd.listed() >= 8 && late < 15_000
    });
    wait_until("they are on the disk", SOON, || {
        std::fs::read_dir(server.dir().join("html/live/show")).map_or(0, Iterator::count) >= 16
    });
    play(&server.http("live/show.mpd"));
}

/// Has ffmpeg play four seconds at their own pace: it does not wait at the live edge.
#[track_caller]
pub(crate) fn play(url: &str) {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -xerror -re -i");
    let run = Process::run(command.arg(url).args(["-t", "4", "-f", "null", "-"]), PATIENCE);
    assert!(run.status.success() && run.text().is_empty(), "{url} does not play:\n{}", run.text());
}

/// One medium alone, and codecs of their own.
#[track_caller]
fn check_codecs(encoder: &str, expected: &[&str]) {
    let server = Server::start(&dash(""));
    let _encoder = publish(encoder, &server.rtmp("live/show"));
    let mpd = Mpd::until(&server, "three segments", |mpd| mpd.listed() >= 3);
    let codecs: Vec<_> = mpd.sets.iter().map(|set| set.representation["codecs"].clone()).collect();
    assert_eq!(codecs.len(), expected.len(), "{codecs:?}");
    for (found, expected) in codecs.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
    assert_eq!(mpd.periods, 1);
    decodes(&server, &mpd);
}

#[test]
fn sound_alone_pictures_alone_and_other_codecs() {
    check_codecs(&format!("-re {AUDIO} {AAC}"), &["mp4a.40.2"]);
    let b_frames = "-c:v libx264 -preset fast -bf 3 -pix_fmt yuv420p -g 25 -b:v 300k";
    check_codecs(&format!("-re {VIDEO} {b_frames}"), &["avc1.64"]);
    check_codecs(&format!("-re {AUDIO} -c:a libmp3lame -b:a 64k"), &["mp4a.6B"]);
}

#[test]
fn hevc_to_the_last_picture() {
    let server = Server::start(&dash(""));
    let source = server.dir().join("source.ts");
    make(
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration=3 -c:v libx265 -preset ultrafast \
         -x265-params keyint=25:bframes=3:log-level=none -f mpegts",
        &source,
    );
    let mut publisher = Publisher::start(&server, "live/show");
    for frame in frames(&std::fs::read(&source).unwrap()) {
        publisher.send(frame.kind.tag_type(), frame.dts as u32, &frame.payload);
    }
    drop(publisher);
    let mpd = Mpd::until(&server, "three segments", |mpd| mpd.listed() >= 3);
    let set = &mpd.sets[0];
    assert!(set.representation["codecs"].starts_with("hvc1.1.6.L"), "{set:?}");
    let mut all = fetch(&server, &set.paths(&mpd.base).next().unwrap());
    for set in &mpd.sets {
        all.extend(set.paths(&mpd.base).skip(1).flat_map(|path| fetch(&server, &path)));
    }
    let file = server.dir().join("hevc.mp4");
    std::fs::write(&file, all).unwrap();
    decode_file(&file);
    assert_eq!(pictures(&file), pictures(&source));
}

#[test]
fn times_go_on_over_publishes_and_crashes() {
    let mut server = Server::start(&dash(""));
    let (mut start, mut newest) = (None, 0);
    for round in 0..4 {
        let encoder = publish_both(&server.rtmp("live/show"));
        let mpd = Mpd::until(&server, "a period more", |mpd| mpd.periods > round && mpd.newest() > newest);
        let started = *start.get_or_insert(mpd.root_millis("availabilityStartTime"));
        assert_eq!(mpd.root_millis("availabilityStartTime"), started, "never changes");
        // What came before the crash can still be had.
        mpd.sets.iter().flat_map(|set| set.paths(&mpd.base)).for_each(|path| drop(fetch(&server, &path)));
        newest = mpd.newest();
        if round % 2 == 0 {
            // All that was told is on the disk when the manifest is.
            wait_until("the manifest is on the disk", SOON, || {
                let text = std::fs::read_to_string(server.dir().join("html/live/show.mpd"));
                text.is_ok_and(|text| Mpd::parse(&text).newest() >= newest)
            });
            server.kill();
            server.start_again();
        }
        drop(encoder);
    }
}

#[test]
fn a_bad_disk_is_told_of_and_tried_again_and_viewers_do_not_notice() {
    let server = Server::start(&dash("").and_vhost("play { gop_cache on; }"));
    std::fs::create_dir_all(server.dir().join("html")).unwrap();
    let in_the_way = server.dir().join("html/live");
    std::fs::write(&in_the_way, "").unwrap();
    let _encoder = publish_both(&server.rtmp("live/show"));
    let mpd = Mpd::until(&server, "three segments", |mpd| mpd.listed() >= 3);
    decodes(&server, &mpd);
    wait_until("it is told", SOON, || {
        server.log().contains("dash stream __defaultVhost__/live/show: the disk has not taken a file")
    });
    decode(&server.rtmp("live/show"), 1);
    std::fs::remove_file(&in_the_way).unwrap();
    wait_until("it is on the disk", SOON, || in_the_way.join("show.mpd").exists());
    wait_until("that is told too", SOON, || server.log().contains("the disk takes files again"));
}

#[test]
fn without_input_everything_goes() {
    let server = Server::start(&dash("dash_dispose 2;"));
    let encoder = publish_both(&server.rtmp("live/show"));
    Mpd::until(&server, "a segment", |mpd| mpd.listed() >= 1);
    wait_until("it is on the disk", SOON, || server.dir().join("html/live/show.mpd").exists());
    drop(encoder);
    wait_until("it is gone from memory", SOON, || Mpd::get(server.http_addr(), "/live/show.mpd").is_none());
    wait_until("and from the disk", SOON, || {
        !server.dir().join("html/live/show.mpd").exists()
            && std::fs::read_dir(server.dir().join("html/live/show")).map_or(0, Iterator::count) == 0
    });
    let _encoder = publish_both(&server.rtmp("live/show"));
    Mpd::until(&server, "it comes again", |mpd| mpd.listed() >= 1);
}

/// Segments of two seconds, as fast as they go.
fn send(publisher: &mut Publisher, from: u32, to: u32) {
    for n in from..to {
        publisher.send(9, 100 * n, &avc(n % 10 == 0, n, 300));
        publisher.send(8, 100 * n, &aac(n));
    }
}

/// Each directive of the block counts for a stream that is being published.
#[test]
pub(crate) fn a_reload_restarts_the_output_of_its_vhost_alone() {
    let conf = |lines: &str| {
        let other = "vhost other { dash { enabled on; dash_fragment 2; dash_path ./html/other; dash_cleanup off; dash_ctx off; } }";
        Conf::vhost(&format!("publish {{ normal_timeout 60000; }} dash {{ dash_ctx off; {lines} }}"))
            .vhosts(other)
    };
    let server = Server::start(&conf(""));
    let addr = server.http_addr();
    let mut publisher = Publisher::start(&server, "live/show");
    publisher.headers(0);
    let app = "live?vhost=other";
    let mut other = Publisher::ask_at(&server, &server.rtmp(app), app, "show").unwrap();
    other.headers(0);
    let mut sent = 0;
    let mut more = |publisher: &mut Publisher| {
        send(publisher, sent, sent + 70);
        sent += 70;
    };
    more(&mut publisher);
    more(&mut other);
    let of_other = "/other/live/show.mpd";
    wait_until("the other vhost has DASH", SOON, || {
        Mpd::get(addr, of_other).is_some_and(|mpd| mpd.listed() >= 3)
    });
    assert!(Mpd::get(addr, "/live/show.mpd").is_none(), "not enabled");

    let on = "enabled on; dash_path ./html; dash_fragment 2;";
    server.reload(&conf(on));
    more(&mut publisher);
    let mpd = Mpd::until(&server, "enabled", |mpd| mpd.listed() >= 1);
    assert_eq!((&*mpd.root["minimumUpdatePeriod"], &*mpd.root["timeShiftBufferDepth"]), ("PT2S", "PT300S"));

    server.reload(&conf(&format!("{on} dash_update_period 1; dash_timeshift 60;")));
    more(&mut publisher);
    let mpd = Mpd::until(&server, "other times", |mpd| mpd.root["minimumUpdatePeriod"] == "PT1S");
    assert_eq!(mpd.root["timeShiftBufferDepth"], "PT60S");
    assert!(mpd.periods >= 2, "what was there before is in it: {mpd:?}");

    server.reload(&conf("enabled on; dash_path ./html; dash_fragment 1; dash_window_size 5;"));
    more(&mut publisher);
    Mpd::until(&server, "shorter segments", |mpd| {
        mpd.root["minimumUpdatePeriod"] == "PT1S" && seconds(&mpd.root["timeShiftBufferDepth"]) < 20.0
    });

    server.reload(&conf("enabled on; dash_path ./html/x; dash_mpd_file [app]/[stream]/live.mpd; dash_fragment 1; dash_cleanup off;"));
    more(&mut publisher);
    wait_until("another place", SOON, || Mpd::get(addr, "/x/live/show/live.mpd").is_some());
    wait_until("the old one is at most a file on the disk", SOON, || {
        !Http::get(addr, "/live/show.mpd").is_packaged()
    });
    wait_until("on the disk too", SOON, || server.dir().join("html/x/live/show/live.mpd").exists());

    // It counts at once, for what is there: nothing begins anew.
    server.reload(&conf("enabled on; dash_path ./html/x; dash_mpd_file [app]/[stream]/live.mpd; dash_fragment 1; dash_cleanup off; dash_dispose 1;"));
    send(&mut publisher, 100_000, 100_001);
    wait_until("it is deleted", SOON, || Mpd::get(addr, "/x/live/show/live.mpd").is_none());

    let before = Mpd::get(addr, of_other).unwrap();
    server.reload(&conf(""));
    send(&mut other, 70, 140);
    wait_until("the other vhost goes on", SOON, || {
        Mpd::get(addr, of_other)
            .is_some_and(|mpd| mpd.newest() > before.newest() && mpd.starts() == before.starts())
    });
}
