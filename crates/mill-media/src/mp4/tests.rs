use bytes::Bytes;
use proptest::prelude::*;

use crate::frame::{Frame, FrameKind, Millis};
use crate::mp4::classic::{Error, Scan};
use crate::mp4::fragment::{Fragmenter, init_segment};
use crate::mp4::track::{Media, Sample, Source, Track, Unsupported};

fn frame(kind: FrameKind, payload: &[u8]) -> Frame {
    Frame { kind, dts: 0, payload: Bytes::copy_from_slice(payload) }
}

/// As ffmpeg sends it: AAC-LC, 44.1 kHz, stereo.
fn aac() -> Source {
    Source::new(&frame(FrameKind::AudioHeader, b"\xaf\x00\x12\x10")).unwrap().unwrap()
}

/// A record with one SPS (High, 768x320) and one PPS.
const AVC_HEADER: &[u8] =
    b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x1a\x67\x64\0\x1f\xac\xd9\x40\x50\x05\xbb\x01\
    \x10\0\0\x03\0\x10\0\0\x03\x03\xc0\xf1\x83\x19\x60\x01\0\x06\x68\xeb\xe3\xcb\x22\xc0";

fn avc() -> Source {
    Source::new(&frame(FrameKind::VideoHeader, AVC_HEADER)).unwrap().unwrap()
}

fn picture(kind: FrameKind, cts: u8, nal: &[u8]) -> Frame {
    frame(kind, &[&[0x17, 1, 0, 0, cts][..], nal].concat())
}

fn sample(dts: i64, cts: i32, key: bool, data: &'static [u8]) -> Sample {
    Sample { dts, cts, duration: None, key, data: Bytes::from_static(data) }
}

fn scan(file: &[u8]) -> Scan {
    let mut scan = Scan::new(file.len() as u64);
    while let Some(wanted) = scan.wants() {
        scan.give(&file[wanted.start as usize..wanted.end as usize]);
    }
    scan
}

#[test]
fn a_fragment_byte_by_byte() {
    let video = Track::new(Media::Video { width: 16, height: 16 }, 1000, b"\0\0\0\x08avc1".to_vec());
    let audio = Track::new(Media::Audio, 48_000, b"\0\0\0\x08mp4a".to_vec());
    let mut fragmenter = Fragmenter::new(vec![video, audio]);
    fragmenter.push(0, sample(0x100, 80, true, b"abc"));
    fragmenter.push(1, Sample { duration: Some(1024), ..sample(0x200, 0, true, b"d") });
    fragmenter.push(0, sample(0x128, -40, false, b"e"));
    assert_eq!((fragmenter.pending_bytes(), fragmenter.pending_time()), (5, 0x128 - 512 * 1000 / 48_000));
    let pieces = fragmenter.flush();
    let expected = b"\
        \0\0\0\xc8moof\
            \0\0\0\x10mfhd\0\0\0\0\0\0\0\x01\
            \0\0\0\x60traf\
                \0\0\0\x10tfhd\0\x02\0\0\0\0\0\x01\
                \0\0\0\x14tfdt\x01\0\0\0\0\0\0\0\0\0\x01\0\
                \0\0\0\x34trun\x01\0\x0f\x01\0\0\0\x02\0\0\0\xd0\
                    \0\0\0\x28\0\0\0\x03\x02\0\0\0\0\0\0\x50\
                    \0\0\0\x28\0\0\0\x01\x01\x01\0\0\xff\xff\xff\xd8\
            \0\0\0\x50traf\
                \0\0\0\x10tfhd\0\x02\0\0\0\0\0\x02\
                \0\0\0\x14tfdt\x01\0\0\0\0\0\0\0\0\0\x02\0\
                \0\0\0\x24trun\x01\0\x0f\x01\0\0\0\x01\0\0\0\xd4\
                    \0\0\x04\0\0\0\0\x01\x02\0\0\0\0\0\0\0\
        \0\0\0\x0dmdat";
    assert_eq!(pieces[0], &expected[..]);
    assert_eq!(pieces[1..], [&b"abc"[..], b"e", b"d"]);
    assert!(fragmenter.flush().is_empty());
}

