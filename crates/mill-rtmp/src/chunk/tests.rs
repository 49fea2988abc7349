//! Golden bytes of the writer, the rules and leniencies of the reader one by one, its limits, and round
//! trips through an encoder that uses every header form and interleaves.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::{limits::*, writer::*, *};
use crate::{
    Error,
    message::{Control, Message, types},
};

const MEDIA: Limits = Limits::MEDIA;

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 256) as u8).collect()
}

/// Bytes from parts written in hex, blanks ignored.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn read_all(reader: &mut Reader, bytes: &[u8]) -> Result<Vec<Message>, Error> {
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.read(&mut input)? {
        messages.push(message);
    }
    Ok(messages)
}

/// The messages in `text`, read at once and byte by byte, as (type, timestamp, stream, length).
#[track_caller]
fn check(text: &str, expected: &[(u8, u32, u32, usize)]) {
    let bytes = hex(text);
    let brief = |message: &Message| {
        (message.message_type, message.timestamp, message.stream_id, message.payload.len())
    };
    let at_once = read_all(&mut Reader::new(MEDIA), &bytes).unwrap();
    assert_eq!(at_once.iter().map(brief).collect::<Vec<_>>(), expected);
    let (mut reader, mut input, mut slowly) = (Reader::new(MEDIA), BytesMut::new(), Vec::new());
    for byte in bytes {
        input.put_u8(byte);
        slowly.extend(reader.read(&mut input).unwrap());
    }
    assert_eq!(slowly, at_once);
}

#[track_caller]
fn check_error(text: &str, expected: Error) {
    assert_eq!(read_all(&mut Reader::new(MEDIA), &hex(text)), Err(expected));
}

#[test]
fn a_short_message_is_one_chunk() {
    let mut out = BytesMut::new();
    write_message(&mut out, AUDIO, types::AUDIO, 1, 0x01_0203, &[0xAF, 1, 2], 128);
    assert_eq!(out[..], hex("07 010203 000003 08 01000000 af0102"));
    assert_eq!(out.len(), written_len(3, 0x01_0203, 128));
}

#[test]
fn a_long_message_goes_on_with_type_3() {
    let mut out = BytesMut::new();
    write_message(&mut out, VIDEO, types::VIDEO, 1, 40, &payload(300), 128);
    assert_eq!(out[..12], hex("06 000028 00012c 09 01000000"));
    assert_eq!((out[140], out[269]), (0xC6, 0xC6));
    assert_eq!(out.len(), 12 + 300 + 2);
    assert_eq!(out.len(), written_len(300, 40, 128));
}

#[test]
fn an_extended_timestamp_is_on_every_chunk() {
    for time in [0xFF_FFFF, 0x8000_0000, u32::MAX] {
        let mut out = BytesMut::new();
        write_message(&mut out, VIDEO, types::VIDEO, 1, time, &payload(130), 128);
        assert_eq!(out[..4], hex("06 ffffff"));
        assert_eq!(out[12..16], time.to_be_bytes());
        assert_eq!((out[144], &out[145..149]), (0xC6, &time.to_be_bytes()[..]));
        assert_eq!(out.len(), written_len(130, time, 128));
    }
    let mut out = BytesMut::new();
    write_message(&mut out, VIDEO, types::VIDEO, 1, 0xFF_FFFE, &payload(130), 128);
    assert_eq!(out[1..4], hex("fffffe"));
}

#[test]
fn what_cannot_be_expressed_is_not_written() {
    let mut out = BytesMut::new();
    write_message(&mut out, VIDEO, types::VIDEO, 1, 0, &vec![0; MAX_MESSAGE_SIZE + 1], 60_000);
    assert!(out.is_empty());
}

#[test]
fn chunk_stream_ids_of_one_two_and_three_bytes() {
    check(
        "3f 000001 000001 08 01000000 aa \
         00 00 000002 000001 08 01000000 aa \
         00 ff 000003 000001 08 01000000 aa \
         01 0000 000004 000001 08 01000000 aa \
         01 ffff 000005 000001 08 01000000 aa",
        &[(8, 1, 1, 1), (8, 2, 1, 1), (8, 3, 1, 1), (8, 4, 1, 1), (8, 5, 1, 1)],
    );
    // 64 as two and as three bytes is the same chunk stream.
    check("00 00 000002 000001 08 01000000 aa  c1 0000 bb", &[(8, 2, 1, 1), (8, 4, 1, 1)]);
}

