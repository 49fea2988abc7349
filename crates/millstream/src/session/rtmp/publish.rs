//! An RTMP peer that publishes.
//!
//! The peer's task is the publisher: it holds the hub's handle and pushes every message as it comes, so
//! the cost of a message does not depend on who watches. It ends when the peer says so, is silent for too
//! long, or goes.

use std::time::{Duration, Instant};

use mill_config::model;
use mill_hub::Publisher;
use mill_media::flv::script::Metadata;
use mill_media::flv::tag;
use mill_media::frame::FrameKind;
use mill_rtmp::command::Publish;
use mill_rtmp::message::{Message, types};
use mill_rtmp::session::server::{Event, Style};
use tracing::{debug, info, warn};

use super::collect::Collect;
use super::{Connection, End, Waited};
use crate::clients::Kind;
use crate::identity;
use crate::reload::Follow;
use crate::session::admit::{self, Publishing};

/// Metadata and decoder configurations are given to every newcomer and repeated at every keyframe, so they must
/// be small. Real ones have some hundred bytes, with ICC profiles a few thousand.
const MAX_HEADER: usize = 64 * 1024;

/// A publisher that is silent looks so often whether its settings have changed.
const LOOK: Duration = Duration::from_secs(1);

/// Serves a publish from the request to its end. `Ok`: the peer may ask for something else.
pub(super) async fn run(peer: &mut Connection, request: Publish, style: Style) -> Result<(), End> {
    let kind = match style {
        Style::Fmle => Kind::FmlePublish,
        Style::Haivision => Kind::HaivisionPublish,
        Style::Flash => Kind::FlashPublish,
    };
    let asked = match peer.request(&request.stream_name, kind) {
        Ok(asked) => asked,
        Err(end) => {
            peer.rtmp.reject_publish(mill_rtmp::command::code::PUBLISH_DENIED, &end.to_string());
            return Err(peer.close(end).await);
        }
    };
    let admitted = peer.admit(asked, admit::publish).await?;
    let Publishing { vhost, publisher, attached, presence } = match admitted {
        Ok(publishing) => publishing,
        Err(refusal) => return Err(peer.refuse_publish(refusal).await),
    };
    peer.rtmp.accept_publish();
    let conf = &vhost.publish;
    info!("source url={}, is_edge=0", admit::stream_url(publisher.stream().id()));
    info!(
        "start publish mr={}/{}, p1stpt={}, pnt={}, tcp_nodelay=1",
        u8::from(conf.merged_read),
        conf.merged_read_latency.as_millis(),
        conf.first_packet_timeout.as_millis(),
        conf.normal_timeout.as_millis()
    );
    let feed = Feed { publisher, parse_sps: conf.parse_sps, strange: 0 };
    let mut watch = Watchdog {
        first: conf.first_packet_timeout,
        normal: conf.normal_timeout,
        idle: conf.kickoff_for_idle,
        heard: Instant::now(),
        messages: peer.rtmp.messages_received(),
        watched: Instant::now(),
        any: false,
    };
    let ctx = peer.ctx.clone();
    let collect = Collect::new(&ctx.publishers, &ctx.fanout, &vhost);
    let ended = follow(peer, feed, &mut watch, collect).await;
    drop(attached);
    drop(presence);
    info!("cleanup when unpublish");
    ended
}

async fn follow(
    peer: &mut Connection,
    mut feed: Feed,
    watch: &mut Watchdog,
    mut collect: Collect<'_>,
) -> Result<(), End> {
    let mut conf = Follow::new(&feed.publisher.stream().id().vhost);
    loop {
        if let Some(vhost) = conf.news(&peer.ctx.config) {
            watch.adopt(&vhost.publish);
            feed.parse_sps = vhost.publish.parse_sps;
            collect.adopt(&vhost);
        }
        while let Some(event) = peer.poll()? {
            match event {
                Event::Media(message) => {
                    watch.any = true;
                    feed.take(message);
                }
                Event::Unpublish => return Ok(()),
                _ => {}
            }
        }
        feed.publisher.wake();
        let viewers = feed.publisher.stream().viewers();
        watch.note(peer.rtmp.messages_received(), viewers);
        let rest = match peer.drained {
            true => collect.rest(peer.peer.traffic.received(), viewers > 0),
            false => None,
        };
        if rest.is_some() {
            // While it rests no alarm goes off.
            watch.check()?;
        }
        if peer.wait(Some(watch.next()), rest).await? == Waited::Tick {
            watch.check()?;
        }
    }
}

