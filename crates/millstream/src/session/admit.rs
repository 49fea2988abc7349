//! The one road by which anybody comes to publish or play, whatever the protocol.
//!
//! identify → vhost → name → options of the stream. (Referer, access rules and callbacks take their place
//! between vhost and name.) The road is walked in the peer's own task, before the peer is told "accepted".

use std::sync::Arc;

use mill_config::model::{self, Snapshot, Vhost};
use mill_hub::{StreamId, StreamOptions, TimeJitter};

use crate::fanout::Pace;

/// Who may go on, and as what.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) stream: StreamId,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no such vhost, and no default vhost")]
    NoVhost,
    #[error("the vhost is disabled")]
    VhostDisabled,
    #[error("the stream has no name")]
    NoName,
    #[error("the stream already has a publisher")]
    Busy,
}

impl Refusal {
    /// SRS's number for it.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::NoVhost | Self::VhostDisabled => 2014,
            Self::NoName => 2051,
            Self::Busy => 1028,
        }
    }
}

/// Decides on a request for `app`/`name` at the vhost a client asked for.
pub(crate) fn admit(config: &Snapshot, vhost: &str, app: &str, name: &str) -> Result<Admitted, Refusal> {
    let vhost = config.vhost(vhost).ok_or(Refusal::NoVhost)?;
    if !vhost.enabled {
        return Err(Refusal::VhostDisabled);
    }
    if name.is_empty() {
        return Err(Refusal::NoName);
    }
    let stream = StreamId { vhost: vhost.name.clone(), app: app.to_owned(), name: name.to_owned() };
    Ok(Admitted { vhost: vhost.clone(), stream })
}

/// What the vhost says about a stream somebody publishes.
pub(crate) fn stream_options(vhost: &Vhost) -> StreamOptions {
    let play = &vhost.play;
    StreamOptions {
        jitter: match play.time_jitter {
            model::TimeJitter::Full => TimeJitter::Full,
            model::TimeJitter::Zero => TimeJitter::Zero,
            model::TimeJitter::Off => TimeJitter::Off,
        },
        mix_correct: play.mix_correct,
        atc: play.atc,
        atc_auto: play.atc_auto,
        gop_cache: play.gop_cache,
        gop_cache_max_frames: play.gop_cache_max_frames as usize,
        queue_length: i64::try_from(play.queue_length.as_millis()).unwrap_or(i64::MAX),
        reduce_sequence_header: play.reduce_sequence_header,
    }
}

/// What the vhost says about delivery to somebody who plays.
pub(crate) fn pace(vhost: &Vhost) -> Pace {
    let longest = if vhost.min_latency { std::time::Duration::ZERO } else { vhost.play.mw_latency };
    Pace { longest, shortest: vhost.play.send_min_interval }
}

/// The stream as SRS writes it in its log: the default vhost is left out.
pub(crate) fn stream_url(stream: &StreamId) -> String {
    if stream.vhost == model::DEFAULT_VHOST {
        format!("/{}/{}", stream.app, stream.name)
    } else {
        stream.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Snapshot {
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap().snapshot
    }

    #[test]
    fn vhosts_decide() {
        let both =
            config("listen 1935; vhost a.com { } vhost off.com { enabled off; } vhost __defaultVhost__ { }");
        assert_eq!(admit(&both, "a.com", "live", "s").unwrap().stream.to_string(), "a.com/live/s");
        let other = admit(&both, "10.0.0.1", "live", "s").unwrap();
        assert_eq!(stream_url(&other.stream), "/live/s");
        assert_eq!(admit(&both, "off.com", "live", "s").unwrap_err(), Refusal::VhostDisabled);
        assert_eq!(admit(&both, "a.com", "live", "").unwrap_err(), Refusal::NoName);
        let strict = config("listen 1935; vhost a.com { }");
        assert_eq!(admit(&strict, "b.com", "live", "s").unwrap_err(), Refusal::NoVhost);
    }
}