#[test]
fn differences_add_up() {
    check(
        "04 000064 000001 08 01000000 aa \
         44 000005 000002 09 aaaa \
         84 000007 aaaa \
         c4 aaaa",
        &[(8, 100, 1, 1), (9, 105, 1, 2), (9, 112, 1, 2), (9, 119, 1, 2)],
    );
}

#[test]
fn differences_wrap_at_32_bits() {
    check(
        "04 ffffff 000001 08 01000000 fffffff0 aa  84 000020 bb",
        &[(8, 0xFFFF_FFF0, 1, 1), (8, 0x10, 1, 1)],
    );
    check("04 ffffff 000001 08 01000000 80000000 aa", &[(8, 0x8000_0000, 1, 1)]);
}

#[test]
fn a_difference_can_be_extended() {
    check("04 000001 000001 08 01000000 aa  84 ffffff 01000000 bb", &[(8, 1, 1, 1), (8, 0x100_0001, 1, 1)]);
}

#[test]
fn type_3_after_a_full_header_begins_a_new_message() {
    // RTMP 1.0 §5.3.1.2.4: the difference is the full time.
    check("04 000005 000001 08 01000000 aa  c4 bb", &[(8, 5, 1, 1), (8, 10, 1, 1)]);
    // With an extended time of its own, that one counts.
    check(
        "04 ffffff 000001 08 01000000 01000000 aa  c4 01000028 bb",
        &[(8, 0x100_0000, 1, 1), (8, 0x100_0028, 1, 1)],
    );
}

#[test]
fn a_chunk_stream_may_begin_with_type_1() {
    check("44 000005 000001 08 aa", &[(8, 5, 0, 1)]);
}

#[test]
fn a_chunk_stream_may_not_begin_with_type_2_or_3() {
    check_error("84 000005 aa", Error::ChunkStart { chunk_stream: 4, header_type: 2 });
    check_error("c4", Error::ChunkStart { chunk_stream: 4, header_type: 3 });
}

fn half_a_message() -> String {
    format!("04 000000 000100 08 01000000 {}", "aa".repeat(128))
}

#[test]
fn a_full_header_inside_a_message_is_refused() {
    let text = half_a_message() + "04 000000 000100 08 01000000";
    check_error(&text, Error::ChunkStart { chunk_stream: 4, header_type: 0 });
}

#[test]
fn the_length_may_not_change_inside_a_message() {
    let text = half_a_message() + "44 000000 000101 08";
    check_error(&text, Error::LengthChanged { chunk_stream: 4, was: 256, now: 257 });
    let text = half_a_message() + "44 000007 000100 08" + &"bb".repeat(128);
    check(&text, &[(8, 7, 1, 256)]);
}

#[test]
fn empty_messages_are_skipped_but_their_time_counts() {
    check(
        "04 000010 000000 08 01000000  44 000001 000001 08 aa  84 000001 aa",
        &[(8, 0x11, 1, 1), (8, 0x12, 1, 1)],
    );
    check("04 000010 000000 08 01000000  c4  c4", &[]);
}

#[test]
fn extended_timestamps_are_read_repeated_or_not() {
    let start = format!("04 ffffff 000084 08 01000000 01020304 {}", "aa".repeat(128));
    check(&(start.clone() + "c4 01020304 bbbbbbbb"), &[(8, 0x01_020304, 1, 132)]);
    check(&(start.clone() + "c4 bbbbbbbb"), &[(8, 0x01_020304, 1, 132)]);
    // The rest is shorter than a timestamp and begins like one, until more comes.
    let start = format!("04 ffffff 000082 08 01000000 01020304 {}", "aa".repeat(128));
    check(&(start.clone() + "c4 01bb"), &[(8, 0x01_020304, 1, 130)]);
    check(&(start + "c4 0102 05 000000 000001 08 01000000 aa"), &[(8, 0x01_020304, 1, 130), (8, 0, 1, 1)]);
}

#[test]
fn an_extended_difference_repeats_itself_or_the_time() {
    let start = format!("04 000001 000001 08 01000000 aa  44 ffffff 000084 08 02000000 {}", "aa".repeat(128));
    for repeated in ["02000000", "02000001", ""] {
        check(&format!("{start} c4 {repeated} bbbbbbbb"), &[(8, 1, 1, 1), (8, 0x0200_0001, 1, 132)]);
    }
}

#[test]
fn messages_interleave() {
    let text = half_a_message()
        + "05 000001 000002 09 01000000 bbbb"
        + &format!("c4 {}", "cc".repeat(128))
        + "c5 dddd";
    check(&text, &[(9, 1, 1, 2), (8, 0, 1, 256), (9, 2, 1, 2)]);
}

