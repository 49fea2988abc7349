//! The hub as its users see it, with a wire format that a person can read.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use mill_media::amf0::{Object, Value};
use mill_media::frame::{Frame, FrameKind, Millis};
use proptest::prelude::*;

use crate::gop::{Gop, Place};
use crate::*;
use FrameKind::{Audio, AudioHeader, Keyframe, Metadata, Video, VideoHeader};

/// A frame is `<letter><dts>=<payload> `; a file begins with `[tracks]`.
#[derive(Debug, Clone, Copy)]
struct Letters {
    variant: u32,
    finish: Option<&'static str>,
}

const LETTERS: Letters = Letters { variant: 0, finish: None };

fn letter(kind: FrameKind) -> char {
    match kind {
        Metadata => 'M',
        AudioHeader => 'A',
        Audio => 'a',
        VideoHeader => 'V',
        Keyframe => 'K',
        Video => 'v',
    }
}

impl WireFormat for Letters {
    fn key(&self) -> FormatKey {
        FormatKey { name: "letters", variant: self.variant }
    }

    fn writer(&self) -> Box<dyn Writer> {
        Box::new(*self)
    }

    fn preamble(&self, tracks: Tracks, out: &mut BytesMut) {
        let sign = |there| if there { '+' } else { '-' };
        out.put_slice(format!("[audio{} video{}] ", sign(tracks.audio), sign(tracks.video)).as_bytes());
    }

    fn finish(&self) -> Option<Bytes> {
        self.finish.map(|text| Bytes::from_static(text.as_bytes()))
    }
}

impl Writer for Letters {
    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
        out.put_slice(format!("{}{}=", letter(frame.kind), frame.dts).as_bytes());
        out.put_slice(&frame.payload);
        out.put_u8(b' ');
        Ok(())
    }
}

/// Carries audio and nothing else.
#[derive(Debug, Clone, Copy)]
struct OnlyAudio;

impl WireFormat for OnlyAudio {
    fn key(&self) -> FormatKey {
        FormatKey { name: "audio", variant: 0 }
    }

    fn writer(&self) -> Box<dyn Writer> {
        Box::new(*self)
    }
}

impl Writer for OnlyAudio {
    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
        if frame.kind.is_audio() { Letters::write(&mut LETTERS.clone(), frame, out) } else { Ok(()) }
    }
}

fn id(name: &str) -> StreamId {
    StreamId { vhost: "v".into(), app: "live".into(), name: name.into() }
}

/// Timestamps as published, so that a test may choose them freely.
fn as_published() -> StreamOptions {
    StreamOptions { jitter: TimeJitter::Off, ..StreamOptions::default() }
}

fn publish(hub: &Hub, options: StreamOptions) -> Publisher {
    hub.publish(&id("s"), options).unwrap()
}

fn lane(hub: &Hub) -> Arc<Lane> {
    hub.watch(&id("s")).stream().lane(Arc::new(LETTERS))
}

fn push(publisher: &mut Publisher, frames: &[(FrameKind, u32, &str)]) {
    for &(kind, time, payload) in frames {
        publisher.push(kind, time, Bytes::copy_from_slice(payload.as_bytes()));
    }
}

const HEADERS: [(FrameKind, u32, &str); 3] =
    [(VideoHeader, 0, "avc"), (AudioHeader, 0, "aac"), (Metadata, 0, "meta")];

fn text(batches: &[Batch]) -> String {
    batches.iter().map(|batch| str::from_utf8(&batch.bytes).unwrap()).collect()
}

/// All there is from `from` on, and the number to go on from.
fn flush(reader: &Reader, from: u64) -> Result<(String, u64), Lagged> {
    let mut out = vec![];
    let next = reader.flush(from, None, &mut out)?;
    Ok((text(&out), next))
}

fn flushed(reader: &Reader, from: u64) -> String {
    flush(reader, from).unwrap().0
}

/// What a newcomer gets first, and all it may read after that.
fn joined(reader: &Reader) -> Option<(String, String)> {
    let (join, _) = reader.join(None)?;
    Some((str::from_utf8(&join.headers).unwrap().to_owned(), flushed(reader, join.next)))
}

fn pair(headers: &str, frames: &str) -> Option<(String, String)> {
    Some((headers.to_owned(), frames.to_owned()))
}

/// All that can still be read, from the oldest batch on.
fn readable(reader: &Reader) -> Vec<Batch> {
    let mut out = vec![];
    let oldest = (0..=reader.next()).find(|&from| reader.read(from, usize::MAX, &mut vec![]).is_ok());
    reader.read(oldest.unwrap(), usize::MAX, &mut out).unwrap();
    out
}

fn names(hub: &Hub) -> Vec<String> {
    let mut names: Vec<_> = hub.streams().iter().map(|stream| stream.id().to_string()).collect();
    names.sort();
    names
}

/// The hub remembers no name at all, not even one whose stream is gone.
fn is_blank(hub: &Hub) -> bool {
    !format!("{hub:?}").contains("StreamId")
}

mod registry {
    use super::*;

    #[test]
    fn a_name_has_one_publisher() {
        let hub = Hub::default();
        let first = publish(&hub, as_published());
        assert_eq!(hub.publish(&id("s"), as_published()).unwrap_err(), Busy);
        assert!(first.stream().is_live(), "the first is not disturbed");
        assert!(hub.publish(&id("t"), as_published()).is_ok(), "other names are free");
        let elsewhere = StreamId { vhost: "w".into(), ..id("s") };
        assert!(hub.publish(&elsewhere, as_published()).is_ok(), "other vhosts are others");
    }

    #[test]
    fn clones_are_the_same_hub() {
        let hub = Hub::default();
        let _first = publish(&hub.clone(), as_published());
        assert!(hub.publish(&id("s"), as_published()).is_err());
    }

    #[test]
    fn dropping_the_publisher_frees_the_name() {
        let hub = Hub::default();
        let first = publish(&hub, as_published());
        let stream = first.stream().clone();
        drop(first);
        assert!(!stream.is_live());
        let second = publish(&hub, as_published());
        assert!(stream.is_live());
        assert!(Arc::ptr_eq(&stream, second.stream()));
    }

    #[test]
    fn a_stream_is_forgotten_with_the_last_who_holds_it() {
        let hub = Hub::default();
        let publisher = publish(&hub, as_published());
        let watch = hub.watch(&id("s"));
        assert_eq!(names(&hub), ["v/live/s"]);
        assert!(!is_blank(&hub));
        drop(publisher);
        assert_eq!(names(&hub), ["v/live/s"], "watched");
        let reader = watch.stream().lane(Arc::new(LETTERS)).reader();
        drop(watch);
        assert_eq!(names(&hub), ["v/live/s"], "read");
        drop(reader);
        assert!(names(&hub).is_empty());
        assert!(is_blank(&hub), "not even the name is kept");
    }

    #[test]
    fn those_who_wait_for_a_publisher_get_it() {
        let hub = Hub::default();
        let watch = hub.watch(&id("s"));
        assert!(!watch.stream().is_live());
        let publisher = publish(&hub, as_published());
        assert!(Arc::ptr_eq(watch.stream(), publisher.stream()));
        assert!(watch.stream().is_live());
    }

    #[test]
    fn a_name_that_was_refused_leaves_nothing_behind() {
        let hub = Hub::default();
        let publisher = publish(&hub, as_published());
        assert!(hub.publish(&id("s"), as_published()).is_err());
        drop(publisher);
        assert!(is_blank(&hub));
    }

    #[test]
    fn viewers_are_counted_while_they_watch() {
        let hub = Hub::default();
        let publisher = publish(&hub, as_published());
        let stream = publisher.stream();
        assert_eq!(stream.viewers(), 0);
        let (first, second) = (hub.watch(&id("s")), hub.watch(&id("s")));
        let _other = hub.watch(&id("t"));
        assert_eq!(stream.viewers(), 2);
        drop(first);
        assert_eq!(stream.viewers(), 1);
        drop(second);
        assert_eq!(stream.viewers(), 0);
    }

    #[test]
    fn frames_and_bytes_received_are_counted() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        push(
            &mut publisher,
            &[(VideoHeader, 0, "12"), (Keyframe, 0, "345"), (Audio, 0, "6"), (Video, 9, "7")],
        );
        let counters = publisher.stream().counters();
        assert_eq!(counters.frames.load(Ordering::Relaxed), 2, "video frames without headers");
        assert_eq!(counters.received.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn the_distance_of_keyframes_is_known() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let stream = hub.find(&id("s")).unwrap();
        let interval = || stream.counters().keyframe_interval.load(Ordering::Relaxed);
        push(&mut publisher, &[(Keyframe, 0, "k"), (Video, 40, "v"), (Audio, 41, "a")]);
        assert_eq!(interval(), 0);
        push(&mut publisher, &[(Keyframe, 2000, "k")]);
        assert_eq!(interval(), 2000);
        assert_eq!(stream.counters().keyframes.load(Ordering::Relaxed), 2);
        assert_eq!(stream.counters().audio_frames.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_tells_about_the_coding_is_the_header_or_the_first_frame() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let stream = publisher.stream().clone();
        assert!(stream.samples().audio.is_none());
        push(&mut publisher, &[(Audio, 0, "first"), (Audio, 20, "second"), (Video, 30, "no")]);
        assert_eq!(stream.samples().audio.unwrap(), "first");
        assert!(stream.samples().video.is_none());
        let long = "x".repeat(1000);
        push(&mut publisher, &[(AudioHeader, 40, "header"), (Keyframe, 50, &long)]);
        assert_eq!(stream.samples().audio.unwrap(), "header");
        assert_eq!(stream.samples().video.unwrap().len(), 64);
        drop(publisher);
        assert!(stream.samples().audio.is_none() && stream.samples().video.is_none());
    }

    #[test]
    fn bytes_held_for_viewers_are_known() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let stream = publisher.stream().clone();
        assert_eq!(stream.held(), (0, 0));
        let lane = lane(&hub);
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        assert_eq!(stream.held(), (1, "K0=k ".len()));
        drop(lane);
        assert_eq!(stream.held(), (0, 0));
    }
}

