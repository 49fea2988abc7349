//! HDS: what the common task ([`super::package`]) must know of it.

use std::time::Duration;

use bytes::Bytes;
use mill_config::model::{Hds, Vhost};
use mill_media::frame::Frame;
use mill_packager::action::Action;
use mill_packager::hds::{Options, Packager};
use mill_packager::path::{self, StreamName};

use super::dash::millis;
use super::package::{Format, Rules};
use super::shelf::Caching;
use crate::clients::Kind;

/// What players take the manifest for.
pub(crate) const MANIFEST: &str = "application/f4m+xml";

impl Format for Packager {
    const NAME: &'static str = "hds";

    const VIEWERS: Kind = Kind::HdsPlay;

    type Conf = Hds;

    fn conf(vhost: &Vhost) -> &Hds {
        &vhost.hds
    }

    fn rules(conf: &Hds) -> Rules<'_> {
        let window = conf.window.max(conf.fragment * 3);
        Rules { enabled: conf.enabled, path: &conf.path, dispose: Duration::ZERO, window }
    }

    fn goes_on_under(old: &Hds, new: &Hds) -> bool {
        old.goes_on_under(new)
    }

    fn new(conf: &Hds, name: StreamName) -> Result<Self, path::Error> {
        let Hds { fragment, window, .. } = *conf;
        let options =
            Options { fragment: millis(fragment), window: millis(window), directory: conf.path.clone() };
        Self::new(options, name)
    }

    fn index_path(&self) -> &str {
        self.bootstrap_path()
    }

    fn index(&self) -> Option<Bytes> {
        self.bootstrap().map(Bytes::from)
    }

    fn resume(&mut self, index: &[u8]) -> bool {
        self.resume(index)
    }

    fn files(&self) -> Vec<String> {
        self.files()
    }

    /// Names of fragments are never used twice. Types as SRS, but for the manifest, which has one.
    fn kind(conf: &Hds, path: &str) -> (&'static str, Caching) {
        match path.rsplit('.').next() {
            Some("f4m") => (MANIFEST, Caching::Revalidate),
            Some("abst") => ("application/octet-stream", Caching::Revalidate),
            _ => ("application/octet-stream", Caching::For(conf.window.max(Duration::from_secs(1)))),
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