#[test]
fn the_chunk_size_changes_inside_a_message_of_another_chunk_stream() {
    let text = format!("04 000000 000200 08 01000000 {}", "aa".repeat(128))
        + "02 000000 000004 01 00000000 00000100"
        + &format!("c4 {} c4 {}", "bb".repeat(256), "cc".repeat(128));
    check(&text, &[(8, 0, 1, 512)]);
}

#[test]
fn chunk_sizes_of_a_peer() {
    let set = |size: u32| {
        let mut reader = Reader::new(MEDIA);
        let result = read_all(&mut reader, &hex(&format!("02 000000 000004 01 00000000 {size:08x}")));
        result.map(|_| reader.chunk_size())
    };
    for size in [0, 1, 127, 0x8000_0000, u32::MAX] {
        assert_eq!(set(size), Err(Error::ChunkSize { size }), "{size}");
    }
    for size in [128, 4096, 65_536, 65_537, 0xFF_FFFF] {
        assert_eq!(set(size), Ok(size as usize));
    }
    assert_eq!(set(i32::MAX as u32), Ok(MAX_MESSAGE_SIZE));
    check_error("02 000000 000003 01 00000000 000080", Error::Message { message_type: 1 });
}

#[test]
fn an_aborted_message_is_forgotten() {
    let text = half_a_message() + "02 000000 000004 02 00000000 00000004" + "04 000009 000001 09 01000000 aa";
    check(&text, &[(9, 9, 1, 1)]);
    check("02 000000 000004 02 00000000 00000063", &[]);
}

#[test]
fn a_message_in_one_chunk_is_not_copied() {
    let mut input = BytesMut::with_capacity(1024);
    write_message(&mut input, VIDEO, types::VIDEO, 1, 0, &payload(100), 128);
    let place = input[12..].as_ptr();
    let message = Reader::new(MEDIA).read(&mut input).unwrap().unwrap();
    assert_eq!(message.payload.as_ptr(), place);
}

#[test]
fn room_is_made_as_bytes_come() {
    let mut reader = Reader::new(MEDIA);
    read_all(&mut reader, &hex("02 000000 000004 01 00000000 7fffffff")).unwrap();
    let mut input = BytesMut::from(&hex("04 000000 fffff0 09 01000000")[..]);
    for _ in 0..100 {
        input.extend_from_slice(&[7; 1000]);
        assert_eq!(reader.read(&mut input), Ok(None));
        assert!(input.is_empty(), "a long message does not stay in the caller's buffer");
    }
    let room = reader.room();
    assert!((100_000..=200_000 + MAX_RESERVED_AHEAD).contains(&room), "{room}");
}

#[test]
fn an_assembled_payload_has_no_slack() {
    let mut reader = Reader::new(MEDIA);
    let mut input = BytesMut::new();
    write_message(&mut input, VIDEO, types::VIDEO, 1, 0, &payload(70_001), 4096);
    let mut bytes = hex("02 000000 000004 01 00000000 00001000");
    bytes.extend_from_slice(&input);
    let mut input = BytesMut::from(&bytes[..bytes.len() - 1]);
    assert_eq!(reader.read(&mut input), Ok(None));
    assert_eq!(reader.room(), 70_001);
}

#[test]
fn limits_are_kept() {
    let small = Limits { message: 1000, unfinished: 300 };
    let read = |text: &str| read_all(&mut Reader::new(small), &hex(text));
    let message = Err(Error::Limit { what: "bytes of a message", limit: 1000 });
    assert_eq!(read("04 000000 0003e9 08 01000000"), message);
    let half = format!("000000 000100 08 01000000 {}", "aa".repeat(128));
    let unfinished = Err(Error::Limit { what: "bytes of unfinished messages", limit: 300 });
    assert_eq!(read(&format!("04 {half} 05 {half}")), Ok(vec![]));
    assert_eq!(read(&format!("04 {half} 05 {half} 06 {half}")), unfinished);
    // What was finished does not count.
    let rest = format!("c4 {}", "bb".repeat(128));
    assert_eq!(read(&format!("04 {half} {rest}").repeat(9)).unwrap().len(), 9);

    let mut out = String::new();
    for id in 0..=MAX_CHUNK_STREAMS {
        out += &format!("00 {id:02x} 000000 000001 08 01000000 aa ");
    }
    assert_eq!(read(&out), Err(Error::Limit { what: "chunk streams", limit: MAX_CHUNK_STREAMS }));
}

