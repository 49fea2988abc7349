//! The hub: what a frame costs its publisher with nobody there, with lanes, and with shards that are woken and
//! take what came.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mill_hub::{FormatKey, Hub, Publisher, Reader, StreamId, StreamOptions, WireFormat};
use mill_media::frame::{Frame, FrameKind};

/// A format as cheap as can be: what is measured is the hub.
#[derive(Debug)]
struct Bare(u32);

impl WireFormat for Bare {
    fn key(&self) -> FormatKey {
        FormatKey { name: "bare", variant: self.0 }
    }

    fn write(&self, frame: &Frame, out: &mut BytesMut) {
        out.extend_from_slice(&frame.payload);
    }
}

fn id(name: &str) -> StreamId {
    StreamId { vhost: "v".into(), app: "a".into(), name: name.into() }
}

/// Pushes frames of 1.8 kB for ever, a keyframe every fifty.
struct Source {
    publisher: Publisher,
    payload: Bytes,
    n: u32,
}

impl Source {
    fn new(hub: &Hub) -> Self {
        let publisher = hub.publish(&id("s"), StreamOptions::default()).expect("nobody else");
        Self { publisher, payload: Bytes::from(vec![0x5A; 1800]), n: 0 }
    }

    fn push(&mut self) {
        let kind = if self.n.is_multiple_of(50) { FrameKind::Keyframe } else { FrameKind::Video };
        self.publisher.push(kind, self.n.wrapping_mul(20), self.payload.clone());
        self.n = self.n.wrapping_add(1);
    }
}

fn readers(hub: &Hub, lanes: u32, shards: usize) -> Vec<Reader> {
    let watch = hub.watch(&id("s"));
    let lanes = (0..lanes).map(|variant| watch.stream().lane(Arc::new(Bare(variant))));
    lanes.flat_map(|lane| (0..shards).map(move |_| lane.reader())).collect()
}

fn hub(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub");
    group.throughput(Throughput::Elements(1));
    for lanes in [0, 1, 3] {
        group.bench_function(format!("append, {lanes} lanes"), |b| {
            let hub = Hub::default();
            let mut source = Source::new(&hub);
            let _readers = readers(&hub, lanes, 1);
            b.iter(|| source.push());
        });
    }
    for shards in [1, 16] {
        group.bench_function(format!("append, wake and take, {shards} shards"), |b| {
            let hub = Hub::default();
            let mut source = Source::new(&hub);
            let readers = readers(&hub, 1, shards);
            let mut next: Vec<u64> = readers.iter().map(Reader::next).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let mut batches = Vec::new();
            let mut tick = 0;
            b.iter(|| {
                source.push();
                source.publisher.wake();
                tick += 1;
                for (reader, next) in readers.iter().zip(&mut next) {
                    runtime.block_on(reader.moved());
                    *next = reader.flush(*next, Some(tick), &mut batches).expect("it kept up");
                    reader.set_floor(*next);
                    black_box(&batches);
                    batches.clear();
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hub);
criterion_main!(benches);
