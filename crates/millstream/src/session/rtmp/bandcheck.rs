//! An RTMP peer that tests how much its line carries: SRS's bandwidth test, in place of a stream.
//!
//! Three seconds down, three seconds up, neither faster than `limit_kbps`; then the peer hears both rates. Bounded:
//! each answer of the peer by [`PATIENCE`], so the whole test by their sum; what it sends by the limit while it is
//! measured and by [`MAX_LATE`] afterwards; how often there is a test by `interval`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mill_config::model::Bandcheck;
use mill_media::amf0::Object;
use mill_rtmp::bandcheck as say;
use mill_rtmp::session::server::Event;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use tracing::info;

use super::{Connection, End, Waited};

/// Each direction is measured for so long.
const LENGTH: Duration = Duration::from_secs(3);

/// A peer that does not say the next word in this time is gone.
const PATIENCE: Duration = Duration::from_secs(6);

/// Pauses of whoever is faster than the limit.
const PAUSE: Duration = Duration::from_millis(100);

/// Texts in one command of data: some 20 kB. SRS lets them grow for as long as the test lasts.
const MAX_TEXTS: usize = 401;

/// What a peer may still send after it was told to stop: what is on its way, and no more.
const MAX_LATE: u64 = 32 << 20;

/// Why a test was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("bandwidth test with a wrong key")]
    Key,
    #[error("bandwidth test too soon after the last one")]
    TooSoon,
}

impl Refused {
    /// SRS's number for it.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Key => 1032,
            Self::TooSoon => 1033,
        }
    }
}

/// When the last test began; one for the whole server, because tests share its line.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<Option<Instant>>);

impl Gate {
    /// Lets a peer test that gave the key in its URL, if the last test is old enough.
    pub(super) fn admit(&self, conf: &Bandcheck, tc_url: &str) -> Result<(), Refused> {
        let has_key =
            || tc_url.split(['?', '&', ',']).any(|part| part.strip_prefix("key=") == Some(&conf.key));
        if !conf.key.is_empty() && !has_key() {
            return Err(Refused::Key);
        }
        let mut last = self.0.lock();
        if last.is_some_and(|last| last.elapsed() < conf.interval) {
            return Err(Refused::TooSoon);
        }
        *last = Some(Instant::now());
        Ok(())
    }
}

/// What one direction came to.
struct Measured {
    bytes: u64,
    time: Duration,
}

impl Measured {
    fn since(begun: Instant, bytes: u64) -> Self {
        Self { bytes, time: begun.elapsed() }
    }

    fn kbps(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.millis().max(1.0)
    }

    fn millis(&self) -> f64 {
        self.time.as_millis() as f64
    }

    fn report(&self) -> Object {
        Object::new()
            .with("duration_ms", LENGTH.as_millis() as f64)
            .with("interval_ms", 0.0)
            .with("duration_delta", self.millis())
            .with("bytes_delta", self.bytes as f64)
    }
}

/// Does the test with a peer that was told it may.
pub(super) async fn run(peer: &mut Connection, conf: &Bandcheck) -> Result<(), End> {
    let limit = f64::from(conf.limit_kbps);
    // Flash clients speak a shorter form.
    let flash = !peer.peer.swf_url.is_empty();
    let start = unix_millis();
    let announce = || {
        Object::new()
            .with("limit_kbps", limit)
            .with("duration_ms", LENGTH.as_millis() as f64)
            .with("interval_ms", 0.0)
    };

    tell(peer, say::START_PLAY, announce()).await?;
    expect(peer, say::STARTING_PLAY).await?;
    let play = timeout(LENGTH + PATIENCE, send(peer, limit)).await.map_err(|_| End::NotReading)??;
    tell(peer, say::STOP_PLAY, play.report()).await?;
    expect(peer, say::STOPPED_PLAY).await?;

    tell(peer, say::START_PUBLISH, announce()).await?;
    expect(peer, say::STARTING_PUBLISH).await?;
    let publish = receive(peer, limit).await?;
    tell(peer, say::STOP_PUBLISH, publish.report()).await?;
    if !flash {
        expect(peer, say::STOPPED_PUBLISH).await?;
    }

    let result = Object::new()
        .with("start_time", start)
        .with("end_time", unix_millis())
        .with("play_kbps", play.kbps().round())
        .with("publish_kbps", publish.kbps().round())
        .with("play_bytes", play.bytes as f64)
        .with("publish_bytes", publish.bytes as f64)
        .with("play_time", play.millis())
        .with("publish_time", publish.millis());
    tell(peer, say::FINISHED, result).await?;
    info!("bandcheck finished, play_kbps={:.0}, publish_kbps={:.0}", play.kbps(), publish.kbps());
    if !flash {
        expect(peer, say::FINAL).await?;
    }
    super::linger(peer).await;
    Ok(())
}