#[test]
fn headers_become_tracks() {
    let (video, audio) = (avc(), aac());
    assert_eq!((video.track().format(), audio.track().format()), (*b"avc1", *b"mp4a"));
    assert_eq!(video.track().media, Media::Video { width: 1280, height: 720 });
    assert_eq!(audio.track().timescale, 44_100);
    // The High profile's extension, which this encoder left out.
    assert!(video.track().entry().ends_with(b"\x68\xeb\xe3\xcb\x22\xc0\xfd\xf8\xf8\0"));
    assert_eq!(video.track(), avc().track());
    let header = |kind, payload: &[u8]| Source::new(&frame(kind, payload)).map(|made| made.map(|_| ()));
    assert_eq!(header(FrameKind::VideoHeader, b"\x17\0\0\0\0\x01"), Some(Err(Unsupported::Header)));
    assert!(matches!(header(FrameKind::VideoHeader, b"\x80vp09\x01"), Some(Err(Unsupported::Video(_)))));
    assert!(matches!(header(FrameKind::AudioHeader, b"\x90fLaC\x01"), Some(Err(Unsupported::Audio(_)))));
    assert_eq!(header(FrameKind::Audio, b"\xaf\x01\x21"), None);
    assert_eq!(header(FrameKind::Metadata, b"\x02"), None);
}

#[test]
fn opus_with_and_without_its_header() {
    let head = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
    let mut opus = Source::new(&frame(FrameKind::AudioHeader, head)).unwrap().unwrap();
    assert_eq!((opus.track().format(), opus.track().timescale), (*b"Opus", 48_000));
    assert!(opus.track().entry().ends_with(b"\0\0\0\x13dOps\0\x02\x01\x38\0\0\xbb\x80\0\0\0"));
    let packet = opus.sample(&frame(FrameKind::Audio, b"\x91Opus\xfc\x01\x02"), 0).unwrap();
    assert_eq!((packet.duration, &packet.data[..]), (Some(960), &b"\xfc\x01\x02"[..]));
    let bare = Source::new(&frame(FrameKind::Audio, b"\xd0\xf8\x01")).unwrap().unwrap();
    assert!(bare.track().entry().ends_with(b"\0\0\0\x13dOps\0\x01\0\0\0\0\0\0\0\0\0"));
}

#[test]
fn sound_follows_itself_until_time_says_otherwise() {
    let mut aac = aac();
    let mut at = |dts| aac.sample(&frame(FrameKind::Audio, b"\xaf\x01\x21"), dts).unwrap().dts;
    // 1024 samples are 23.2 ms; the stream says 23, 46, 69, 92.
    assert_eq!([0, 23, 46, 80, 92].map(&mut at), [0, 1024, 2048, 3072, 4096]);
    // A pause, and a step back that cannot be followed.
    assert_eq!([1000, 900].map(at), [44_100, 44_101]);
}

#[test]
fn pictures_keep_their_presentation_time() {
    let mut avc = avc();
    let mut at = |dts: Millis, cts| {
        let sample = avc.sample(&picture(FrameKind::Keyframe, cts, b"\0\0\0\x01\x65"), dts).unwrap();
        (sample.dts, sample.cts)
    };
    assert_eq!([at(0, 80), at(40, 0), at(40, 120), at(30, 80)], [(0, 80), (40, 0), (41, 119), (42, 68)]);
}

#[test]
fn start_codes_become_lengths_and_damage_is_left_out() {
    let mut avc = avc();
    let mut data = |nal: &[u8]| Some(avc.sample(&picture(FrameKind::Video, 0, nal), 0)?.data.to_vec());
    assert_eq!(data(b"\0\0\0\x02\x65\x01").as_deref(), Some(&b"\0\0\0\x02\x65\x01"[..]));
    assert_eq!(
        data(b"\0\0\0\x01\x09\xf0\0\0\0\x01\x65\x88\0\0\x01\x65\x99\0").as_deref(),
        Some(&b"\0\0\0\x02\x09\xf0\0\0\0\x02\x65\x88\0\0\0\x02\x65\x99"[..])
    );
    assert_eq!(data(b"\0\xff\xff\xff\x65"), None);
    assert_eq!(data(b"\0\0\x01"), None);
    assert_eq!(data(b""), None);
    assert_eq!(avc.sample(&frame(FrameKind::Video, b"\x17\x02\0\0\0"), 0), None, "end of sequence");
}

