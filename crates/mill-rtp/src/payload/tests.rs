use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::sdp::Description;

/// A track from the lines of its description.
fn open(kind: &str, map: &str, parameters: &str) -> Result<Depacketizer, Unsupported> {
    let text = format!("m={kind} 0 RTP/AVP 96\na=rtpmap:96 {map}\na=fmtp:96 {parameters}\n");
    Depacketizer::new(&Description::parse(text.as_bytes()).unwrap().media[0])
}

fn packet(timestamp: u32, marker: bool, payload: &[u8]) -> Packet {
    let payload = Bytes::copy_from_slice(payload);
    Packet { marker, payload_type: 96, sequence: 0, timestamp, ssrc: 0, payload }
}

/// What comes out, pictures with `|` between their units.
fn units(track: &mut Depacketizer) -> Vec<(u32, String)> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let unit = |unit: Unit| match unit.content {
        Content::Sound(frame) => (unit.timestamp, text(&frame)),
        Content::Picture(units) => {
            (unit.timestamp, units.iter().map(|unit| text(unit)).collect::<Vec<_>>().join("|"))
        }
    };
    std::iter::from_fn(|| track.pop()).map(unit).collect()
}

#[track_caller]
fn check(track: &mut Depacketizer, packets: &[(u32, bool, &[u8])], expected: &[(u32, &str)]) {
    for &(timestamp, marker, payload) in packets {
        track.push(&packet(timestamp, marker, payload), false);
    }
    let expected: Vec<_> = expected.iter().map(|&(time, text)| (time, text.to_owned())).collect();
    assert_eq!(units(track), expected);
}

/// Slices whose first bit behind the header says that a picture begins.
const KEY: &[u8] = b"\x65\x88key";
const INTER: &[u8] = b"\x41\x9aint";

#[test]
fn avc_single_units_aggregates_and_fragments() {
    let mut track = open("video", "H264/90000", "packetization-mode=1").unwrap();
    check(
        &mut track,
        &[
            (10, false, b"\x78\0\x02\x67s\0\x02\x68p"), // STAP-A: SPS, PPS
            (10, false, b"\x7c\x85\x88one"),            // FU-A of an IDR slice: start
            (10, false, b"\x7c\x05two"),
            (10, true, b"\x7c\x45end"),
            (20, true, INTER),
        ],
        &[(10, "gs|hp|e\\x88onetwoend"), (20, "A\\x9aint")],
    );
}

#[test]
fn units_that_wait_do_not_keep_their_packets() {
    let mut track = open("video", "H264/90000", "").unwrap();
    for payload in [KEY, b"\x78\0\x02\x67s\0\0\0\0\0\0\0\0"] {
        let packet = packet(1, false, payload);
        track.push(&packet, false);
        assert!(packet.payload.is_unique());
    }
}

#[test]
fn avc_units_without_marks_end_with_their_time() {
    let mut track = open("video", "H264/90000", "").unwrap();
    check(
        &mut track,
        &[(1, false, KEY), (1, false, b"\x65\x08two"), (2, false, INTER)],
        &[(1, "e\\x88key|e\\x08two")],
    );
}

#[test]
fn avc_parameter_sets_wait_for_their_picture() {
    let mut track = open("video", "H264/90000", "").unwrap();
    // Marked, each in a packet of its own, and earlier than the picture; with a start code before one.
    let packets: &[(u32, bool, &[u8])] =
        &[(1, true, b"\0\0\0\x01\x67s"), (1, true, b"\x68p"), (1, true, b"\x06sei"), (5, true, KEY)];
    check(&mut track, packets, &[(5, "gs|hp|e\\x88key")]);
}

