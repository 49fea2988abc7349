//! An RTMP peer that publishes.
//!
//! The peer's task is the publisher: it holds the hub's handle and pushes every message as it comes, so
//! the cost of a message does not depend on who watches. It ends when the peer says so, is silent for too
//! long, or goes.

use std::time::{Duration, Instant};

use mill_config::model;
use mill_rtmp::command::{Publish, code};
use mill_rtmp::session::server::{Event, Style};
use tracing::info;

use super::collect::Collect;
use super::{Connection, End, Waited};
use crate::attach::Attached;
use crate::clients::Kind;
use crate::reload::Follow;
use crate::session::admit::{self, Publishing};
use crate::session::intake::Intake;

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
            peer.rtmp.reject_publish(code::PUBLISH_DENIED, &end.to_string());
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
    let is_edge = u8::from(vhost.cluster.is_edge());
    info!("source url={}, is_edge={is_edge}", admit::stream_url(publisher.stream().id()));
    info!(
        "start publish mr={}/{}, p1stpt={}, pnt={}, tcp_nodelay=1",
        u8::from(conf.merged_read),
        conf.merged_read_latency.as_millis(),
        conf.first_packet_timeout.as_millis(),
        conf.normal_timeout.as_millis()
    );
    let intake = Intake::new(publisher, conf.parse_sps);
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
    let ended = follow(peer, intake, &mut watch, collect, &attached).await;
    drop(attached);
    drop(presence);
    info!("cleanup when unpublish");
    ended
}

async fn follow(
    peer: &mut Connection,
    mut intake: Intake,
    watch: &mut Watchdog,
    mut collect: Collect<'_>,
    attached: &Attached,
) -> Result<(), End> {
    let mut conf = Follow::new(&intake.publisher.stream().id().vhost);
    loop {
        if let Some(vhost) = conf.news(&peer.ctx.config) {
            watch.adopt(&vhost.publish);
            intake.parse_sps = vhost.publish.parse_sps;
            collect.adopt(&vhost);
        }
        if attached.is_lost() {
            // Before it closes: viewers here need not wait for that.
            drop(intake);
            let end = End::OriginLost;
            peer.rtmp.reject_publish(code::FAILED, &end.to_string());
            return Err(peer.close(end).await);
        }
        while let Some(event) = peer.poll()? {
            match event {
                Event::Media(message) => {
                    watch.any = true;
                    intake.take(message.message_type, message.timestamp, message.payload);
                }
                Event::Unpublish => return Ok(()),
                _ => {}
            }
        }
        intake.publisher.wake();
        let viewers = intake.publisher.stream().audience();
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
