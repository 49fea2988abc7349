//! Segments of MPEG-TS.

use bytes::BytesMut;
use mill_media::frame::{Frame, Millis};
use mill_media::ts::mux::{self, Unfit};
use mill_packager::hls::Muxer;

/// The container of HLS up to version 3 of its playlists.
#[derive(Debug)]
pub(super) struct Ts {
    muxer: mux::Muxer,
    /// Sound is timed by its samples alone.
    counted: bool,
    /// What a header said that cannot be carried; told with the next frame that cannot be carried.
    unfit: Option<Unfit>,
}

impl Ts {
    pub(super) fn new(counted: bool) -> Self {
        Self { muxer: muxer(counted), counted, unfit: None }
    }
}

fn muxer(counted: bool) -> mux::Muxer {
    let mut muxer = mux::Muxer::new();
    muxer.count_samples(counted);
    muxer
}

impl Muxer for Ts {
    type Error = Unfit;

    fn header(&mut self, frame: &Frame) {
        // Headers make no packets.
        if let Err(unfit) = self.muxer.write(frame, &mut BytesMut::new()) {
            self.unfit = Some(unfit);
        }
    }

    fn begin(&mut self, _: Millis, discontinuity: bool, out: &mut BytesMut) {
        if discontinuity {
            self.muxer.mark_discontinuity();
        }
        self.muxer.write_tables(out);
    }

    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<bool, Unfit> {
        let before = out.len();
        self.muxer.write(frame, out)?;
        // Nothing is held back.
        if out.len() > before {
            return Ok(true);
        }
        self.unfit.take().map_or(Ok(false), Err)
    }

    fn end(&mut self, _: &mut BytesMut) {}

    fn reset(&mut self) {
        *self = Self::new(self.counted);
    }
}