/// A file with video from 80 ms on and sound from 0 on, with a pause in it.
fn small_file() -> Vec<u8> {
    let mut fragmenter = Fragmenter::new(vec![avc().track().clone(), aac().track().clone()]);
    let mut file = fragmenter.init_segment();
    fragmenter.push(0, sample(0, 80, true, b"iii"));
    fragmenter.push(0, sample(40, 160, false, b"pp"));
    fragmenter.push(1, Sample { duration: Some(1024), ..sample(0, 0, true, b"a") });
    file.extend(fragmenter.flush().concat());
    fragmenter.push(0, sample(5080, 40, true, b"i"));
    fragmenter.push(1, Sample { duration: Some(1024), ..sample(1024, 0, true, b"b") });
    file.extend(fragmenter.flush().concat());
    file
}

#[test]
fn a_classic_file_table_by_table() {
    let file = small_file();
    let plan = scan(&file).finish().unwrap();
    assert_eq!((plan.samples, plan.duration), (5, 80 + 5080 + 5040));
    let payload: Vec<_> = plan.copies.iter().map(|r| &file[r.start as usize..r.end as usize]).collect();
    assert_eq!(payload, [&b"iiippa"[..], b"ib"]);
    let base = plan.header.len() as u32;
    let has = |atom: &[&[u8]]| {
        let atom = atom.concat();
        assert!(plan.header.windows(atom.len()).any(|window| window == atom), "{atom:?}");
    };
    has(&[b"elst\x01\0\0\0\0\0\0\x02", b"\0\0\0\0\0\0\0\x50", &[0xff; 8], b"\0\x01\0\0"]);
    has(&[b"stts\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x28\0\0\0\x02\0\0\x13\xb0"]);
    has(&[b"ctts\x01\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\x50\0\0\0\x01\0\0\0\xa0\0\0\0\x01\0\0\0\x28"]);
    has(&[b"stss\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x03"]);
    has(&[b"stsc\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x01"]);
    has(&[b"stsz\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x03\0\0\0\x02\0\0\0\x01"]);
    has(&[b"stco\0\0\0\0\0\0\0\x02", &base.to_be_bytes(), &(base + 6).to_be_bytes()]);
    has(&[b"stts\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\x04\0"]);
    has(&[b"stco\0\0\0\0\0\0\0\x02", &(base + 5).to_be_bytes(), &(base + 7).to_be_bytes()]);
    assert!(plan.header.ends_with(b"\0\0\0\x10mdat"));
}

#[test]
fn torn_at_every_byte() {
    let file = small_file();
    let ends = [file.len() - 1, file.len()];
    let first = file.windows(4).rposition(|kind| kind == b"moof").unwrap() - 4;
    for len in 0..=file.len() {
        let samples = scan(&file[..len]).finish().map(|plan| plan.samples);
        let expected = match len {
            _ if len < first => Err(Error::Nothing),
            _ if len < ends[1] => Ok(3),
            _ => Ok(5),
        };
        assert_eq!(samples, expected, "{len} of {}", file.len());
    }
}

#[test]
fn a_file_without_fragments_is_nothing() {
    let init = init_segment(&[aac().track().clone()]);
    assert_eq!(scan(&init).finish(), Err(Error::Nothing));
}

proptest! {
    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200), video in any::<bool>()) {
        let mut file = init_segment(&[aac().track().clone()]);
        file.extend(&noise);
        let _ = scan(&file).finish();
        let _ = scan(&noise).finish();
        let kinds = if video {
            [FrameKind::VideoHeader, FrameKind::Keyframe]
        } else {
            [FrameKind::AudioHeader, FrameKind::Audio]
        };
        for kind in kinds {
            if let Some(Ok(mut source)) = Source::new(&frame(kind, &noise)) {
                let _ = source.sample(&frame(kinds[1], &noise), 5);
            }
            let _ = avc().sample(&frame(kind, &noise), -5);
        }
    }
}