mod lanes {
    use super::*;

    #[test]
    fn equal_formats_share_a_lane() {
        let hub = Hub::default();
        let watch = hub.watch(&id("s"));
        let first = watch.stream().lane(Arc::new(LETTERS));
        let same = watch.stream().lane(Arc::new(LETTERS));
        let other = watch.stream().lane(Arc::new(Letters { variant: 1, ..LETTERS }));
        assert!(Arc::ptr_eq(&first, &same));
        assert!(!Arc::ptr_eq(&first, &other));
        assert_eq!(other.format().key().variant, 1);
    }

    #[test]
    fn a_lane_goes_with_its_last_reader() {
        let hub = Hub::default();
        let publisher = publish(&hub, as_published());
        let lane = lane(&hub);
        let weak = Arc::downgrade(&lane);
        let reader = lane.reader();
        drop(lane);
        assert!(weak.upgrade().is_some(), "a reader holds it");
        drop(reader);
        assert!(weak.upgrade().is_none(), "the stream does not");
        drop(publisher);
    }

    #[test]
    fn each_format_is_written_in_its_own_way() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let all = lane(&hub).reader();
        let audio = hub.watch(&id("s")).stream().lane(Arc::new(OnlyAudio)).reader();
        push(&mut publisher, &HEADERS);
        push(&mut publisher, &[(Keyframe, 5, "k"), (Audio, 6, "x"), (Video, 7, "y")]);
        assert_eq!(flushed(&all, 0), "V0=avc A0=aac M0=meta K5=k a6=x v7=y ");
        assert_eq!(flushed(&audio, 0), "A0=aac a6=x ");
        assert_eq!(joined(&audio), pair("A5=aac ", "a6=x "));
    }

    #[test]
    fn what_a_format_leaves_out_makes_no_batches() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let audio = hub.watch(&id("s")).stream().lane(Arc::new(OnlyAudio)).reader();
        push(&mut publisher, &[(Keyframe, 5, "k"), (Video, 7, "y")]);
        assert_eq!(flush(&audio, 0), Ok((String::new(), 0)));
    }

    #[test]
    fn a_lane_made_late_equals_one_from_the_start() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let early = lane(&hub).reader();
        push(&mut publisher, &HEADERS);
        push(&mut publisher, &[(Keyframe, 0, "k"), (Video, 40, "x")]);
        push(&mut publisher, &[(VideoHeader, 80, "hevc"), (Keyframe, 80, "k"), (Audio, 90, "y")]);
        // Changes inside the running group of pictures travel in it, not in front of it.
        push(&mut publisher, &[(Metadata, 0, "new"), (AudioHeader, 100, "opus"), (Audio, 110, "z")]);
        let late = hub.watch(&id("s")).stream().lane(Arc::new(Letters { variant: 1, ..LETTERS })).reader();
        let expected = pair("M80=meta A80=aac V80=hevc ", "K80=k a90=y M90=new A100=opus a110=z ");
        assert_eq!(joined(&early), expected);
        assert_eq!(joined(&late), expected);
        let before = [early.next(), late.next()];
        push(&mut publisher, &[(Video, 120, "on"), (Keyframe, 160, "k")]);
        assert_eq!(flushed(&early, before[0]), "v120=on K160=k ");
        assert_eq!(flushed(&late, before[1]), "v120=on K160=k ");
        let expected = pair("M160=new A160=opus V160=hevc ", "K160=k ");
        assert_eq!(joined(&early), expected);
        assert_eq!(joined(&late), expected);
    }

    #[test]
    fn many_small_and_large_frames_arrive_whole_and_in_order() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let early = lane(&hub).reader();
        let mut expected = String::new();
        for i in 0..200 {
            let kind = if i == 0 { Keyframe } else { Video };
            let payload = "x".repeat(i * i % 40_000);
            push(&mut publisher, &[(kind, i as u32, &payload)]);
            expected.push_str(&format!("{}{i}={payload} ", letter(kind)));
        }
        assert!(flushed(&early, 0) == expected);
        let late = hub.watch(&id("s")).stream().lane(Arc::new(Letters { variant: 1, ..LETTERS })).reader();
        assert!(joined(&late).unwrap().1 == expected);
    }
}

mod newcomers {
    use super::*;

    #[test]
    fn they_get_the_headers_and_everything_from_the_keyframe_on() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        push(&mut publisher, &HEADERS);
        push(
            &mut publisher,
            &[(Keyframe, 0, "old"), (Video, 20, "old"), (Keyframe, 40, "key"), (Audio, 45, "x")],
        );
        assert_eq!(joined(&reader), pair("M40=meta A40=aac V40=avc ", "K40=key a45=x "));
        push(&mut publisher, &[(Video, 60, "y")]);
        assert_eq!(joined(&reader), pair("M40=meta A40=aac V40=avc ", "K40=key a45=x v60=y "));
    }

    #[test]
    fn they_may_read_at_once_what_nobody_has_flushed_yet() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        push(&mut publisher, &[(Keyframe, 0, "key"), (Video, 1, "x")]);
        let (join, _) = reader.join(None).unwrap();
        let mut out = vec![];
        reader.read(join.next, usize::MAX, &mut out).unwrap();
        assert_eq!(text(&out), "K0=key v1=x ");
    }

    #[test]
    fn tracks_are_those_seen_or_announced() {
        let hub = Hub::default();
        let tracks = |frames: &[(FrameKind, u32, &str)]| {
            let mut publisher = publish(&hub, as_published());
            let reader = lane(&hub).reader();
            push(&mut publisher, frames);
            let (_, tracks) = reader.join(None).unwrap();
            (tracks.audio, tracks.video)
        };
        assert_eq!(tracks(&[(Audio, 0, "x")]), (true, false));
        assert_eq!(tracks(&[(Keyframe, 0, "x")]), (false, true));
        assert_eq!(tracks(&[(AudioHeader, 0, "x"), (Keyframe, 0, "x")]), (true, true));
        let announced = script([("videocodecid", Value::from(7.0))]);
        assert_eq!(tracks(&[(Metadata, 0, &announced), (Audio, 0, "x")]), (true, true));
    }

    #[test]
    fn there_is_nothing_to_join_before_the_first_media_and_after_the_end() {
        for gop_cache in [true, false] {
            let hub = Hub::default();
            let reader = lane(&hub).reader();
            assert!(joined(&reader).is_none(), "nobody publishes");
            let mut publisher = publish(&hub, StreamOptions { gop_cache, ..as_published() });
            push(&mut publisher, &HEADERS);
            assert!(joined(&reader).is_none(), "headers alone show nothing");
            let late =
                hub.watch(&id("s")).stream().lane(Arc::new(Letters { variant: 1, ..LETTERS })).reader();
            assert!(joined(&late).is_none(), "nor in a lane made now");
            push(&mut publisher, &[(Keyframe, 0, "k")]);
            assert!(joined(&reader).is_some());
            assert!(joined(&late).is_some());
            drop(publisher);
            assert!(joined(&reader).is_none(), "the publish is over");
            let _next = publish(&hub, as_published());
            assert!(joined(&reader).is_none(), "the next has not begun");
        }
    }

    #[test]
    fn they_get_nothing_of_an_earlier_publish() {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &HEADERS);
        push(&mut publisher, &[(Keyframe, 0, "old")]);
        drop(publisher);
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(Keyframe, 9, "new")]);
        assert_eq!(joined(&reader), pair("", "K9=new "));
    }

    #[test]
    fn without_gop_cache_they_start_live_with_the_headers_in_force() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions { gop_cache: false, ..as_published() });
        let early = lane(&hub).reader();
        push(&mut publisher, &HEADERS);
        push(&mut publisher, &[(Keyframe, 40, "key"), (AudioHeader, 50, "opus"), (Video, 60, "x")]);
        let late = hub.watch(&id("s")).stream().lane(Arc::new(Letters { variant: 1, ..LETTERS })).reader();
        for reader in [early, late] {
            let (join, _) = reader.join(None).unwrap();
            assert_eq!(join.headers, "M60=meta A60=opus V60=avc ");
            assert_eq!(flushed(&reader, join.next), "");
        }
    }

    #[test]
    fn without_gop_cache_who_waited_for_the_publish_sees_its_first_frame() {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        assert!(reader.join(None).is_none());
        let mut publisher = publish(&hub, StreamOptions { gop_cache: false, ..as_published() });
        push(&mut publisher, &HEADERS);
        push(&mut publisher, &[(Keyframe, 40, "key"), (Video, 60, "x")]);
        let (join, _) = reader.join(Some(0)).unwrap();
        assert!(flushed(&reader, join.next).starts_with("K40=key "));
    }

    #[test]
    fn after_a_live_start_they_miss_nothing_and_see_nothing_twice() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions { gop_cache: false, ..as_published() });
        let reader = lane(&hub).reader();
        push(&mut publisher, &[(Keyframe, 0, "k"), (Video, 1, "before")]);
        let (join, _) = reader.join(None).unwrap();
        push(&mut publisher, &[(Video, 2, "behind")]);
        assert_eq!(flushed(&reader, join.next), "v2=behind ");
    }

    #[test]
    fn an_audio_only_stream_can_be_joined_every_second() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        push(&mut publisher, &[(AudioHeader, 0, "aac")]);
        for time in (0..2500).step_by(100) {
            push(&mut publisher, &[(Audio, time, "x")]);
        }
        let late = hub.watch(&id("s")).stream().lane(Arc::new(Letters { variant: 1, ..LETTERS })).reader();
        let expected = pair("A2000=aac ", "a2000=x a2100=x a2200=x a2300=x a2400=x ");
        assert_eq!(joined(&reader), expected);
        assert_eq!(joined(&late), expected);
    }

    #[test]
    fn a_group_of_pictures_that_is_too_long_is_not_offered() {
        let hub = Hub::default();
        let options = StreamOptions { gop_cache_max_frames: 3, ..as_published() };
        let mut publisher = publish(&hub, options);
        let early = lane(&hub).reader();
        push(&mut publisher, &HEADERS);
        push(&mut publisher, &[(Keyframe, 0, "k"), (Video, 1, "x"), (Video, 2, "x")]);
        assert_eq!(joined(&early).unwrap().1, "K0=k v1=x v2=x ");
        push(&mut publisher, &[(Video, 3, "x"), (Video, 4, "x")]);
        let late = hub.watch(&id("s")).stream().lane(Arc::new(Letters { variant: 1, ..LETTERS })).reader();
        for reader in [&early, &late] {
            assert_eq!(joined(reader), pair("M4=meta A4=aac V4=avc ", ""));
        }
        push(&mut publisher, &[(Keyframe, 5, "k")]);
        for reader in [&early, &late] {
            assert_eq!(joined(reader).unwrap().1, "K5=k ");
        }
    }
}

