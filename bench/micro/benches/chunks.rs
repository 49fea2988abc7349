//! RTMP chunks: messages in and out, by chunk size, in bytes a second. A second of 1 Mbit/s: 25 pictures of
//! 4.5 kB and 43 pieces of sound of 270 bytes.

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mill_rtmp::chunk::{Limits, Reader, writer};
use mill_rtmp::message::types;

/// Type, time and length of each message.
fn second() -> Vec<(u8, u32, usize)> {
    let mut all: Vec<_> = (0..25).map(|i| (types::VIDEO, i * 40, 4500)).collect();
    all.extend((0..43).map(|i| (types::AUDIO, i * 23, 270)));
    all.sort_by_key(|message| message.1);
    all
}

fn write(out: &mut BytesMut, chunk_size: usize) {
    let payload = [0x5A; 4500];
    for (kind, time, len) in second() {
        let stream = writer::media_chunk_stream(kind);
        writer::write_message(out, stream, kind, 1, time, &payload[..len], chunk_size);
    }
}

fn chunks(c: &mut Criterion) {
    for chunk_size in [128, 4096, 60_000] {
        let mut bytes = BytesMut::new();
        write(&mut bytes, chunk_size);
        let mut group = c.benchmark_group(format!("chunks of {chunk_size}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("write", |b| {
            let mut out = BytesMut::with_capacity(2 * bytes.len());
            b.iter(|| {
                out.clear();
                write(&mut out, chunk_size);
                out.len()
            });
        });
        let mut input = BytesMut::new();
        mill_rtmp::message::Control::SetChunkSize(chunk_size as u32).write(&mut input);
        input.extend_from_slice(&bytes);
        group.bench_function("read", |b| {
            b.iter_batched(
                || (Reader::new(Limits::MEDIA), input.clone()),
                |(mut reader, mut input)| {
                    let mut messages = 0;
                    while reader.read(&mut input).expect("our own chunks").is_some() {
                        messages += 1;
                    }
                    assert_eq!(messages, 68);
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, chunks);
criterion_main!(benches);
