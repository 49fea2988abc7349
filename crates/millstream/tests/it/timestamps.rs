//! Time on its way from the publisher to the viewers: 24- and 32-bit wrap-around, jumps, and the three modes
//! of `time_jitter`.

use crate::harness::client::{Player, Publisher};
use crate::harness::media::{FlvViewer, Viewer, aac, avc, kind};
use crate::harness::server::{Conf, Server};
use mill_media::flv::demux::Tag;

/// FLV and SRS's RTMP have 31 bits of milliseconds.
const MASK: u32 = 0x7fff_ffff;

/// What viewers over RTMP and over HTTP-FLV see when frames are published at these times; both joined before.
fn delivered(jitter: &str, times: &[u32]) -> [Vec<u32>; 2] {
    let server = Server::start(&Conf::vhost(&format!("play {{ time_jitter {jitter}; }}")));
    let mut publisher = Publisher::start(&server, "live/s");
    let mut rtmp = Player::start(&server, "live/s");
    let mut flv = FlvViewer::open(&server, "/live/s.flv");
    publisher.headers(times[0]);
    for (n, time) in times.iter().enumerate() {
        let n = n as u32;
        match n % 3 {
            0 => publisher.send(9, *time, &avc(n == 0, n, 300)),
            1 => publisher.send(8, *time, &aac(n)),
            _ => publisher.send(9, *time, &avc(false, n, 300)),
        }
    }
    let last = times.len() as u32 - 1;
    let times = |tags: Vec<Tag>| -> Vec<u32> {
        let frames = tags.iter().filter(|tag| kind(tag).is_some_and(|kind| !kind.is_header()));
        frames.map(|tag| tag.timestamp & MASK).collect()
    };
    let both = [times(rtmp.until_serial(last)), times(flv.until_serial(last))];
    for times in &both {
        assert_eq!(times.len(), last as usize + 1);
    }
    both
}

fn steps(times: &[u32]) -> Vec<u32> {
    times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) & MASK).collect()
}

/// From a little before `edge` to a little after it, in uneven steps.
fn across(edge: u64) -> Vec<u32> {
    (0..60u64).map(|n| (edge - 700 + 23 * n + n % 3) as u32).collect()
}

const EDGE_24: u64 = 1 << 24;
const EDGE_31: u64 = 1 << 31;
const EDGE_32: u64 = 1 << 32;

#[test]
fn full_keeps_real_steps_across_every_edge_and_starts_near_zero() {
    for edge in [EDGE_24, EDGE_31, EDGE_32] {
        let input = across(edge);
        for output in delivered("full", &input) {
            assert_eq!(steps(&output), steps(&input), "edge {edge:#x}");
            assert!(output[0] <= 10, "edge {edge:#x} starts at {}", output[0]);
            assert!(output.is_sorted(), "edge {edge:#x}: {output:?}");
        }
    }
}

#[test]
fn off_passes_times_as_they_are_across_every_edge() {
    for edge in [EDGE_24, EDGE_31, EDGE_32] {
        let input = across(edge);
        let expected: Vec<u32> = input.iter().map(|t| t & MASK).collect();
        for output in delivered("off", &input) {
            assert_eq!(output, expected, "edge {edge:#x}");
        }
    }
}

#[test]
fn zero_only_moves_the_start() {
    let input = [5000, 5040, 5080, 9000, 9040];
    for output in delivered("zero", &input) {
        assert_eq!(output, [0, 40, 80, 4000, 4040]);
    }
}

#[test]
fn full_closes_large_gaps_forward_and_back() {
    // Steps of more than a quarter of a second either way become ten milliseconds; smaller ones are real.
    let input = [0, 40, 80, 100_000, 100_040, 100_240, 500, 540, 520];
    for output in delivered("full", &input) {
        assert_eq!(steps(&output)[..7], [40, 40, 10, 40, 200, 10, 40]);
    }
}

#[test]
fn off_shows_the_gap() {
    let input = [0, 40, 100_000, 100_040];
    for output in delivered("off", &input) {
        assert_eq!(output, input);
    }
}