mod readers {
    use super::*;

    #[test]
    fn equal_ticks_see_equal_batches() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let (first, second) = (lane(&hub).reader(), lane(&hub).reader());
        let flush = |reader: &Reader, from, tick| {
            let mut out = vec![];
            let next = reader.flush(from, tick, &mut out).unwrap();
            (out.into_iter().map(|batch| batch.bytes).collect::<Vec<_>>(), next)
        };
        push(&mut publisher, &[(Keyframe, 0, "k"), (Video, 1, "x")]);
        let (cut, next) = flush(&first, 0, Some(7));
        assert_eq!(cut, ["K0=k v1=x "]);
        push(&mut publisher, &[(Video, 2, "y")]);
        let (same, same_next) = flush(&second, 0, Some(7));
        assert_eq!((&same, same_next), (&cut, next), "what came in between waits for the next tick");
        assert_eq!(same[0].as_ptr(), cut[0].as_ptr(), "and it is the same memory");
        push(&mut publisher, &[(Video, 3, "z")]);
        assert_eq!(flush(&second, next, Some(8)).0, ["v2=y v3=z "]);
        assert_eq!(flush(&first, next, Some(8)).0, ["v2=y v3=z "]);
    }

    #[test]
    fn without_a_tick_everything_is_cut_at_once() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        assert_eq!(flush(&reader, 0), Ok(("K0=k ".into(), 1)));
        push(&mut publisher, &[(Video, 1, "x")]);
        assert_eq!(flush(&reader, 1), Ok(("v1=x ".into(), 2)));
        assert_eq!(flush(&reader, 2), Ok((String::new(), 2)));
    }

    #[test]
    fn reading_cuts_nothing_and_gives_no_more_than_asked_for() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        for (time, kind) in [(0, Keyframe), (1, Video), (2, Video)] {
            push(&mut publisher, &[(kind, time, "x")]);
            flushed(&reader, 0);
        }
        push(&mut publisher, &[(Video, 3, "open")]);
        let mut out = vec![];
        assert_eq!(reader.read(0, 2, &mut out), Ok(2));
        assert_eq!(text(&out), "K0=x v1=x ");
        assert_eq!(reader.read(2, 99, &mut out), Ok(3));
        assert_eq!(text(&out), "K0=x v1=x v2=x ", "added to what was there; the open one is left out");
    }

    #[test]
    fn who_lags_goes_on_at_the_newest_keyframe() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions { queue_length: 1000, ..as_published() });
        let reader = lane(&hub).reader();
        push(&mut publisher, &HEADERS);
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        let (_, from) = flush(&reader, 0).unwrap();
        push(&mut publisher, &[(Video, 500, "missed")]);
        flushed(&reader, from);
        push(&mut publisher, &[(Keyframe, 1400, "k"), (Video, 1500, "x")]);
        assert!(flush(&reader, from).is_ok(), "a second behind is allowed");
        push(&mut publisher, &[(Video, 1501, "y")]);
        let mut out = vec![];
        assert_eq!(reader.flush(from, None, &mut out), Err(Lagged));
        assert!(out.is_empty());
        let join = reader.rejoin(from);
        assert_eq!(join.headers, "M1400=meta A1400=aac V1400=avc ");
        assert_eq!(flushed(&reader, join.next), "K1400=k v1500=x v1501=y ");
    }

    #[test]
    fn who_lags_behind_the_newest_keyframe_goes_on_live() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions { gop_cache_max_frames: 2, ..as_published() });
        let reader = lane(&hub).reader();
        push(&mut publisher, &[(VideoHeader, 0, "avc"), (Keyframe, 0, "k"), (Video, 1, "x")]);
        let (_, from) = flush(&reader, 0).unwrap();
        let join = reader.rejoin(from);
        assert_eq!(join.headers, "V1=avc ", "having read beyond the keyframe");
        assert_eq!(join.next, from);
        push(&mut publisher, &[(Video, 2, "too many"), (Video, 40_000, "z")]);
        assert_eq!(flush(&reader, from - 1), Err(Lagged));
        let join = reader.rejoin(from - 1);
        assert_eq!(join.headers, "V40000=avc ");
        assert_eq!(flushed(&reader, join.next), "");
    }

    #[test]
    fn a_long_group_of_pictures_can_be_read_to_its_end() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions { queue_length: 1000, ..as_published() });
        let reader = lane(&hub).reader();
        reader.set_floor(u64::MAX);
        for (time, kind) in [(0, Keyframe), (5000, Video), (9000, Video)] {
            push(&mut publisher, &[(kind, time, "x")]);
            let _ = flush(&reader, reader.next());
        }
        assert_eq!(joined(&reader).unwrap().1, "K0=x v5000=x v9000=x ");
    }

    #[test]
    fn the_floor_keeps_what_a_slow_reader_needs() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let (slow, fast) = (lane(&hub).reader(), lane(&hub).reader());
        let mut next = 0;
        for time in 0..10 {
            push(&mut publisher, &[(Keyframe, time, "k")]);
            next = flush(&fast, next).unwrap().1;
            fast.set_floor(next);
        }
        slow.set_floor(6);
        flushed(&fast, next);
        assert_eq!(text(&readable(&slow)), "K6=k K7=k K8=k K9=k ");
        slow.set_floor(u64::MAX);
        flushed(&fast, next);
        assert_eq!(text(&readable(&slow)), "K9=k ", "the running group of pictures stays");
        assert_eq!(flush(&slow, 6), Err(Lagged));
    }

    #[test]
    fn the_floor_keeps_nothing_that_is_older_than_the_queue() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions { queue_length: 1000, ..as_published() });
        let (slow, fast) = (lane(&hub).reader(), lane(&hub).reader());
        slow.set_floor(0);
        let mut next = 0;
        for time in (0..5000).step_by(500) {
            push(&mut publisher, &[(Keyframe, time, "k")]);
            next = flush(&fast, next).unwrap().1;
            fast.set_floor(next);
        }
        assert_eq!(text(&readable(&slow)), "K3500=k K4000=k K4500=k ");
        assert_eq!(flush(&slow, 0), Err(Lagged));
    }

    #[test]
    fn nothing_is_dropped_that_a_new_reader_has_not_read() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let fast = lane(&hub).reader();
        push(&mut publisher, &[(Keyframe, 0, "before")]);
        let mut next = flush(&fast, 0).unwrap().1;
        let new = lane(&hub).reader();
        let begun = new.next();
        for time in 1..5 {
            push(&mut publisher, &[(Keyframe, time, "k")]);
            next = flush(&fast, next).unwrap().1;
            fast.set_floor(next);
        }
        assert_eq!(flushed(&new, begun), "K1=k K2=k K3=k K4=k ");
    }

    #[test]
    fn a_reader_that_left_keeps_nothing() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let (slow, fast) = (lane(&hub).reader(), lane(&hub).reader());
        slow.set_floor(0);
        push(&mut publisher, &[(Keyframe, 0, "k"), (Keyframe, 1, "k")]);
        let next = flush(&fast, 0).unwrap().1;
        fast.set_floor(next);
        flushed(&fast, next);
        assert_eq!(text(&readable(&fast)), "K0=k K1=k ");
        drop(slow);
        flushed(&fast, next);
        assert_eq!(text(&readable(&fast)), "K1=k ");
    }

    #[test]
    fn a_lane_is_bounded_in_bytes_though_a_reader_never_moves() {
        const BOUND: usize = 64 * 1024 * 1024;
        let hub = Hub::default();
        let endless = StreamOptions {
            queue_length: Millis::MAX / 2,
            gop_cache_max_frames: usize::MAX,
            ..as_published()
        };
        let mut publisher = publish(&hub, endless);
        let (slow, fast) = (lane(&hub).reader(), lane(&hub).reader());
        slow.set_floor(0);
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        let mut held = 0;
        for time in 0..80 {
            publisher.push(if time == 0 { Keyframe } else { Video }, time, piece.clone());
            let _ = flush(&fast, fast.next());
            held = readable(&slow).iter().map(|batch| batch.bytes.len()).sum();
            assert!(held <= BOUND, "{held} bytes at {time}");
        }
        assert!(held > BOUND / 2, "but what fits is kept: {held}");
    }

    #[test]
    fn the_end_comes_in_order() {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(Keyframe, 0, "last")]);
        assert!(!reader.ended_since(0));
        drop(publisher);
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(Keyframe, 5, "next")]);
        let mut out = vec![];
        reader.flush(0, None, &mut out).unwrap();
        let seen: Vec<_> = out.iter().map(|batch| (text(std::slice::from_ref(batch)), batch.end)).collect();
        assert_eq!(seen, [("K0=last ".into(), false), (String::new(), true), ("K5=next ".into(), false)]);
        assert!(reader.ended_since(0) && reader.ended_since(1), "read or not");
        assert!(!reader.ended_since(2));
    }

    #[test]
    fn who_goes_on_after_the_end_gets_nothing_of_that_publish() {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &HEADERS);
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        drop(publisher);
        let join = reader.rejoin(0);
        assert_eq!(join.headers, "");
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(VideoHeader, 7, "new"), (Keyframe, 7, "k")]);
        assert_eq!(flushed(&reader, join.next), "V7=new K7=k ");
    }

    #[test]
    fn the_end_is_known_even_to_those_who_missed_it() {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        reader.set_floor(u64::MAX);
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        drop(publisher);
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(Keyframe, 90_000, "k")]);
        assert_eq!(flush(&reader, 0), Err(Lagged));
        assert!(reader.ended_since(0));
    }
}

