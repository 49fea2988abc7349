//! From a published stream to another server: what forwards and edges have in common.
//!
//! The tap is read in small pieces, each of which is sent before the next is taken. So what a slow server does not take
//! stands in the tap, and is left out there, up to the newest keyframe, when there is too much of it. Bounded by
//! `queue_length`, [`MAX_BYTES`] and [`PIECE`].

use mill_config::model::Vhost;
use mill_hub::{Tap, TapOptions, Tapped};
use mill_media::frame::Millis;
use tokio::sync::oneshot;

use super::client::{Error, Outgoing};

/// What may stand in line for a slow server, beside `queue_length`.
const MAX_BYTES: usize = 16 << 20;

/// What is put on the way to a server at a time.
const PIECE: usize = 128 << 10;

/// Is told what has become of frames.
pub(super) trait Meter {
    /// So many bytes more were sent.
    fn sent(&self, bytes: u64);

    /// So many frames were left out because the server is too slow.
    fn lost(&self, frames: u64);
}

/// How much of a stream of this vhost may wait.
pub(super) fn waiting(vhost: &Vhost) -> TapOptions {
    let max_time = Millis::try_from(vhost.play.queue_length.as_millis()).unwrap_or(Millis::MAX);
    TapOptions { from_gop: true, max_bytes: MAX_BYTES, max_time }
}

/// Sends what the tap gives until it ends or somebody says stop; then the rest is on its way, for
/// [`Outgoing::close`].
pub(super) async fn feed(
    tap: &mut Tap,
    out: &mut Outgoing,
    stop: &mut oneshot::Receiver<()>,
    meter: &impl Meter,
) -> Result<(), Error> {
    let mut taken = Vec::new();
    let mut counted = 0;
    loop {
        let open = tokio::select! {
            open = tap.next_some(&mut taken, PIECE) => open,
            end = out.ended() => return Err(end),
            _ = &mut *stop => false,
        };
        put(&mut taken, out, meter);
        let stopped = tokio::select! {
            flushed = out.flush(), if open => {
                flushed?;
                false
            }
            _ = &mut *stop, if open => true,
            else => true,
        };
        let sent = out.sent();
        meter.sent(sent - counted);
        counted = sent;
        if stopped {
            tap.take(&mut taken);
            put(&mut taken, out, meter);
            return Ok(());
        }
    }
}

fn put(taken: &mut Vec<Tapped>, out: &mut Outgoing, meter: &impl Meter) {
    for tapped in taken.drain(..) {
        match tapped {
            Tapped::Frame(frame) => out.put(frame.kind, frame.dts as u32, &frame.payload),
            Tapped::Lagged { frames } => meter.lost(frames),
        }
    }
}
