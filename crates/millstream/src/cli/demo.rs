//! `millstream demo`: a stream to look at, without an encoder.
//!
//! A short clip is embedded in the program. It is published over RTMP to this very server, as any encoder
//! would, in a loop whose timestamps go on. If the connection is lost it is made again after a moment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_config::model::{DEFAULT_VHOST, Snapshot};
use mill_media::flv::demux::{Demuxer, Tag};
use mill_media::flv::tag;
use tokio::time::{sleep, sleep_until};
use tracing::warn;

use crate::relay::client::{self, Outgoing};
use crate::relay::dial::Dialer;
use crate::relay::target::{Server, Target};
use crate::session::Context;

/// Made from ffmpeg's test sources by `cargo xtask clip`.
static CLIP: &[u8] = include_bytes!("../../assets/demo.flv");

const APP: &str = "live";
const STREAM: &str = "livestream";
const RETRY: Duration = Duration::from_secs(1);

/// What to tell whoever started the demo.
pub(crate) fn invitation(snapshot: &Snapshot) -> String {
    let mut text = String::from("A test stream is being published. Watch it at\n");
    let mut urls = Vec::new();
    if let Some(address) = snapshot.global.listen.first() {
        urls.push(format!("rtmp://{}/{APP}/{STREAM}", reachable(*address)));
    }
    if snapshot.http_server.enabled
        && let Some(address) = snapshot.http_server.listen.first()
    {
        urls.push(format!("http://{}/{APP}/{STREAM}.flv", reachable(*address)));
    }
    for url in &urls {
        text.push_str(&format!("  {url}\n"));
    }
    if let Some(url) = urls.last() {
        text.push_str(&format!("for instance with: ffplay {url}\nEnd with Ctrl-C.\n"));
    }
    text
}

/// An address one can connect to, for one that is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Publishes the clip until the task is ended.
pub(crate) async fn publish(ctx: Arc<Context>) {
    let Some(address) = ctx.config.load().global.listen.first().copied().map(reachable) else {
        return warn!("demo: there is no RTMP address to publish to");
    };
    let server = Server { host: address.ip().to_string(), port: address.port(), tls: false };
    let target = Target::new(server, DEFAULT_VHOST, APP, STREAM, "");
    let clip = Clip::embedded();
    loop {
        let end = publish_once(&ctx.dialer, &clip, &target).await;
        warn!("demo: {end}");
        sleep(RETRY).await;
    }
}

async fn publish_once(dialer: &Dialer, clip: &Clip, target: &Target) -> client::Error {
    let mut outgoing = match Outgoing::open(dialer, target, &client::Options::default()).await {
        Ok(outgoing) => outgoing,
        Err(e) => return e,
    };
    let mut playout = Playout::start(clip);
    loop {
        while let Some((tag, timestamp)) = playout.due(Instant::now()) {
            outgoing.put_message(tag.tag_type, timestamp, &tag.body);
        }
        if let Err(e) = outgoing.flush().await {
            return e;
        }
        tokio::select! {
            end = outgoing.ended() => return end,
            () = sleep_until(playout.next().into()) => {}
        }
    }
}

/// The clip, taken apart.
struct Clip {
    /// Metadata and decoder configurations: sent once.
    headers: Vec<Tag>,
    /// The frames of one round, the first at time zero.
    frames: Vec<Tag>,
    /// Time from one round to the next, in milliseconds.
    length: u32,
}

impl Clip {
    fn embedded() -> Self {
        let mut demuxer = Demuxer::new();
        demuxer.feed(CLIP);
        let tags =
            std::iter::from_fn(|| demuxer.next().expect("the embedded clip is sound; a test reads it"));
        let is_header =
            |tag: &Tag| tag::classify(tag.tag_type, &tag.body).is_none_or(|kind| kind.is_header());
        let (headers, mut frames): (Vec<_>, Vec<_>) = tags.partition(is_header);
        frames.retain(|tag| !is_end(tag));
        let start = frames.first().map_or(0, |tag| tag.timestamp);
        frames.iter_mut().for_each(|tag| tag.timestamp -= start);
        // The next round begins one video frame after the last frame of this one.
        let mut video = frames.iter().filter(|tag| tag.tag_type == 9).map(|tag| tag.timestamp);
        let interval = video.next().zip(video.next()).map_or(40, |(first, second)| second - first);
        let length =
            frames.iter().filter(|t| t.tag_type == 9).map(|t| t.timestamp).max().unwrap_or(0) + interval;
        Self { headers, frames, length }
    }
}

/// The tag with which ffmpeg closes a file: AVC end of sequence.
fn is_end(tag: &Tag) -> bool {
    tag.tag_type == 9 && tag.body.starts_with(&[0x17, 2])
}

/// Where in the endless loop a publish is.
struct Playout<'a> {
    clip: &'a Clip,
    begun: Instant,
    headers_sent: usize,
    round: u32,
    place: usize,
}

impl<'a> Playout<'a> {
    fn start(clip: &'a Clip) -> Self {
        Self { clip, begun: Instant::now(), headers_sent: 0, round: 0, place: 0 }
    }

    /// Timestamp of the next frame, in milliseconds.
    fn timestamp(&self) -> u32 {
        let frame = self.clip.frames.get(self.place).map_or(0, |tag| tag.timestamp);
        self.round.wrapping_mul(self.clip.length).wrapping_add(frame)
    }

    /// When it is due.
    fn next(&self) -> Instant {
        let frame = self.clip.frames.get(self.place).map_or(0, |tag| tag.timestamp);
        let rounds = Duration::from_millis(u64::from(self.clip.length)) * self.round;
        self.begun + rounds + Duration::from_millis(u64::from(frame))
    }

    /// The next tag that is due by `now`, and its timestamp.
    fn due(&mut self, now: Instant) -> Option<(&'a Tag, u32)> {
        if let Some(header) = self.clip.headers.get(self.headers_sent) {
            self.headers_sent += 1;
            return Some((header, 0));
        }
        if self.next() > now {
            return None;
        }
        let item = (self.clip.frames.get(self.place)?, self.timestamp());
        self.place += 1;
        if self.place == self.clip.frames.len() {
            self.place = 0;
            self.round += 1;
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_goes_on_without_a_seam() {
        let clip = Clip::embedded();
        assert!(clip.frames.len() > 400, "about ten seconds");
        let mut playout = Playout::start(&clip);
        let late = playout.begun + Duration::from_secs(25);
        let mut last = [None, None];
        let mut keyframes = 0;
        while let Some((tag, timestamp)) = playout.due(late) {
            let Some(kind) = tag::classify(tag.tag_type, &tag.body).filter(|k| !k.is_header()) else {
                continue;
            };
            let last = &mut last[usize::from(kind.is_video())];
            if let Some(before) = last.replace(timestamp) {
                assert!((1..=60).contains(&(timestamp - before)), "{before} then {timestamp}");
            }
            keyframes += u32::from(kind == mill_media::frame::FrameKind::Keyframe);
        }
        assert!(keyframes >= 12);
    }
}