/// Sends data for [`LENGTH`].
async fn send(peer: &mut Connection, limit: f64) -> Result<Measured, End> {
    let (begun, before) = (Instant::now(), peer.peer.traffic.sent());
    let mut texts = 1;
    loop {
        peer.rtmp.send_test(&say::data(say::PLAYING, texts));
        peer.flush().await?;
        texts = (texts + 2).min(MAX_TEXTS);
        loop {
            let so_far = Measured::since(begun, peer.peer.traffic.sent() - before);
            if so_far.time >= LENGTH {
                return Ok(so_far);
            }
            if so_far.kbps() <= limit {
                break;
            }
            sleep(PAUSE.min(LENGTH - so_far.time)).await;
        }
    }
}

/// Takes data for [`LENGTH`].
async fn receive(peer: &mut Connection, limit: f64) -> Result<Measured, End> {
    let (begun, before) = (Instant::now(), peer.peer.traffic.received());
    let end = begun + LENGTH;
    loop {
        while peer.poll()?.is_some() {}
        let so_far = Measured::since(begun, peer.peer.traffic.received() - before);
        if so_far.time >= LENGTH {
            return Ok(so_far);
        }
        if so_far.kbps() > limit {
            sleep(PAUSE.min(LENGTH - so_far.time)).await;
        } else {
            peer.wait(Some(end), None).await?;
        }
    }
}

async fn tell(peer: &mut Connection, name: &str, object: Object) -> Result<(), End> {
    peer.rtmp.send_test(&say::command(name, object));
    peer.flush().await
}

/// Waits for a word, whatever else comes before it.
async fn expect(peer: &mut Connection, name: &str) -> Result<(), End> {
    let end = Instant::now() + PATIENCE;
    let before = peer.peer.traffic.received();
    loop {
        while let Some(event) = peer.poll()? {
            if matches!(event, Event::Test(said) if said == name) {
                return Ok(());
            }
        }
        if peer.peer.traffic.received() - before > MAX_LATE {
            return Err(mill_rtmp::Error::Limit { what: "bandwidth test", limit: MAX_LATE as usize }.into());
        }
        if peer.wait(Some(end), None).await? == Waited::Tick && Instant::now() >= end {
            return Err(End::Silent(PATIENCE));
        }
    }
}

fn unix_millis() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_millis() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(key: &str, interval: u64) -> Bandcheck {
        let interval = Duration::from_secs(interval);
        Bandcheck { enabled: true, key: key.into(), interval, limit_kbps: 1000 }
    }

    #[test]
    fn the_key_is_a_whole_parameter() {
        let gate = Gate::default();
        let admit = |url: &str| gate.admit(&conf("abc", 0), url);
        for url in ["rtmp://h/app?key=abc", "rtmp://h/app?vhost=v&key=abc", "rtmp://h/app?key=abc,vhost=v"] {
            assert_eq!(admit(url), Ok(()), "{url}");
        }
        for url in ["rtmp://h/app", "rtmp://h/app?key=", "rtmp://h/app?key=abcd", "rtmp://h/app?xkey=abc"] {
            assert_eq!(admit(url), Err(Refused::Key), "{url}");
        }
        assert_eq!(gate.admit(&conf("", 0), "rtmp://h/app"), Ok(()));
    }

    #[test]
    fn a_wrong_key_does_not_use_up_the_interval() {
        let gate = Gate::default();
        assert_eq!(gate.admit(&conf("abc", 60), "rtmp://h/app"), Err(Refused::Key));
        assert_eq!(gate.admit(&conf("abc", 60), "rtmp://h/app?key=abc"), Ok(()));
        assert_eq!(gate.admit(&conf("abc", 60), "rtmp://h/app?key=abc"), Err(Refused::TooSoon));
    }
}