/// Notices a publisher that has fallen silent, or that nobody wants.
struct Watchdog {
    first: Duration,
    normal: Duration,
    /// Zero: never.
    idle: Duration,
    heard: Instant,
    /// Messages received when it was last heard of: a byte now and then is not a sign of life.
    messages: u64,
    watched: Instant,
    any: bool,
}

impl Watchdog {
    fn patience(&self) -> Duration {
        if self.any { self.normal } else { self.first }
    }

    /// Goes by other settings from now on.
    fn adopt(&mut self, conf: &model::Publish) {
        self.first = conf.first_packet_timeout;
        self.normal = conf.normal_timeout;
        self.idle = conf.kickoff_for_idle;
    }

    /// When to look again, at the latest.
    fn next(&self) -> Instant {
        let silent = self.heard + self.patience();
        let due = if self.idle.is_zero() { silent } else { silent.min(self.watched + self.idle) };
        due.min(Instant::now() + LOOK)
    }

    /// Takes note of signs of life, from the publisher and from its viewers.
    fn note(&mut self, messages: u64, viewers: usize) {
        if messages != self.messages {
            self.messages = messages;
            self.heard = Instant::now();
        }
        if viewers > 0 {
            self.watched = Instant::now();
        }
    }

    fn check(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now >= self.heard + self.patience() {
            return Err(End::Silent(self.patience()));
        }
        if !self.idle.is_zero() && now >= self.watched + self.idle {
            return Err(End::Idle(self.idle));
        }
        Ok(())
    }
}

/// From RTMP messages to the hub's frames.
struct Feed {
    publisher: Publisher,
    parse_sps: bool,
    /// Messages nobody could place.
    strange: u64,
}

impl Feed {
    fn take(&mut self, message: Message) {
        let Message { message_type, timestamp, payload, .. } = message;
        if message_type == types::DATA {
            return self.take_data(timestamp, &payload);
        }
        match tag::classify(message_type, &payload) {
            Some(kind) => {
                if kind.is_header() && payload.len() > MAX_HEADER {
                    warn!("{}B decoder configuration left out, more than {MAX_HEADER}", payload.len());
                    return;
                }
                if kind.is_header() {
                    self.describe(kind, &payload);
                }
                self.publisher.push(kind, timestamp, payload);
            }
            None => self.strange += 1,
        }
    }

    /// Metadata is passed on in our name; other script data is not passed on, as in SRS.
    fn take_data(&mut self, timestamp: u32, payload: &[u8]) {
        if payload.len() > MAX_HEADER {
            return warn!("{}B script data left out, more than {MAX_HEADER}", payload.len());
        }
        match Metadata::parse(payload) {
            Ok(metadata) => {
                info!(
                    "got metadata, width={}, height={}, audio={}, video={}",
                    metadata.width().unwrap_or(0),
                    metadata.height().unwrap_or(0),
                    metadata.has_audio(),
                    metadata.has_video()
                );
                let payload = metadata.normalised(identity::SERVER, identity::VERSION);
                self.publisher.push(FrameKind::Metadata, timestamp, payload);
            }
            Err(e) => debug!("script data left out: {e}"),
        }
    }

    fn describe(&self, kind: FrameKind, payload: &bytes::Bytes) {
        let bytes = payload.len();
        if kind == FrameKind::AudioHeader {
            match mill_media::codec::audio_info(payload) {
                Some(a) => info!(
                    "{bytes}B audio sh, codec({}, profile={}, {}channels, {}HZ)",
                    a.codec.name(),
                    a.profile,
                    a.channels,
                    a.sample_rate
                ),
                None => warn!("{bytes}B audio sh, not understood; passed on as it is"),
            }
        } else if kind == FrameKind::VideoHeader && self.parse_sps {
            match mill_media::codec::video_info(payload) {
                Some(v) => info!(
                    "{bytes}B video sh, codec({}, profile={}, level={}, {}x{})",
                    v.codec.name(),
                    v.profile,
                    v.level,
                    v.width,
                    v.height
                ),
                None => warn!("{bytes}B video sh, not understood; passed on as it is"),
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.strange > 0 {
            warn!("{} messages were neither audio, video nor metadata and were left out", self.strange);
        }
    }
}