mod settings {
    use super::*;

    fn frames(options: StreamOptions, frames: &[(FrameKind, u32, &str)]) -> String {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        let mut publisher = publish(&hub, options);
        let (mut out, mut next) = (vec![], 0);
        for frame in frames {
            push(&mut publisher, std::slice::from_ref(frame));
            next = reader.flush(next, None, &mut out).unwrap();
        }
        text(&out)
    }

    #[test]
    fn repeated_sequence_headers_may_be_left_out() {
        let input = [
            (VideoHeader, 0, "avc"),
            (AudioHeader, 0, "aac"),
            (VideoHeader, 1, "avc"),
            (AudioHeader, 1, "aac"),
            (Metadata, 1, "m"),
            (Metadata, 1, "m"),
            (VideoHeader, 2, "hevc"),
            (VideoHeader, 3, "avc"),
        ];
        let reduced = StreamOptions { reduce_sequence_header: true, ..as_published() };
        assert_eq!(frames(reduced, &input), "V0=avc A0=aac M1=m M1=m V2=hevc V3=avc ");
        assert_eq!(frames(as_published(), &input), "V0=avc A0=aac V1=avc A1=aac M1=m M1=m V2=hevc V3=avc ");
    }

    #[test]
    fn a_new_publish_does_not_count_as_repetition() {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        for _ in 0..2 {
            let mut publisher =
                publish(&hub, StreamOptions { reduce_sequence_header: true, ..as_published() });
            push(&mut publisher, &[(VideoHeader, 0, "avc")]);
        }
        assert_eq!(flushed(&reader, 0), "V0=avc V0=avc ");
    }

    #[test]
    fn absolute_time_if_the_encoder_asks_and_the_vhost_lets_it() {
        let media = |asks: Option<Value>, options| {
            let metadata = script(asks.map(|value| ("bravo_atc", value)));
            let out =
                frames(options, &[(Metadata, 0, &metadata), (Keyframe, 90_000, "k"), (Video, 95_000, "x")]);
            out[out.find('K').unwrap()..].to_owned()
        };
        let auto = || StreamOptions { atc_auto: true, ..StreamOptions::default() };
        assert_eq!(media(Some("true".into()), auto()), "K90000=k v95000=x ");
        assert_eq!(media(Some("true".into()), StreamOptions::default()), "K9=k v19=x ");
        assert_eq!(media(Some("false".into()), auto()), "K9=k v19=x ");
        assert_eq!(media(Some(Value::Boolean(true)), auto()), "K9=k v19=x ", "SRS wants the text");
        let always = StreamOptions { atc: true, ..StreamOptions::default() };
        assert_eq!(media(None, always), "K90000=k v95000=x ");
    }

    #[test]
    fn the_encoders_wish_for_absolute_time_ends_with_its_publish() {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        let auto = StreamOptions { atc_auto: true, ..StreamOptions::default() };
        let mut publisher = publish(&hub, auto.clone());
        push(
            &mut publisher,
            &[(Metadata, 0, &script([("bravo_atc", "true".into())])), (Keyframe, 90_000, "k")],
        );
        drop(publisher);
        let from = reader.next();
        let mut publisher = publish(&hub, auto);
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        assert_eq!(flushed(&reader, from), "K90010=k ", "a jump is a step again");
    }

    #[test]
    fn mixed_frames_come_in_order_of_time_and_none_is_lost() {
        let input = [
            (Keyframe, 0, "k"),
            (Video, 40, "x"),
            (Video, 80, "x"),
            (Audio, 10, "y"),
            (Audio, 33, "y"),
            (Audio, 56, "y"),
        ];
        let mixed = || StreamOptions { mix_correct: true, ..as_published() };
        assert_eq!(frames(as_published(), &input), "K0=k v40=x v80=x a10=y a33=y a56=y ");
        assert_eq!(frames(mixed(), &input), "K0=k a10=y a33=y v40=x a56=y ", "the last waits");
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        let mut publisher = publish(&hub, mixed());
        push(&mut publisher, &input);
        drop(publisher);
        assert_eq!(flushed(&reader, 0), "K0=k a10=y a33=y v40=x a56=y v80=x ", "until the end");
    }

    #[test]
    fn one_kind_alone_is_not_held_back_for_ever() {
        let input: Vec<_> = (0..12).map(|time| (Audio, time, "")).collect();
        let out = frames(StreamOptions { mix_correct: true, ..as_published() }, &input);
        assert_eq!(out, "a0= a1= ");
    }

    #[test]
    fn time_goes_on_over_a_republish() {
        let hub = Hub::default();
        let reader = lane(&hub).reader();
        for start in [7000, 1000] {
            let mut publisher = publish(&hub, StreamOptions::default());
            push(&mut publisher, &[(Keyframe, start, "k"), (Video, start + 40, "x")]);
        }
        assert_eq!(flushed(&reader, 0), "K9=k v49=x K59=k v99=x ");
    }
}

mod reconfigured {
    use super::*;

    /// A live stream takes other settings without losing its viewers.
    #[test]
    fn a_live_stream_is_reconfigured() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let lane = lane(&hub);
        let reader = lane.reader();
        push(&mut publisher, &[(VideoHeader, 0, "avc"), (Keyframe, 0, "k"), (Video, 40, "v")]);
        let stream = publisher.stream().clone();

        // Without the cache newcomers start live, and a lane made now has nothing to begin with.
        let uncached = StreamOptions { gop_cache: false, ..as_published() };
        stream.reconfigure(&uncached);
        assert_eq!(joined(&reader), pair("V40=avc ", ""));
        let other = stream.lane(Arc::new(Letters { variant: 1, finish: None })).reader();
        assert_eq!(joined(&other), pair("V40=avc ", ""));

        // With it again, the next keyframe is where newcomers of every lane start.
        stream.reconfigure(&as_published());
        push(&mut publisher, &[(Video, 80, "w"), (Keyframe, 120, "l"), (Video, 160, "x")]);
        let third = stream.lane(Arc::new(Letters { variant: 2, finish: None })).reader();
        for reader in [&reader, &other, &third] {
            assert_eq!(joined(reader), pair("V120=avc ", "K120=l v160=x "));
        }
        // A group that has grown too long is given up by the new rule at once.
        stream.reconfigure(&StreamOptions { gop_cache_max_frames: 2, ..as_published() });
        push(&mut publisher, &[(Video, 200, "y")]);
        assert_eq!(joined(&reader), pair("V200=avc ", ""));

