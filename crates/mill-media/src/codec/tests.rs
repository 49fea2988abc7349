//! Configuration records as ffmpeg's encoders write them, some composed by hand, and damaged copies.

use proptest::prelude::*;

use super::*;

/// H.264, Constrained Baseline, 1920×1080 of 1920×1088.
const AVC_1080: &str = "0142c028ffe100196742c028da01e0089f97011000000300100000030320f1832a01000468ce0fc8";
/// H.264, Main, 1920×1080 in fields.
const AVC_FIELDS: &str = "014d4028ffe10019674d4028f403c0227ef011000003000100000300321f162ea001000468de0fc8";
/// H.264, High 4:2:2 of ten bits, 1366×768.
const AVC_422: &str =
    "017a0020ffe1001a677a0020b6cb402b030f3780880000030008000003019078c19501000468ce0fc8fefafa00";
/// H.264, High 4:4:4 Predictive, 639×359.
const AVC_444: &str =
    "01f4001effe1001a67f4001e919680a02fea2b011000000300100000030320f162ea01000568ce0f1920fff8f800";
/// H.265, Main, 1920×1080 of 1920×1088; of the four arrays only the SPS.
const HEVC_1080: &str = "01016000000090000000000078f000fcfdf8f800000f01210001002b4201010160000003009000000\
                         30000030078a003c0801107cb965654a4c2f0168080000003008000000c84";
/// H.265, Main 10, 638×358.
const HEVC_10: &str = "0102200000009000000000003ff000fcfdfafa00000f01210001002b42010102200000030090000003\
                       000003003fa005020171d4cd965654a4c2f0168080000003008000000c84";
/// H.265, range extensions 4:2:2, 638×358.
const HEVC_422: &str = "0104080000009d08000000003ff000fcfefafa00000f01210001002b4201010408000003009d08000\
                        00300003fb005020171d45b6595952930bc05a02000000300200000030321";
/// AV1, High, 320×180.
const AV1_180: &str = "812000000a0d200000043cfeccdaf92021a004";
/// AV1, Main, 3840×2160, with timing information, decoder model and two operating points, after a
/// temporal delimiter.
const AV1_2160: &str = "8109000012000a1e0400000004000000ca6a400000004e7840012fffffec00053fc3bfc21bc0";