#[test]
fn a_lower_limit_holds_for_headers_that_are_not_repeated() {
    let mut reader = Reader::new(MEDIA);
    read_all(&mut reader, &hex(&format!("04 000000 000080 08 01000000 {}", "aa".repeat(128)))).unwrap();
    reader.set_limits(Limits { message: 100, unfinished: 300 });
    assert!(read_all(&mut reader, &hex("c4")).is_err());
}

#[test]
fn an_idle_reader_is_small() {
    let mut reader = Reader::default();
    for id in [CONTROL, COMMAND, DATA] {
        let mut input = BytesMut::new();
        write_message(&mut input, id, types::COMMAND, 0, 0, &payload(500), 128);
        reader.read(&mut input).unwrap().unwrap();
    }
    reader.shrink();
    let size = size_of::<Reader>() + reader.heap_size();
    assert!(size < 400, "{size}");
}

/// Writes chunks in every header form that is allowed, as encoders do.
#[derive(Default)]
struct Encoder {
    out: BytesMut,
    /// Per chunk stream: last message without payload, last difference, whether that was a difference.
    last: std::collections::HashMap<u32, (Message, u32)>,
}

/// A message on its way.
struct Sending {
    chunk_stream: u32,
    extended: Option<u32>,
    rest: Bytes,
}

impl Encoder {
    fn basic(&mut self, header_type: u8, chunk_stream: u32) {
        let first = header_type << 6;
        match chunk_stream {
            ..64 => self.out.put_u8(first | chunk_stream as u8),
            64..320 => self.out.put_slice(&[first, (chunk_stream - 64) as u8]),
            _ => {
                self.out.put_u8(first | 1);
                self.out.put_u16_le((chunk_stream - 64) as u16);
            }
        }
    }

    /// The first header of a message, as short as `compress` (0 to 3) and the messages before allow.
    fn begin(&mut self, chunk_stream: u32, message: &Message, compress: u8) -> Sending {
        let last = self.last.get(&chunk_stream);
        let mut header_type = 0;
        let mut time = message.timestamp;
        if let Some((before, difference)) = last
            && compress > 0
            && before.stream_id == message.stream_id
        {
            header_type = 1;
            time = message.timestamp.wrapping_sub(before.timestamp);
            if before.message_type == message.message_type && before.payload.len() == message.payload.len() {
                header_type = compress.min(2);
                if compress == 3 && *difference == time && time < 0xFF_FFFF {
                    header_type = 3;
                }
            }
        }
        self.basic(header_type, chunk_stream);
        if header_type < 3 {
            self.out.put_uint(time.min(0xFF_FFFF).into(), 3);
        }
        if header_type < 2 {
            self.out.put_uint(message.payload.len() as u64, 3);
            self.out.put_u8(message.message_type);
        }
        if header_type == 0 {
            self.out.put_u32_le(message.stream_id);
        }
        let extended = (time >= 0xFF_FFFF).then_some(time);
        if let Some(time) = extended {
            self.out.put_u32(time);
        }
        self.last.insert(chunk_stream, (message.clone(), time));
        Sending { chunk_stream, extended, rest: message.payload.clone() }
    }

    /// The next chunk's payload; `false` once all is written.
    fn go_on(&mut self, sending: &mut Sending, first: bool, repeat: bool, chunk_size: usize) -> bool {
        if !first {
            self.basic(3, sending.chunk_stream);
            if let (Some(time), true) = (sending.extended, repeat) {
                self.out.put_u32(time);
            }
        }
        let piece = sending.rest.split_to(sending.rest.len().min(chunk_size));
        self.out.put_slice(&piece);
        !sending.rest.is_empty()
    }
}

fn times() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..100u32,
        0xFF_FFF0..0x100_0010u32,
        0x7FFF_FFF0..0x8000_0010u32,
        u32::MAX - 20..=u32::MAX,
        any::<u32>()
    ]
}

#[derive(Debug, Clone)]
struct Step {
    chunk_stream: u32,
    message_type: u8,
    stream_id: u32,
    time: u32,
    length: usize,
    compress: u8,
    chunk_size: Option<usize>,
    repeat: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        prop_oneof![3..9u32, 60..70u32, 318..323u32],
        prop_oneof![Just(8u8), Just(9), Just(18), Just(20)],
        0..2u32,
        times(),
        prop_oneof![1..300usize, Just(128), Just(256), 1..3000usize],
        0..4u8,
        proptest::option::weighted(0.2, 128..700usize),
        any::<bool>(),
    );
    let step = step.prop_map(
        |(chunk_stream, message_type, stream_id, time, length, compress, chunk_size, repeat)| Step {
            chunk_stream,
            message_type,
            stream_id,
            time,
            length,
            compress,
            chunk_size,
            repeat,
        },
    );
    proptest::collection::vec(step, 1..20)
}