        // Who has watched all along has missed nothing.
        assert_eq!(flushed(&reader, 0), "V0=avc K0=k v40=v v80=w K120=l v160=x v200=y ");
    }

    #[test]
    fn a_shorter_queue_counts_at_once() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        reader.flush(0, None, &mut vec![]).unwrap();
        push(&mut publisher, &[(Keyframe, 5000, "l")]);
        assert!(flush(&reader, 0).is_ok());
        publisher.stream().reconfigure(&StreamOptions { queue_length: 1000, ..as_published() });
        assert_eq!(flush(&reader, 0), Err(Lagged));
    }

    #[test]
    fn a_live_clock_changes_its_rule() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions::default());
        let lane = lane(&hub);
        let reader = lane.reader();
        let stream = publisher.stream().clone();
        push(&mut publisher, &[(Keyframe, 9000, "k"), (Video, 9040, "v")]);
        // As published, and nobody starts in what has the old clock.
        stream.reconfigure(&as_published());
        push(&mut publisher, &[(Video, 9080, "w")]);
        assert_eq!(joined(&reader), pair("", ""));
        // From the beginning of the publish, though it was not counted from there until now.
        stream.reconfigure(&StreamOptions { jitter: TimeJitter::Zero, ..as_published() });
        push(&mut publisher, &[(Keyframe, 9120, "l")]);
        // `atc` comes before `time_jitter`.
        stream.reconfigure(&StreamOptions { atc: true, ..StreamOptions::default() });
        push(&mut publisher, &[(Keyframe, 9160, "m")]);
        stream.reconfigure(&StreamOptions::default());
        push(&mut publisher, &[(Video, 9200, "n")]);
        flush(&reader, reader.next()).unwrap();
        let all = text(&readable(&reader));
        assert!(all.ends_with("v9080=w K120=l K9160=m v9200=n "), "{all}");
    }

    #[test]
    fn frames_held_for_their_order_go_out_when_nobody_asks_for_it_any_more() {
        let hub = Hub::default();
        let mixed = StreamOptions { mix_correct: true, ..as_published() };
        let mut publisher = publish(&hub, mixed);
        let reader = lane(&hub).reader();
        push(&mut publisher, &[(Keyframe, 0, "k"), (Video, 40, "v")]);
        assert_eq!(flushed(&reader, 0), "");
        publisher.stream().reconfigure(&as_published());
        assert_eq!(flushed(&reader, 0), "K0=k v40=v ");
        publisher.stream().reconfigure(&StreamOptions { mix_correct: true, ..as_published() });
        push(&mut publisher, &[(Audio, 60, "b"), (Audio, 80, "c"), (Video, 70, "w")]);
        assert_eq!(flushed(&reader, 0), "K0=k v40=v a60=b v70=w ", "one kind waits for the other again");
    }

    #[test]
    fn settings_of_an_idle_stream_come_with_its_publisher() {
        let hub = Hub::default();
        let watch = hub.watch(&id("s"));
        let reader = watch.stream().lane(Arc::new(LETTERS)).reader();
        watch.stream().reconfigure(&StreamOptions { gop_cache: false, ..as_published() });
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(Keyframe, 0, "k"), (Video, 40, "v")]);
        assert_eq!(joined(&reader), pair("", "K0=k v40=v "));
    }
}

/// Metadata with one property, or none that means anything. Its numbers happen to be text, too.
fn script(property: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let mut object = Object::new().with("width", 2.0);
    for (name, value) in property {
        object.set(name, value);
    }
    let mut out = vec![];
    Value::from("onMetaData").write(&mut out);
    Value::from(object).write(&mut out);
    String::from_utf8(out).unwrap()
}

mod wake {
    use super::*;

    /// Whether the reader has news, without waiting.
    fn has_news(reader: &Reader) -> bool {
        pin!(reader.moved()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn frames_are_announced_by_wake_alone_and_once() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        assert!(!has_news(&reader));
        push(&mut publisher, &[(Keyframe, 0, "k"), (Video, 1, "x")]);
        assert!(!has_news(&reader), "not before the publisher says so");
        publisher.wake();
        publisher.wake();
        assert!(has_news(&reader));
        assert!(!has_news(&reader), "two calls nobody waited for are one piece of news");
    }

    #[test]
    fn every_reader_of_every_lane_is_woken() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let other = Arc::new(Letters { variant: 1, ..LETTERS });
        let readers =
            [lane(&hub).reader(), lane(&hub).reader(), hub.watch(&id("s")).stream().lane(other).reader()];
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        publisher.wake();
        assert!(readers.iter().all(has_news));
    }

    #[test]
    fn a_reader_made_between_push_and_wake_is_woken() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        let reader = lane(&hub).reader();
        publisher.wake();
        assert!(has_news(&reader));
    }

    #[test]
    fn a_reader_that_waits_is_woken_and_then_finds_news() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        let mut moved = pin!(reader.moved());
        assert_eq!(moved.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        assert_eq!(bell.0.load(Ordering::Relaxed), 0);
        publisher.wake();
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert_eq!(moved.poll(&mut Context::from_waker(&waker)), Poll::Ready(()));
    }

    #[test]
    fn news_survives_a_wait_that_was_given_up() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        {
            let mut moved = pin!(reader.moved());
            let _ = moved.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            publisher.wake();
        }
        assert!(has_news(&reader));
    }

    #[test]
    fn the_end_of_a_publish_is_news() {
        let hub = Hub::default();
        let publisher = publish(&hub, as_published());
        let reader = lane(&hub).reader();
        drop(publisher);
        assert!(has_news(&reader));
    }

    #[test]
    fn a_format_says_how_its_viewers_end() {
        let hub = Hub::default();
        let closing = Letters { variant: 1, finish: Some("bye") };
        let closing = hub.watch(&id("s")).stream().lane(Arc::new(closing));
        assert_eq!(closing.format().finish(), Some(Bytes::from_static(b"bye")));
        assert_eq!(lane(&hub).format().finish(), None);
    }

    #[test]
    fn who_waits_in_vain_reaches_an_end() {
        let hub = Hub::default();
        let watch = hub.watch(&id("s"));
        let reader = watch.stream().lane(Arc::new(Letters { variant: 1, finish: Some("bye") })).reader();
        let since = reader.next();
        assert!(reader.join(None).is_none());
        watch.stream().dismiss();
        assert!(has_news(&reader));
        let (join, _) = reader.join(Some(since)).unwrap();
        let mut out = vec![];
        reader.flush(join.next, None, &mut out).unwrap();
        assert!(out.len() == 1 && out[0].end, "{out:?}");
        // Who comes later waits, and is served; somebody who publishes is not disturbed.
        assert!(reader.join(None).is_none());
        let since = reader.next();
        let mut publisher = publish(&hub, as_published());
        push(&mut publisher, &[(Keyframe, 0, "k")]);
        watch.stream().dismiss();
        assert_eq!(flushed(&reader, reader.join(Some(since)).unwrap().0.next), "K0=k ");
    }
}

mod anything {
    use super::*;

    /// How far a reader may fall behind, in milliseconds: little, so that some do.
    const QUEUE: Millis = 500;

    #[derive(Debug, Clone)]
    enum Op {
        Push {
            kind: FrameKind,
            step: u32,
            size: usize,
        },
        Wake,
        /// The publisher leaves and another comes at once.
        Republish {
            gop_cache: bool,
        },
        /// A newcomer in a shard of its own.
        Join,
        /// A viewer reads all there is, at a common tick or not.
        Flush {
            viewer: usize,
            tick: Option<u64>,
        },
        /// A viewer reads at most so many batches.
        Read {
            viewer: usize,
            most: usize,
        },
        Leave {
            viewer: usize,
        },
        /// A lane is made late, and compared.
        Compare,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let kind = prop_oneof![
            1 => Just(Metadata), 1 => Just(AudioHeader), 1 => Just(VideoHeader),
            2 => Just(Keyframe), 8 => Just(Video), 8 => Just(Audio),
        ];
        let size = prop_oneof![8 => 0..50usize, 1 => 0..40_000usize];
        let viewer = 0..8usize;
        let op = prop_oneof![
            12 => (kind, 0..60u32, size).prop_map(|(kind, step, size)| Op::Push { kind, step, size }),
            2 => Just(Op::Wake),
            1 => any::<bool>().prop_map(|gop_cache| Op::Republish { gop_cache }),
            2 => Just(Op::Join),
            5 => (viewer.clone(), prop::option::of(0..4u64)).prop_map(|(viewer, tick)| Op::Flush { viewer, tick }),
            2 => (viewer.clone(), 0..4usize).prop_map(|(viewer, most)| Op::Read { viewer, most }),
            1 => viewer.prop_map(|viewer| Op::Leave { viewer }),
            1 => Just(Op::Compare),
        ];
        prop::collection::vec(op, 1..150)
    }

    /// What the lane should hold, told in the plainest way.
    struct Model {
        /// All frames ever written, one after the other.
        written: String,
        gop: Gop,
        gop_cache: bool,
        /// Where in `written` a newcomer starts who may start at the running group of pictures.
        start: Option<usize>,
        /// The headers in force: metadata, audio, video.
        headers: [Option<String>; 3],
        /// What a newcomer gets before `start`.
        headers_at_start: String,
        newest: Millis,
        /// Where in `written` each frame ends, and its time.
        times: Vec<(usize, Millis)>,
        /// The same for the ends of publishes.
        ends: Vec<(usize, Millis)>,
    }

    impl Model {
        fn new() -> Self {
            Self {
                written: String::new(),
                gop: Gop::default(),
                gop_cache: true,
                start: None,
                headers: Default::default(),
                headers_at_start: String::new(),
                newest: 0,
                times: vec![],
                ends: vec![],
            }
        }

        fn push(&mut self, kind: FrameKind, dts: Millis, payload: &str) {
            match kind {
                Metadata => self.headers[0] = Some(payload.to_owned()),
                AudioHeader => self.headers[1] = Some(payload.to_owned()),
                VideoHeader => self.headers[2] = Some(payload.to_owned()),
                _ => {}
            }
            let frame = Frame { kind, dts, payload: Bytes::copy_from_slice(payload.as_bytes()) };
            match self.gop.push(&frame, false, 60) {
                Place::Start => {
                    self.start = Some(self.written.len());
                    self.headers_at_start = self.headers_at(dts);
                }
                Place::Lost => self.start = None,
                Place::Inside => {}
            }
            self.newest = dts;
            self.written.push_str(&format!("{}{dts}={payload} ", letter(kind)));
            self.times.push((self.written.len(), dts));
        }