#[test]
fn avc_parameter_sets_of_the_description() {
    let sets = |parameters| match open("video", "H264/90000", parameters).unwrap().coding() {
        Coding::Video(Family::Avc, sets) => sets.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(sets("sprop-parameter-sets=Z0IAHw==,aM48gA=="), [&b"\x67\x42\0\x1f"[..], b"\x68\xce\x3c\x80"]);
    assert_eq!(
        sets("sprop-parameter-sets=AAAAAWdCAB8= , aM48gA"),
        [&b"\x67\x42\0\x1f"[..], b"\x68\xce\x3c\x80"]
    );
    assert!(sets("sprop-parameter-sets=*,").is_empty());
    assert!(sets("packetization-mode=1").is_empty());
    assert!(open("video", "H264/90000", "packetization-mode=2").is_err());
}

#[test]
fn after_a_loss_pictures_begin_with_a_keyframe() {
    let mut track = open("video", "H264/90000", "").unwrap();
    let mut feed = |packets: &[(u32, bool, &[u8], bool)]| {
        for &(timestamp, marker, payload, after_loss) in packets {
            track.push(&packet(timestamp, marker, payload), after_loss);
        }
        (units(&mut track).iter().map(|(time, _)| *time).collect::<Vec<_>>(), track.skipped())
    };
    assert_eq!(
        feed(&[(1, true, INTER, true), (2, true, KEY, false), (3, true, INTER, false)]),
        (vec![2, 3], 1)
    );
    // The end of 4 is missing, and what comes next depends on it.
    assert_eq!(
        feed(&[(4, false, INTER, false), (5, true, INTER, true), (6, true, KEY, false)]),
        (vec![6], 3)
    );
    // The first slice of a keyframe is missing; the next one is whole, although nobody knows what came before.
    assert_eq!(feed(&[(7, true, b"\x65\x08two", true), (8, true, KEY, false)]), (vec![8], 4));
    assert_eq!(feed(&[(9, true, KEY, true)]), (vec![9], 4));
    // A middle piece is missing.
    let fragments = [
        (10, false, &b"\x7c\x85\x88one"[..], false),
        (10, true, &b"\x7c\x45end"[..], true),
        (11, true, INTER, false),
        (12, true, KEY, false),
    ];
    assert_eq!(feed(&fragments), (vec![12], 6));
}

#[test]
fn a_stream_without_keyframes_goes_on_all_the_same() {
    let mut track = open("video", "H264/90000", "").unwrap();
    let times: Vec<u32> = (0..13).map(|second| second * 90_000).collect();
    for &timestamp in &times {
        track.push(&packet(timestamp, true, INTER), timestamp == 0);
    }
    let seen: Vec<_> = units(&mut track).iter().map(|(time, _)| *time).collect();
    assert_eq!(seen, times[10..]);
}

#[test]
fn hevc_single_units_aggregates_and_fragments() {
    let mut track = open("video", "H265/90000", "sprop-vps=QAEM; sprop-sps=QgEB; sprop-pps=RAHB").unwrap();
    let Coding::Video(Family::Hevc, sets) = track.coding() else { panic!() };
    assert_eq!(sets[..], [&b"\x40\x01\x0c"[..], b"\x42\x01\x01", b"\x44\x01\xc1"]);
    check(
        &mut track,
        &[
            (10, false, b"\x60\x01\0\x03\x40\x01v\0\x03\x42\x01s\0\x03\x44\x01p"), // AP
            (10, false, b"\x62\x01\x93\xafone"),                                   // FU of an IDR slice
            (10, true, b"\x62\x01\x53end"),
            (20, true, b"\x02\x01\xd0int"),
        ],
        &[(10, "@\\x01v|B\\x01s|D\\x01p|&\\x01\\xafoneend"), (20, "\\x02\\x01\\xd0int")],
    );
    assert!(open("video", "H265/90000", "sprop-max-don-diff=2").is_err());
}

#[test]
fn aac_frames_and_fragments() {
    let parameters = "mode=AAC-hbr; sizelength=13; indexlength=3; indexdeltalength=3; config=1190";
    let mut track = open("audio", "MPEG4-GENERIC/48000/2", parameters).unwrap();
    assert_eq!(*track.coding(), Coding::Aac(Bytes::from_static(b"\x11\x90")));
    check(&mut track, &[(0, true, b"\0\x20\0\x10\0\x18abcde")], &[(0, "ab"), (1024, "cde")]);
    check(&mut track, &[(5, false, b"\0\x10\0\x30abc"), (5, true, b"\0\x10\0\x30def")], &[(5, "abcdef")]);
    check(
        &mut track,
        &[(6, true, b"\0\x20\0\x10\0\x18abcd"), (7, true, b"\0"), (8, true, b"")],
        &[(6, "ab")],
    );
    // A piece is missing.
    track.push(&packet(9, false, b"\0\x10\0\x30abc"), false);
    track.push(&packet(10, true, b"\0\x10\0\x30def"), true);
    assert_eq!(units(&mut track), []);
}

#[test]
fn aac_of_other_layouts() {
    let mut low = open(
        "audio",
        "mpeg4-generic/8000",
        "mode=AAC-lbr;sizelength=6;indexlength=2;indexdeltalength=2;config=1588",
    )
    .unwrap();
    check(&mut low, &[(0, true, b"\0\x10\x08\x0cabcde")], &[(0, "ab"), (1024, "cde")]);
    let mut all = open(
        "audio",
        "mpeg4-generic/44100/2",
        "sizelength=8;indexlength=0;ctsdeltalength=4;dtsdeltalength=4;randomaccessindication=1;streamstateindication=2;\
         auxiliarydatasizelength=8;config=1210",
    )
    .unwrap();
    // Size 2, cts flag and delta, no dts, random access, state; then eight bits of other data.
    check(&mut all, &[(0, true, b"\0\x11\x02\xac\0\x08xab")], &[(0, "ab")]);
    let mut constant = open("audio", "mpeg4-generic/44100/2", "constantsize=2;config=1210").unwrap();
    check(&mut constant, &[(0, true, b"abcd")], &[(0, "ab"), (1024, "cd")]);
}

#[test]
fn aac_without_a_configuration_and_with_adts() {
    let mut track = open("audio", "MPEG4-GENERIC/44100/2", "").unwrap();
    assert_eq!(*track.coding(), Coding::Aac(Bytes::from_static(b"\x12\x10")));
    let adts = b"\xff\xf1\x50\x80\x01\x3f\xfcab";
    check(&mut track, &[(0, true, &[&b"\0\x10\0\x48"[..], adts].concat())], &[(0, "ab")]);
    assert!(open("audio", "MPEG4-GENERIC/12345/2", "").is_err());
    assert!(open("audio", "MPEG4-GENERIC/16000", "mode=CELP-vbr").is_err());
}

#[test]
fn latm() {
    let mut track = open("audio", "MP4A-LATM/48000/2", "cpresent=0; config=400023203fc0").unwrap();
    assert_eq!(*track.coding(), Coding::Aac(Bytes::from_static(b"\x11\x90")));
    check(
        &mut track,
        &[(0, true, b"\x03abc"), (1024, false, b"\x04a"), (1024, true, b"bcd")],
        &[(0, "abc"), (1024, "abcd")],
    );
    check(&mut track, &[(0, true, b"\x09abc")], &[]);
    assert!(
        open("audio", "MP4A-LATM/48000/2", "config=400023203fc0").is_err(),
        "cpresent is 1 unless it says so"
    );
    assert!(open("audio", "MP4A-LATM/48000/2", "cpresent=0; config=ff").is_err());
}

#[test]
fn sound_that_comes_as_it_is() {
    let mut track = open("audio", "PCMA/8000", "").unwrap();
    assert_eq!(*track.coding(), Coding::G711(7));
    check(&mut track, &[(0, true, b"alaw"), (4, false, b"")], &[(0, "alaw")]);
    assert_eq!(*open("audio", "pcmu/8000/1", "").unwrap().coding(), Coding::G711(8));
    assert_eq!(*open("audio", "opus/48000/2", "sprop-stereo=1").unwrap().coding(), Coding::Opus(2));
    for (map, why) in [
        ("PCMU/16000", "G.711: FLV has it at 8 kHz with one channel only"),
        ("G726-32/8000", "G726-32 is not carried"),
    ] {
        assert_eq!(open("audio", map, "").unwrap_err().to_string(), why);
    }
    assert_eq!(open("video", "", "").unwrap_err().to_string(), "payload type 96 is not carried");
}

#[test]
fn mp3_frames_and_fragments() {
    // MPEG 1, layer III, 32 kbit/s, 48 kHz: 96 bytes, 24 ms.
    let frame = [&b"\xff\xfb\x14\xc0"[..], &[b'x'; 92]].concat();
    let mut track = open("audio", "MPA/90000", "").unwrap();
    track.push(&packet(0, true, &[b"\0\0\0\0", &frame[..], &frame].concat()), false);
    track.push(&packet(4320, false, &[b"\0\0\0\0", &frame[..50]].concat()), false);
    track.push(&packet(4320, true, &[b"\0\0\0\x32", &frame[50..]].concat()), false);
    let found = units(&mut track);
    assert_eq!(found.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [0, 2160, 4320]);
    assert!(found.iter().all(|(_, text)| *text == found[0].1));
}

/// Formats with everything switched on.
fn tracks() -> Vec<Depacketizer> {
    let aac = "sizelength=13;indexlength=3;indexdeltalength=3;config=1210";
    let odd = "sizelength=5;ctsdeltalength=7;dtsdeltalength=3;randomaccessindication=1;auxiliarydatasizelength=3;config=1210";
    [
        ("video", "H264/90000", ""),
        ("video", "H265/90000", ""),
        ("audio", "MPEG4-GENERIC/44100/2", aac),
        ("audio", "MPEG4-GENERIC/44100/2", odd),
        ("audio", "MPEG4-GENERIC/44100/2", "constantsize=3;config=1210"),
        ("audio", "MP4A-LATM/48000/2", "cpresent=0; config=400023203fc0"),
        ("audio", "MPA/90000", ""),
        ("audio", "opus/48000/2", ""),
    ]
    .map(|(kind, map, parameters)| open(kind, map, parameters).unwrap())
    .into()
}

#[test]
fn access_units_are_bounded() {
    let mut track = open("video", "H264/90000", "").unwrap();
    track.push(&packet(0, false, &[b"\x7c\x85", &[0xff; 1000][..]].concat()), false);
    for _ in 0..MAX_UNIT / 1000 + 10 {
        track.push(&packet(0, false, &[b"\x7c\x05", &[0xff; 1000][..]].concat()), false);
    }
    track.push(&packet(0, true, b"\x7c\x45end"), false);
    assert_eq!(units(&mut track), []);
    for _ in 0..MAX_NAL_UNITS + 10 {
        track.push(&packet(1, false, KEY), false);
    }
    track.push(&packet(2, true, KEY), false);
    assert_eq!(units(&mut track).len(), 1, "only the second picture");
}

proptest! {
    #[test]
    fn anything_ends(
        packets in proptest::collection::vec(
            (0u32..4, any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
        heads in proptest::collection::vec(proptest::sample::select(vec![0x65u8, 0x67, 0x78, 0x7c, 0x62, 0x60, 0x26, 0]), 60),
    ) {
        for mut track in tracks() {
            for ((timestamp, marker, lost, payload), head) in packets.iter().zip(&heads) {
                let payload = [&[*head], &payload[..]].concat();
                track.push(&packet(*timestamp, *marker, &payload), *lost);
                while let Some(unit) = track.pop() {
                    match unit.content {
                        Content::Sound(frame) => prop_assert!((1..=MAX_SOUND).contains(&frame.len())),
                        Content::Picture(units) => prop_assert!(!units.is_empty() && units.iter().all(|unit| !unit.is_empty())),
                    }
                }
            }
        }
    }

    #[test]
    fn units_come_out_as_they_were_cut(
        units in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..400), 1..6), cut in 1usize..100,
    ) {
        // Each access unit is one IDR slice, in pieces.
        let mut track = open("video", "H264/90000", "").unwrap();
        for (time, body) in units.iter().enumerate() {
            let pieces: Vec<_> = body.chunks(cut).collect();
            for (at, piece) in pieces.iter().enumerate() {
                let (starts, ends) = (at == 0, at + 1 == pieces.len());
                let mut payload = BytesMut::new();
                payload.put_slice(&[0x7c, 5 | u8::from(starts) << 7 | u8::from(ends) << 6]);
                payload.put_slice(piece);
                track.push(&packet(time as u32, ends, &payload), false);
            }
        }
        for body in units {
            let Some(Unit { content: Content::Picture(found), .. }) = track.pop() else { panic!() };
            prop_assert_eq!(found.concat(), [&[0x65], &body[..]].concat());
        }
    }
}