const RECORDS: [(&str, &str); 9] = [
    ("1700000000", AVC_1080),
    ("1700000000", AVC_FIELDS),
    ("1700000000", AVC_422),
    ("1700000000", AVC_444),
    ("1c00000000", HEVC_1080),
    ("9068766331", HEVC_10),
    ("9068766331", HEVC_422),
    ("9061763031", AV1_180),
    ("1d00000000", AV1_2160),
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn video_headers() {
    let shown = RECORDS.map(|(tag, record)| {
        let info = video_info(&hex(&[tag, record].concat())).unwrap();
        format!("{} {} {} {}x{}", info.codec.name(), info.profile, info.level, info.width, info.height)
    });
    let expected = [
        "H264 Baseline 4 1920x1080",
        "H264 Main 4 1920x1080",
        "H264 High(422) 3.2 1366x768",
        "H264 High(444+Predictive) 3 639x359",
        "HEVC Main 4 1920x1080",
        "HEVC Main10 2.1 638x358",
        "HEVC Rext 2.1 638x358",
        "AV1 High 2.0 320x180",
        "AV1 Main 4.1 3840x2160",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn scaling_matrices_and_wrong_levels_do_not_hide_the_size() {
    // High with x264's cqm=jvt, then the same with the level of a stamp-sized picture.
    let mut sps = hex("6764000dacd94141fb011000000300100000030320f14299");
    assert_eq!(avc::picture_size(&sps), Some((320, 240)));
    sps[3] = 10;
    assert_eq!(avc::picture_size(&sps), Some((320, 240)));
    // Cut inside the VUI.
    assert_eq!(avc::picture_size(&sps[..12]), Some((320, 240)));
    // Hand-made: every list of the 4:2:0 scaling matrix present, each ending at its first delta.
    let mut bits = String::from("01100111 01100100 00000000 00011110 1 010 1 1 0 1");
    bits.push_str(&"1 000010001".repeat(8)); // delta_scale -8: "use the default matrix"
    bits.push_str("1 1 1 1 0 000010100 0001111 1 1 0 0 1"); // from log2_max_frame_num to the stop bit
    let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
    let sps: Vec<u8> = bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect();
    assert_eq!(avc::picture_size(&sps), Some((320, 240)));
}

#[test]
fn damaged_records_keep_what_is_known() {
    let record = hex(AVC_1080);
    for len in 4..record.len() {
        let mut body = hex("1700000000");
        body.extend(&record[..len]);
        let info = video_info(&body).unwrap();
        assert_eq!((info.profile.as_str(), info.level.as_str()), ("Baseline", "4"));
    }
    let mut three_byte_lengths = record.clone();
    three_byte_lengths[4] = 0xfe;
    assert_eq!(avc::DecoderConfig::parse(&three_byte_lengths), None);
    let config = avc::DecoderConfig::parse(&record).unwrap();
    assert_eq!((config.length_size, config.sps.len(), config.pps), (4, 1, vec![&hex("68ce0fc8")[..]]));
    let record = hex(HEVC_1080);
    let config = hevc::DecoderConfig::parse(&record).unwrap();
    assert_eq!(hevc::reorder_depth(config.sps[0]), Some(2));
    assert_eq!((config.length_size, config.vps.len(), config.sps.len(), config.pps.len()), (4, 0, 1, 0));
}

#[test]
fn only_headers_tell_where_there_are_headers() {
    assert_eq!(video_info(&hex("1701000000aa")), None);
    assert_eq!(video_info(&hex("1700000000")), None);
    assert_eq!(audio_info(&hex("af0121")), None);
    let vp6 = video_info(&hex("1400aa")).unwrap();
    assert_eq!((vp6.codec.name(), vp6.profile.as_str(), vp6.width), ("VP6", "Other", 0));
}

#[track_caller]
fn check_audio(body: &str, codec: &str, profile: &str, sample_rate: u32, channels: u8) {
    let info = audio_info(&hex(body)).unwrap();
    assert_eq!(
        (info.codec.name(), info.profile.as_str(), info.sample_rate, info.channels),
        (codec, profile, sample_rate, channels)
    );
}

#[test]
fn audio_headers() {
    check_audio("af00121056e500", "AAC", "LC", 44100, 2);
    check_audio("af0011b056e500", "AAC", "LC", 48000, 6);
    check_audio("af00138856e500", "AAC", "LC", 22050, 1);
    check_audio("af001210", "AAC", "LC", 44100, 2);
    check_audio("af002b920800", "AAC", "HE", 44100, 2); // SBR explicitly
    check_audio("af00139056e5a0", "AAC", "HE", 44100, 2); // SBR compatibly
    check_audio("af00eb8a0800", "AAC", "HEv2", 44100, 2); // PS explicitly
    check_audio("af00138856e5a54880", "AAC", "HEv2", 44100, 2); // PS compatibly
    check_audio("af00f94640", "AAC", "Other", 48000, 2); // object type 42 by escape
    check_audio("af001780562290", "AAC", "LC", 44101, 2); // rate by escape
    check_audio("af0012000504010020", "AAC", "LC", 44100, 3); // program config element
    check_audio("af0012", "AAC", "Other", 0, 0); // cut short
    check_audio("af000210", "AAC", "Other", 0, 0); // object type 0
    check_audio("906d7034611210", "AAC", "LC", 44100, 2);
    check_audio("904f7075734f707573486561640102380180bb0000000000", "Opus", "Other", 48000, 2);
}

#[test]
fn audio_without_headers() {
    check_audio("2ffffb50c4", "MP3", "Other", 44100, 1);
    check_audio("2ffff394c4", "MP3", "Other", 24000, 1);
    check_audio("2b00", "MP3", "Other", 22050, 2);
    check_audio("7200", "Other", "Other", 8000, 1);
    check_audio("b200", "Other", "Other", 16000, 1);
    check_audio("9161632d330b77", "AC3", "Other", 0, 0);
}

proptest! {
    #[test]
    fn damage_never_panics(
        index in 0..RECORDS.len(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        len in any::<proptest::sample::Index>(),
    ) {
        let (tag, record) = RECORDS[index];
        let mut record = hex(record);
        for (at, byte) in damage {
            *at.get_mut(&mut record) = byte;
        }
        record.truncate(len.index(record.len() + 1).max(4));
        let body = [hex(tag), record].concat();
        prop_assert!(video_info(&body).is_some());
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..80)) {
        for (tag, _) in RECORDS {
            video_info(&[hex(tag), noise.clone()].concat());
        }
        avc::picture_size(&[&[0x67, 100][..], &noise].concat());
        hevc::picture_size(&[&[0x42, 1][..], &noise].concat());
        avc::reorder_depth(&[&[0x67, 100][..], &noise].concat());
        hevc::reorder_depth(&[&[0x42, 1][..], &noise].concat());
        let av1 = [&[0x81, 0, 0, 0, 0x0a, 0x7f][..], &noise].concat();
        av1::DecoderConfig::parse(&av1).and_then(|config| config.picture_size());
        aac::DecoderConfig::parse(&noise);
        audio_info(&noise);
        video_info(&noise);
    }
}