        fn headers_at(&self, dts: Millis) -> String {
            let headers = ['M', 'A', 'V'].into_iter().zip(&self.headers);
            headers.filter_map(|(l, p)| p.as_ref().map(|p| format!("{l}{dts}={p} "))).collect()
        }

        fn restart(&mut self, gop_cache: bool) {
            self.ends.push((self.written.len(), self.newest));
            self.gop = Gop::default();
            self.gop_cache = gop_cache;
            self.start = None;
            self.headers = Default::default();
        }

        /// Headers, and the place in `written` from which a newcomer reads.
        fn join(&self) -> Option<(String, usize)> {
            match self.start.filter(|_| self.gop_cache) {
                Some(start) => Some((self.headers_at_start.clone(), start)),
                None => self.gop.begun().then(|| (self.headers_at(self.newest), self.written.len())),
            }
        }

        /// Whether what comes next for a reader who has read up to `place` is older than the queue.
        fn is_late(&self, place: usize) -> bool {
            let late = |&(_, time): &(usize, Millis)| time < self.newest - QUEUE;
            let index = self.times.partition_point(|(end, _)| *end <= place);
            self.times.get(index).is_some_and(late) || self.ends.iter().any(|end| end.0 == place && late(end))
        }
    }

    struct Viewer {
        reader: Reader,
        /// The next batch, once there was something to begin with.
        next: Option<u64>,
        /// Where in the model's `written` it has read from and to.
        read: std::ops::Range<usize>,
    }

    impl Viewer {
        fn join(&mut self, model: &Model) -> Result<(), TestCaseError> {
            if self.next.is_none() {
                let join = self.reader.join(None);
                let expected = model.join();
                prop_assert_eq!(join.is_some(), expected.is_some());
                if let (Some((join, _)), Some((headers, start))) = (join, expected) {
                    prop_assert_eq!(&join.headers, headers.as_bytes());
                    self.next = Some(join.next);
                    self.read = start..start;
                }
            }
            self.reader.set_floor(self.next.unwrap_or(u64::MAX));
            Ok(())
        }

        /// Takes what was read, which must be what was written behind what it has.
        fn take(
            &mut self,
            from: u64,
            next: u64,
            batches: &[Batch],
            model: &Model,
        ) -> Result<(), TestCaseError> {
            prop_assert_eq!(next, from + batches.len() as u64);
            let text = text(batches);
            let rest = &model.written[self.read.end..];
            prop_assert!(rest.starts_with(&text), "{:?} is not next in {:?}", text, rest);
            prop_assert!(batches.iter().all(|batch| batch.end == batch.bytes.is_empty()));
            self.read.end += text.len();
            self.next = Some(next);
            self.reader.set_floor(next);
            Ok(())
        }

        /// It was told that it lagged: rightly, and it finds its way on.
        fn lagged(&mut self, from: u64, model: &Model) -> Result<(), TestCaseError> {
            prop_assert!(model.is_late(self.read.end));
            let join = self.reader.rejoin(from);
            let mut out = vec![];
            prop_assert_eq!(self.reader.read(join.next, usize::MAX, &mut out).is_ok(), true);
            prop_assert!(join.next >= from);
            // Where it goes on: everything sealed by now lies before the end of what was written.
            self.reader.flush(join.next, None, &mut vec![]).unwrap();
            out.clear();
            let next = self.reader.read(join.next, usize::MAX, &mut out).unwrap();
            let text = text(&out);
            prop_assert!(model.written.ends_with(&text));
            let start = model.written.len() - text.len();
            prop_assert!(start >= self.read.end, "nothing comes twice");
            prop_assert!(Some(start) == model.start || text.is_empty(), "at a keyframe or live");
            self.read = start..model.written.len();
            self.next = Some(next);
            self.reader.set_floor(next);
            Ok(())
        }
    }

    /// What a lane holds when all have read everything: the running group of pictures and nothing else.
    fn holds_no_more_than_needed(lane: &Arc<Lane>, model: &Model) -> Result<(), TestCaseError> {
        let reader = lane.reader();
        reader.set_floor(u64::MAX);
        let _ = reader.flush(reader.next(), None, &mut vec![]);
        let held = text(&readable(&reader));
        prop_assert_eq!(held, &model.written[model.start.unwrap_or(model.written.len())..]);
        Ok(())
    }

    fn run(ops: Vec<Op>) -> Result<(), TestCaseError> {
        let options = |gop_cache| StreamOptions {
            gop_cache,
            gop_cache_max_frames: 60,
            queue_length: QUEUE,
            ..as_published()
        };
        let hub = Hub::default();
        let lane = lane(&hub);
        let mut publisher = Some(publish(&hub, options(true)));
        let mut model = Model::new();
        let mut viewers: Vec<Viewer> = vec![];
        let mut clock = 0u32;
        for (serial, op) in ops.into_iter().enumerate() {
            match op {
                Op::Push { kind, step, size } => {
                    clock += step;
                    let payload = format!("{serial}{}", "-".repeat(size));
                    let publisher = publisher.as_mut().unwrap();
                    publisher.push(kind, clock, Bytes::copy_from_slice(payload.as_bytes()));
                    // Metadata has no time of its own.
                    let dts = if kind == Metadata { model.newest } else { clock.into() };
                    model.push(kind, dts, &payload);
                }
                Op::Wake => publisher.as_mut().unwrap().wake(),
                Op::Republish { gop_cache } => {
                    drop(publisher.take());
                    publisher = Some(self::publish(&hub, options(gop_cache)));
                    model.restart(gop_cache);
                }
                Op::Join => viewers.push(Viewer { reader: lane.reader(), next: None, read: 0..0 }),
                Op::Flush { viewer, tick } => {
                    let Some(viewer) = viewers.get_mut(viewer) else { continue };
                    viewer.join(&model)?;
                    let Some(from) = viewer.next else { continue };
                    let mut out = vec![];
                    match viewer.reader.flush(from, tick, &mut out) {
                        Ok(next) => viewer.take(from, next, &out, &model)?,
                        Err(Lagged) => viewer.lagged(from, &model)?,
                    }
                    if tick.is_none() {
                        prop_assert_eq!(
                            viewer.read.end,
                            model.written.len(),
                            "a flush leaves nothing behind"
                        );
                    }
                }
                Op::Read { viewer, most } => {
                    let Some(viewer) = viewers.get_mut(viewer) else { continue };
                    viewer.join(&model)?;
                    let Some(from) = viewer.next else { continue };
                    let mut out = vec![];
                    match viewer.reader.read(from, most, &mut out) {
                        Ok(next) => {
                            prop_assert!(out.len() <= most);
                            viewer.take(from, next, &out, &model)?;
                        }
                        Err(Lagged) => viewer.lagged(from, &model)?,
                    }
                }
                Op::Leave { viewer } => {
                    if viewer < viewers.len() {
                        viewers.swap_remove(viewer);
                    }
                }
                Op::Compare => {
                    let stream = lane.stream();
                    let late = stream.lane(Arc::new(Letters { variant: 1, ..LETTERS })).reader();
                    prop_assert_eq!(joined(&late), joined(&lane.reader()));
                }
            }
        }
        for viewer in &mut viewers {
            viewer.join(&model)?;
            let Some(from) = viewer.next else { continue };
            let mut out = vec![];
            match viewer.reader.flush(from, None, &mut out) {
                Ok(next) => viewer.take(from, next, &out, &model)?,
                Err(Lagged) => viewer.lagged(from, &model)?,
            }
            prop_assert_eq!(viewer.read.end, model.written.len());
        }
        for viewer in &viewers {
            viewer.reader.set_floor(u64::MAX);
        }
        holds_no_more_than_needed(&lane, &model)?;
        drop((publisher, viewers, lane));
        prop_assert!(is_blank(&hub));
        Ok(())
    }

    proptest! {
        #[test]
        fn who_does_not_lag_sees_exactly_what_was_written(ops in ops()) {
            run(ops)?;
        }

        /// Whatever a publisher sends and however the vhost corrects it.
        #[test]
        fn no_input_panics(
            frames in prop::collection::vec((0..6usize, any::<u32>(), prop::collection::vec(any::<u8>(), 0..20)), 0..200),
            jitter in prop::sample::select(vec![TimeJitter::Full, TimeJitter::Zero, TimeJitter::Off]),
            (mix_correct, gop_cache, atc_auto, reduce_sequence_header) in any::<(bool, bool, bool, bool)>(),
            queue_length in prop_oneof![Just(0), Just(Millis::MAX / 2), 0..100_000i64],
        ) {
            let kinds = [Metadata, AudioHeader, Audio, VideoHeader, Keyframe, Video];
            let hub = Hub::default();
            let options = StreamOptions {
                jitter, mix_correct, gop_cache, atc_auto, reduce_sequence_header, queue_length,
                ..StreamOptions::default()
            };
            let mut publisher = publish(&hub, options);
            let reader = hub.watch(&id("s")).stream().lane(Arc::new(OnlyPayloads)).reader();
            let (mut next, mut got, mut sent, mut lagged) = (0, 0, 0, false);
            let mut read = || {
                let mut out = vec![];
                next = reader.flush(next, None, &mut out).unwrap_or_else(|Lagged| {
                    lagged = true;
                    reader.rejoin(next).next
                });
                got += out.iter().map(|batch| batch.bytes.len()).sum::<usize>();
                reader.join(None);
            };
            for (kind, time, payload) in frames {
                sent += payload.len();
                publisher.push(kinds[kind], time, payload.into());
                read();
            }
            drop(publisher);
            read();
            prop_assert!(!lagged || mix_correct, "who reads after each frame lags only if several come at once");
            prop_assert!(got == sent || lagged || reduce_sequence_header && got < sent, "{} of {}", got, sent);
        }
    }

