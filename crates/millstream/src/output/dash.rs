//! DASH: what the common task ([`super::package`]) must know of it.

use std::time::Duration;

use bytes::Bytes;
use mill_config::model::{Dash, Vhost};
use mill_media::frame::{Frame, Millis};
use mill_packager::action::Action;
use mill_packager::dash::{Options, Packager};
use mill_packager::path::{self, StreamName};

use super::package::{Format, Rules};
use super::shelf::Caching;
use crate::clients::Kind;

/// What players take the manifest for.
pub(crate) const MANIFEST: &str = "application/dash+xml";

impl Format for Packager {
    const NAME: &'static str = "dash";

    const VIEWERS: Kind = Kind::DashPlay;

    type Conf = Dash;

    fn conf(vhost: &Vhost) -> &Dash {
        &vhost.dash
    }

    fn rules(conf: &Dash) -> Rules<'_> {
        let Dash { enabled, dispose, timeshift, .. } = *conf;
        Rules { enabled, path: &conf.path, dispose, window: timeshift.max(conf.fragment * 4) }
    }

    fn goes_on_under(old: &Dash, new: &Dash) -> bool {
        old.goes_on_under(new)
    }

    fn new(conf: &Dash, name: StreamName) -> Result<Self, path::Error> {
        let options = Options {
            fragment: millis(conf.fragment),
            update: millis(conf.update_period),
            time_shift: millis(conf.timeshift),
            window: conf.window_size,
            directory: conf.path.clone(),
            manifest: conf.mpd_file.clone(),
            cleanup: conf.cleanup,
        };
        Self::new(options, name)
    }

    fn index_path(&self) -> &str {
        self.manifest_path()
    }

    fn index(&self) -> Option<Bytes> {
        self.manifest().map(Bytes::from)
    }

    fn resume(&mut self, index: &[u8]) -> bool {
        std::str::from_utf8(index).is_ok_and(|text| self.resume(text))
    }

    fn files(&self) -> Vec<String> {
        self.files()
    }

    /// Types as SRS; names of segments are never used twice.
    fn kind(conf: &Dash, path: &str) -> (&'static str, Caching) {
        let keep = Caching::For(conf.timeshift.max(Duration::from_secs(1)));
        match path.rsplit('.').next() {
            Some("m4s") => ("video/iso.segment", keep),
            Some("mp4") => ("video/mp4", keep),
            _ => (MANIFEST, Caching::Revalidate),
        }
    }

    fn push(&mut self, frame: &Frame, now: i64) {
        self.push(frame, now);
    }

    fn end(&mut self, now: i64) {
        self.end(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.poll_action()
    }

    fn done(&mut self) {
        self.done();
    }

    fn dispose(&mut self) {
        self.dispose();
    }
}

pub(super) fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}
