//! FLV tags: in and out, and what a body is.

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mill_media::flv::demux::Demuxer;
use mill_media::flv::{mux, tag};

const TAGS: u32 = 68;

fn body() -> Vec<u8> {
    let mut body = vec![0x5A; 1800];
    body[..5].copy_from_slice(&[0x27, 1, 0, 0, 0]);
    body
}

fn write(out: &mut BytesMut, body: &[u8]) {
    for i in 0..TAGS {
        mux::write_tag(out, 9, i * 15, body).expect("small enough");
    }
}

fn flv(c: &mut Criterion) {
    let body = body();
    let mut file = BytesMut::from(&mux::file_header(true, true)[..]);
    write(&mut file, &body);
    let mut group = c.benchmark_group("flv");
    group.throughput(Throughput::Bytes(file.len() as u64));
    group.bench_function("mux", |b| {
        let mut out = BytesMut::with_capacity(2 * file.len());
        b.iter(|| {
            out.clear();
            write(&mut out, &body);
            out.len()
        });
    });
    group.bench_function("demux", |b| {
        b.iter_batched(
            Demuxer::new,
            |mut demuxer| {
                demuxer.feed(&file);
                let mut tags = 0;
                while demuxer.next().expect("our own tags").is_some() {
                    tags += 1;
                }
                assert_eq!(tags, TAGS);
            },
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("classify", |b| b.iter(|| tag::classify(9, &body)));
    group.finish();
}

criterion_group!(benches, flv);
criterion_main!(benches);