    /// Payloads and nothing else.
    #[derive(Debug, Clone, Copy)]
    struct OnlyPayloads;

    impl WireFormat for OnlyPayloads {
        fn key(&self) -> FormatKey {
            FormatKey { name: "payloads", variant: 0 }
        }

        fn writer(&self) -> Box<dyn Writer> {
            Box::new(*self)
        }
    }

    impl Writer for OnlyPayloads {
        fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
            out.put_slice(&frame.payload);
            Ok(())
        }
    }
}

#[test]
fn who_waited_gets_a_publish_from_its_first_frame_even_one_that_is_over() {
    let hub = Hub::default();
    let reader = lane(&hub).reader();
    let since = reader.next();
    assert!(reader.join(None).is_none());
    let mut publisher = publish(&hub, as_published());
    push(&mut publisher, &[(Keyframe, 0, "1"), (Video, 40, ""), (Keyframe, 80, "2")]);
    assert_eq!(joined(&reader).unwrap().1, "K80=2 ", "who did not wait");
    drop(publisher);
    let (join, tracks) = reader.join(Some(since)).unwrap();
    assert!(tracks.video);
    assert_eq!(flushed(&reader, join.next), "K0=1 v40= K80=2 ");
    // Who waits only now is not given what is over.
    assert!(reader.join(Some(reader.next())).is_none() && reader.join(None).is_none());
}

mod formats_with_state {
    use super::*;

    /// Counts the frames it has written, and repeats the last header in the log wherever somebody may start.
    #[derive(Debug, Clone, Default)]
    struct Counting {
        count: u32,
        header: String,
    }

    impl WireFormat for Counting {
        fn key(&self) -> FormatKey {
            FormatKey { name: "counting", variant: 0 }
        }

        fn writer(&self) -> Box<dyn Writer> {
            Box::new(self.clone())
        }

        fn finish(&self) -> Option<Bytes> {
            Some(Bytes::new())
        }
    }

    impl Writer for Counting {
        fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
            if frame.kind == VideoHeader {
                self.header = str::from_utf8(&frame.payload).unwrap().to_owned();
            } else if !frame.kind.is_header() {
                out.put_slice(format!("{}{} ", letter(frame.kind), self.count).as_bytes());
                self.count += 1;
            }
            Ok(())
        }

        fn open(&mut self, log: &mut BytesMut) -> bool {
            log.put_slice(format!("<{}> ", self.header).as_bytes());
            true
        }

        fn headers(&mut self, _: &mut dyn Iterator<Item = Frame>, out: &mut BytesMut) {
            out.put_slice(format!("({}) ", self.header).as_bytes());
        }
    }

    fn counting(hub: &Hub) -> Reader {
        hub.watch(&id("s")).stream().lane(Arc::new(Counting::default())).reader()
    }

    #[test]
    fn counters_run_on_for_all_and_what_newcomers_need_stands_in_the_log() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let early = counting(&hub);
        push(&mut publisher, &[(VideoHeader, 0, "h1"), (Keyframe, 0, ""), (Video, 40, "")]);
        push(&mut publisher, &[(VideoHeader, 80, "h2"), (Keyframe, 80, ""), (Video, 120, "")]);
        let (join, _) = early.join(None).unwrap();
        assert_eq!(join.headers, "");
        assert_eq!(flushed(&early, join.next), "<h2> K2 v3 ");
        assert_eq!(flushed(&early, 0), "<h1> K0 v1 <h2> K2 v3 ");
        // Made later, from the running GOP: it counts for itself, and knows the header that came before.
        drop((early, join));
        let late = counting(&hub);
        assert_eq!(joined(&late).unwrap(), (String::new(), "<h2> K0 v1 ".into()));
    }

    #[test]
    fn who_starts_between_two_frames_has_headers_of_its_own() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions { gop_cache: false, ..as_published() });
        push(&mut publisher, &[(VideoHeader, 0, "h"), (Keyframe, 0, ""), (Video, 40, "")]);
        let reader = counting(&hub);
        let (join, _) = reader.join(None).unwrap();
        assert_eq!(join.headers, "(h) ");
        push(&mut publisher, &[(Video, 80, "")]);
        assert_eq!(flushed(&reader, join.next), "v0 ");
    }

    #[test]
    fn another_publish_has_another_writer() {
        let hub = Hub::default();
        let reader = counting(&hub);
        for _ in 0..2 {
            let mut publisher = publish(&hub, as_published());
            let from = reader.next();
            push(&mut publisher, &[(VideoHeader, 0, "h"), (Keyframe, 0, "")]);
            assert_eq!(flushed(&reader, from), "<h> K0 ");
        }
    }
}

mod formats_of_sound {
    use super::*;

    /// Sound and nothing else; after an audio header "none" there is nothing.
    #[derive(Debug, Clone, Copy)]
    struct Sounds {
        none: bool,
    }

    const SOUNDS: Sounds = Sounds { none: false };

    impl WireFormat for Sounds {
        fn key(&self) -> FormatKey {
            FormatKey { name: "sounds", variant: 0 }
        }

        fn writer(&self) -> Box<dyn Writer> {
            Box::new(*self)
        }

        fn finish(&self) -> Option<Bytes> {
            Some(Bytes::new())
        }

        fn sound_only(&self) -> bool {
            true
        }
    }

    impl Writer for Sounds {
        fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
            if frame.kind == AudioHeader {
                self.none = frame.payload == "none";
            } else if frame.kind == Audio {
                out.put_slice(format!("{} ", frame.dts).as_bytes());
            }
            if self.none { Err(Barren) } else { Ok(()) }
        }
    }

    fn sounds(hub: &Hub) -> Arc<Lane> {
        hub.watch(&id("s")).stream().lane(Arc::new(SOUNDS))
    }

    /// A second of sound and pictures from `start` on, ten frames of each; pictures lag behind.
    fn second(publisher: &mut Publisher, start: u32) {
        for time in (start..start + 1000).step_by(100) {
            push(publisher, &[(Audio, time, "a"), (if time == start { Keyframe } else { Video }, time, "v")]);
        }
    }

    fn with_cache(seconds: Millis) -> StreamOptions {
        StreamOptions { sound_cache: seconds * 1000, ..as_published() }
    }

    fn first_and_last(reader: &Reader) -> (u32, u32) {
        let (_, frames) = joined(reader).unwrap();
        let times: Vec<u32> = frames.split_whitespace().map(|time| time.parse().unwrap()).collect();
        assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 100), "{times:?}");
        (times[0], times[times.len() - 1])
    }

    #[test]
    fn newcomers_get_the_last_seconds_the_first_of_them_too() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, with_cache(3));
        push(&mut publisher, &[(AudioHeader, 0, "aac")]);
        for start in 0..10 {
            second(&mut publisher, start * 1000);
        }
        let lane = sounds(&hub);
        assert_eq!(first_and_last(&lane.reader()), (6900, 9900));
        for start in 10..20 {
            second(&mut publisher, start * 1000);
        }
        // To within what is cut at once.
        let (first, last) = first_and_last(&lane.reader());
        assert!((16_400..=16_900).contains(&first) && last == 19_900, "{first} to {last}");
    }

    #[test]
    fn what_is_kept_is_no_more_than_that_and_is_not_lagging() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, StreamOptions { queue_length: 1000, ..with_cache(60) });
        let reader = sounds(&hub).reader();
        reader.set_floor(u64::MAX);
        for start in 0..100 {
            second(&mut publisher, start * 1000);
            let _ = reader.flush(reader.next(), None, &mut vec![]);
        }
        let (join, _) = reader.join(None).unwrap();
        let mut out = vec![];
        reader.read(join.next, usize::MAX, &mut out).unwrap();
        assert!((590..=610).contains(&text(&out).split_whitespace().count()));
        assert_eq!(reader.read(join.next.saturating_sub(3), 1, &mut out), Err(Lagged), "it is gone");
    }

    #[test]
    fn without_a_cache_newcomers_start_with_the_next_frame() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        second(&mut publisher, 0);
        let reader = sounds(&hub).reader();
        let (join, _) = reader.join(None).unwrap();
        second(&mut publisher, 1000);
        assert!(flushed(&reader, join.next).starts_with("1000 1100 "));
    }

    #[test]
    fn who_waited_misses_nothing() {
        for options in [as_published(), with_cache(3)] {
            let hub = Hub::default();
            let reader = sounds(&hub).reader();
            assert!(reader.join(None).is_none());
            let mut publisher = publish(&hub, options);
            second(&mut publisher, 500);
            let (join, _) = reader.join(Some(0)).unwrap();
            assert!(flushed(&reader, join.next).starts_with("500 600 "));
        }
    }

    #[test]
    fn sound_of_an_earlier_publish_is_not_given_to_newcomers() {
        let hub = Hub::default();
        let reader = sounds(&hub).reader();
        let mut publisher = publish(&hub, with_cache(30));
        second(&mut publisher, 0);
        drop(publisher);
        let mut publisher = publish(&hub, with_cache(30));
        second(&mut publisher, 1000);
        assert_eq!(first_and_last(&reader), (1000, 1900));
    }

    #[test]
    fn a_jump_back_is_a_new_beginning() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, with_cache(30));
        let lane = sounds(&hub);
        second(&mut publisher, 100_000);
        second(&mut publisher, 0);
        assert_eq!(first_and_last(&lane.reader()), (0, 900));
        drop(lane);
        assert_eq!(first_and_last(&sounds(&hub).reader()), (0, 900));
    }

    #[test]
    fn who_waited_for_a_stream_with_nothing_for_them_reaches_an_end_as_well() {
        for headers_only in [true, false] {
            let hub = Hub::default();
            let reader = sounds(&hub).reader();
            let since = reader.next();
            let mut publisher = publish(&hub, as_published());
            push(&mut publisher, &[(AudioHeader, 0, "none")]);
            if !headers_only {
                push(&mut publisher, &[(Audio, 0, "a"), (Audio, 10, "a")]);
            }
            let (join, _) = reader.join(Some(since)).unwrap();
            let mut out = vec![];
            reader.flush(join.next, None, &mut out).unwrap();
            assert!(out[0].end, "{out:?}");
        }
    }

    #[test]
    fn viewers_of_a_stream_with_nothing_for_them_reach_an_end() {
        let hub = Hub::default();
        let mut publisher = publish(&hub, as_published());
        let lane = sounds(&hub);
        let reader = lane.reader();
        push(&mut publisher, &[(AudioHeader, 0, "aac"), (Audio, 0, "a")]);
        let (join, _) = reader.join(Some(0)).unwrap();
        push(&mut publisher, &[(AudioHeader, 100, "none"), (Keyframe, 100, "v"), (Audio, 100, "a")]);
        let mut out = vec![];
        reader.flush(join.next, None, &mut out).unwrap();
        let ends: Vec<bool> = out.iter().map(|batch| batch.end).collect();
        assert_eq!(ends, [false, true, false]);
        assert!(lane.is_barren());

        // Newcomers too, and those of a lane that is made now.
        let (join, _) = reader.join(None).unwrap();
        out.clear();
        reader.flush(join.next, None, &mut out).unwrap();
        assert!(out.len() == 1 && out[0].end);
        drop((lane, reader));
        let late = sounds(&hub);
        assert!(late.is_barren());

        // Sound that comes back is delivered.
        push(&mut publisher, &[(AudioHeader, 200, "aac"), (Audio, 200, "a")]);
        assert!(!late.is_barren());
        let (join, _) = late.reader().join(None).unwrap();
        push(&mut publisher, &[(Audio, 300, "a")]);
        assert_eq!(flushed(&late.reader(), join.next), "300 ");
    }
}