/// Reads `bytes` in pieces whose lengths come from `splits`, in turn.
fn read_split(reader: &mut Reader, bytes: &[u8], splits: &[usize]) -> Result<Vec<Message>, Error> {
    let (mut input, mut rest, mut messages) = (BytesMut::new(), bytes, Vec::new());
    for &split in splits.iter().cycle() {
        let (piece, tail) = rest.split_at(split.clamp(1, 5000).min(rest.len()));
        input.extend_from_slice(piece);
        rest = tail;
        while let Some(message) = reader.read(&mut input)? {
            messages.push(message);
        }
        assert!(input.len() < MAX_WAIT_IN_BUFFER + 18);
        if rest.is_empty() {
            break;
        }
    }
    Ok(messages)
}

proptest! {
    #[test]
    fn everything_interleaved_comes_out_whole(
        steps in steps(),
        turns in proptest::collection::vec(any::<prop::sample::Index>(), 1..40),
        splits in proptest::collection::vec(1..600usize, 1..10),
    ) {
        let mut encoder = Encoder::default();
        let (mut chunk_size, mut expected) = (128, Vec::new());
        let mut busy: Vec<(Sending, Message, bool)> = Vec::new();
        let mut turns = turns.iter().cycle();
        let mut steps = steps.into_iter().peekable();
        while steps.peek().is_some() || !busy.is_empty() {
            // Begin another message if its chunk stream is free, else go on with any of those under way.
            let begin = steps.next_if(|step| busy.iter().all(|(sending, ..)| sending.chunk_stream != step.chunk_stream));
            let index = match begin {
                Some(step) => {
                    if let Some(size) = step.chunk_size {
                        chunk_size = size;
                        Control::SetChunkSize(size as u32).write(&mut encoder.out);
                    }
                    let message = Message {
                        message_type: step.message_type,
                        timestamp: step.time,
                        stream_id: step.stream_id,
                        payload: payload(step.length).into(),
                    };
                    let mut sending = encoder.begin(step.chunk_stream, &message, step.compress);
                    let more = encoder.go_on(&mut sending, true, step.repeat, chunk_size);
                    busy.push((sending, message, step.repeat));
                    if more { continue }
                    busy.len() - 1
                }
                None => {
                    let index = turns.next().unwrap().index(busy.len());
                    let (sending, _, repeat) = &mut busy[index];
                    if encoder.go_on(sending, false, *repeat, chunk_size) { continue }
                    index
                }
            };
            expected.push(busy.remove(index).1);
        }
        // A last piece that begins like its timestamp is only understood once something follows.
        Control::WindowAckSize(1).write(&mut encoder.out);
        let mut messages = read_split(&mut Reader::new(MEDIA), &encoder.out, &splits).unwrap();
        prop_assert_eq!(messages.pop().map(|message| message.message_type), Some(types::WINDOW_ACK_SIZE));
        prop_assert_eq!(messages, expected);
    }

    #[test]
    fn what_is_written_is_read(
        messages in proptest::collection::vec((times(), 1..5000usize, 2..64u8, 0..3u32), 1..8),
        chunk_size in 128..6000u32,
        splits in proptest::collection::vec(1..4000usize, 1..6),
    ) {
        let mut out = BytesMut::new();
        Control::SetChunkSize(chunk_size).write(&mut out);
        for &(time, length, chunk_stream, stream_id) in &messages {
            let before = out.len();
            let size = chunk_size as usize;
            write_message(&mut out, chunk_stream, types::VIDEO, stream_id, time, &payload(length), size);
            prop_assert_eq!(out.len() - before, written_len(length, time, size));
        }
        let read = read_split(&mut Reader::new(MEDIA), &out, &splits).unwrap();
        let read: Vec<_> = read.iter().map(|m| (m.timestamp, m.stream_id, m.payload.to_vec())).collect();
        let written: Vec<_> = messages.iter().map(|&(time, length, _, id)| (time, id, payload(length))).collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn noise_never_panics_and_never_holds_more_than_allowed(
        bytes in proptest::collection::vec(any::<u8>(), 0..4000),
        splits in proptest::collection::vec(1..600usize, 1..10),
    ) {
        let mut reader = Reader::default();
        let _ = read_split(&mut reader, &bytes, &splits);
        prop_assert!(reader.room() <= 2 * bytes.len() + MAX_CHUNK_STREAMS * MAX_RESERVED_AHEAD);
    }
}