mod taps {
    use super::*;

    const ALL: TapOptions = TapOptions { from_gop: true, max_bytes: 1000, max_time: 10_000 };

    fn publish(hub: &Hub) -> Publisher {
        let id = StreamId { vhost: "v".into(), app: "live".into(), name: "tapped".into() };
        hub.publish(&id, StreamOptions { jitter: TimeJitter::Off, ..StreamOptions::default() }).unwrap()
    }

    fn push(publisher: &mut Publisher, frames: &[(FrameKind, u32)]) {
        for (kind, at) in frames {
            publisher.push(*kind, *at, Bytes::from_static(b"0123456789"));
        }
        publisher.wake();
    }

    /// All that is in line, a word each, and whether more may come.
    fn take(tap: &mut Tap) -> (String, bool) {
        let mut all = Vec::new();
        let mut more = true;
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(open) = pin!(tap.next(&mut all)).poll(&mut context) {
            more = open;
            if !open {
                break;
            }
        }
        let words = all.iter().map(|tapped| match tapped {
            Tapped::Frame(frame) => format!("{}{}", letter(frame.kind), frame.dts),
            Tapped::Lagged { frames } => format!("-{frames}"),
        });
        (words.collect::<Vec<_>>().join(" "), more)
    }

    #[test]
    fn headers_then_the_running_gop_then_every_frame() {
        let hub = Hub::default();
        let mut publisher = publish(&hub);
        push(
            &mut publisher,
            &[(Metadata, 0), (AudioHeader, 0), (VideoHeader, 0), (Keyframe, 0), (Keyframe, 40), (Audio, 50)],
        );
        let outlet = publisher.outlet();
        let mut tap = outlet.tap(ALL).unwrap();
        let mut late = outlet.tap(TapOptions { from_gop: false, ..ALL }).unwrap();
        push(&mut publisher, &[(Video, 80)]);
        assert_eq!(take(&mut tap), ("M40 A40 V40 K40 a50 v80".into(), true));
        assert_eq!(take(&mut late), ("M50 A50 V50 v80".into(), true));
        push(&mut publisher, &[(Video, 120)]);
        drop(publisher);
        assert_eq!(take(&mut tap), ("v120".into(), false), "the last frame comes before the end");
        assert!(outlet.tap(ALL).is_none());
    }

    #[test]
    fn a_tap_belongs_to_one_publish() {
        let hub = Hub::default();
        let first = publish(&hub);
        let outlet = first.outlet();
        let mut tap = outlet.tap(ALL).unwrap();
        drop(first);
        let mut second = publish(&hub);
        push(&mut second, &[(Keyframe, 0)]);
        assert_eq!(take(&mut tap), (String::new(), false));
        assert!(outlet.tap(ALL).is_none(), "the outlet of a publish that has ended");
        assert_eq!(take(&mut second.outlet().tap(ALL).unwrap()).0, "K0");
    }

    #[test]
    fn who_falls_behind_is_told_and_goes_on_at_a_keyframe() {
        let hub = Hub::default();
        let mut publisher = publish(&hub);
        let mut tap = publisher.outlet().tap(TapOptions { max_bytes: 30, ..ALL }).unwrap();
        push(&mut publisher, &[(VideoHeader, 0), (Keyframe, 0), (Video, 40), (Video, 80), (Keyframe, 120)]);
        assert_eq!(take(&mut tap).0, "V0 K0 v40");
        push(&mut publisher, &[(Video, 160), (Keyframe, 200)]);
        assert_eq!(take(&mut tap).0, "-3 V200 K200");

        let mut tap = publisher.outlet().tap(TapOptions { max_time: 100, ..ALL }).unwrap();
        push(&mut publisher, &[(Video, 240), (Video, 280), (Video, 320)]);
        drop(publisher);
        assert_eq!(take(&mut tap), ("V200 K200 v240 v280 -1".into(), false));
    }

    #[test]
    fn for_live_viewers_the_old_makes_room_for_the_new() {
        let hub = Hub::default();
        let mut publisher = publish(&hub);
        let options = TapOptions { max_time: 100, ..ALL };
        let mut tap = publisher.outlet().live_tap(options).unwrap();
        push(&mut publisher, &[(VideoHeader, 0), (Keyframe, 0), (Video, 40), (Keyframe, 80), (Video, 120)]);
        assert_eq!(take(&mut tap).0, "-2 V80 K80 v120", "from the newest keyframe on");
        push(&mut publisher, &[(Keyframe, 160), (Video, 200), (Video, 240), (Video, 280), (Video, 320)]);
        assert_eq!(take(&mut tap).0, "", "a group that is too long alone is left out");
        push(&mut publisher, &[(Keyframe, 360), (Video, 400)]);
        assert_eq!(take(&mut tap).0, "-5 V360 K360 v400");
        // Nobody reads for long: what is in line stays new.
        for at in (440..10_000).step_by(40) {
            push(&mut publisher, &[(if at % 80 == 0 { Keyframe } else { Video }, at)]);
        }
        let (line, _) = take(&mut tap);
        assert_eq!(line, "-237 V9920 K9920 v9960");
        let mut sound =
            publisher.outlet().live_tap(TapOptions { max_time: 100, from_gop: false, ..ALL }).unwrap();
        push(&mut publisher, &[(Audio, 10_000), (Audio, 10_040), (Audio, 10_200)]);
        drop(publisher);
        assert_eq!(take(&mut sound), ("-3".into(), false));
    }

    #[test]
    fn who_takes_some_leaves_the_rest_in_line() {
        let hub = Hub::default();
        let mut publisher = publish(&hub);
        let mut tap = publisher.outlet().tap(TapOptions { max_bytes: 40, ..ALL }).unwrap();
        push(&mut publisher, &[(Keyframe, 0), (Video, 40), (Video, 80), (Video, 120)]);
        let mut some = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(pin!(tap.next_some(&mut some, 15)).poll(&mut context), Poll::Ready(true));
        assert_eq!(some.len(), 2, "until there are 15 bytes");
        push(&mut publisher, &[(Video, 160), (Video, 200)]);
        drop(publisher);
        assert_eq!(take(&mut tap), ("v80 v120 v160 v200".into(), false), "there was room again");
    }

    #[test]
    fn one_frame_fits_however_large_it_is() {
        let hub = Hub::default();
        let mut publisher = publish(&hub);
        let mut tap = publisher.outlet().tap(TapOptions { max_bytes: 1, ..ALL }).unwrap();
        push(&mut publisher, &[(Keyframe, 0)]);
        assert_eq!(take(&mut tap).0, "K0");
    }
}
