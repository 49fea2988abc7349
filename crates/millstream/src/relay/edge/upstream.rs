//! A stream on its way from an origin, by RTMP or HTTP-FLV: asked for, and there once something of it has come.
//!
//! Bounded: [`Options`] of the client up to the first byte, then [`FIRST`] up to sound or pictures and
//! [`MAX_PRELUDE`] of anything else before them; redirects by [`MAX_REDIRECTS`].

use std::time::Duration;

use bytes::Bytes;
use mill_config::model::Protocol;
use mill_media::amf0::Object;
use mill_media::flv::demux::Tag;
use mill_rtmp::message::Message;
use mill_rtmp::url::DEFAULT_VHOST;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;
use tracing::info;

use super::super::client::{Error, Incoming, MAX_REDIRECTS, Options};
use super::super::dial::{Dialer, LISTENING};
use super::super::flv::FlvStream;
use super::super::target::{Server, Target};
use crate::clients::Kind;

/// An origin that accepts and has nothing yet may be the one where the publisher comes; asked anew after this time,
/// because it may also be one that hangs.
const FIRST: Duration = Duration::from_secs(30);

/// Bytes of data before sound and pictures.
const MAX_PRELUDE: u64 = 1 << 20;

/// SRS's time to connect; commands take milliseconds, but over long lines not half a second as there.
const CONNECT: Duration = Duration::from_secs(5);
const BEGIN: Duration = Duration::from_secs(5);

/// What is asked of origins.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) protocol: Protocol,
    /// Of the origin.
    pub(super) vhost: String,
    pub(super) app: String,
    pub(super) name: String,
    /// Of the first viewer, with the question mark.
    pub(super) param: String,
    /// The edges on the way, this one included.
    pub(super) via: String,
    /// What we say of ourselves, and that.
    pub(super) args: Object,
    pub(super) chunk_size: u32,
}

impl Wanted {
    fn options(&self) -> Options {
        Options {
            connect: CONNECT,
            begin: BEGIN,
            chunk_size: self.chunk_size,
            args: Some(self.args.clone()).filter(|args| !args.is_empty()),
            ..Options::default()
        }
    }

    /// Path and query of the stream over HTTP. The vhost stands in the query, unless it goes without saying.
    fn path(&self) -> String {
        const PART: &AsciiSet =
            &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
        let part = |text| utf8_percent_encode(text, PART);
        let mut query = mill_rtmp::url::without_vhost(&self.param);
        if self.vhost != DEFAULT_VHOST {
            let separator = if query.is_empty() { '?' } else { '&' };
            query += &format!("{separator}vhost={}", part(&self.vhost));
        }
        format!("/{}/{}.flv{query}", part(&self.app), part(&self.name))
    }
}

/// A stream that comes in.
pub(super) struct Upstream {
    pub(super) server: Server,
    /// What came before it was clear that it comes.
    pub(super) first: Vec<Tag>,
    /// It was the source before, and quiet for a while.
    pub(super) resumed: bool,
    /// Bytes that were asked for.
    counted: u64,
    source: Source,
    messages: Vec<Message>,
}

enum Source {
    Rtmp(Box<Incoming>),
    Flv(FlvStream),
}

impl Upstream {
    /// Asks `server`; comes back with the first sound or pictures.
    pub(super) async fn open(dialer: &Dialer, server: &Server, wanted: &Wanted) -> Result<Self, Error> {
        let opened = match wanted.protocol {
            Protocol::Rtmp => Self::rtmp(dialer, server, wanted).await,
            Protocol::Flv | Protocol::Flvs => {
                let stream =
                    FlvStream::open(dialer, server, &wanted.path(), &wanted.via, &wanted.options()).await?;
                let mut upstream = Self::new(server, Source::Flv(stream));
                upstream.begin().await.map(|()| upstream)
            }
        };
        match opened {
            // The stream is over: SRS closes so when the publisher goes, and we do.
            Err(Error::Redirected(_)) => Err(Error::Redirects),
            other => other,
        }
    }

    async fn rtmp(dialer: &Dialer, server: &Server, wanted: &Wanted) -> Result<Self, Error> {
        let Wanted { vhost, app, name, param, .. } = wanted;
        let mut target = Target::new(server.clone(), vhost, app, name, param);
        let options = wanted.options();
        for _ in 0..=MAX_REDIRECTS {
            let asked = async {
                let incoming = Incoming::open(dialer, &target, &options).await?;
                incoming.watch_line(LISTENING).map_err(Error::Connect)?;
                let mut upstream = Self::new(server, Source::Rtmp(Box::new(incoming)));
                upstream.begin().await.map(|()| upstream)
            };
            match asked.await {
                Err(Error::Redirected(there)) => {
                    info!("edge: {} redirects to {}", target.server, there.server);
                    target = *there;
                }
                other => return other,
            }
        }
        Err(Error::Redirects)
    }

    fn new(server: &Server, source: Source) -> Self {
        let (first, messages) = (Vec::new(), Vec::new());
        Self { server: server.clone(), first, resumed: false, counted: 0, source, messages }
    }

    /// Waits for a source that has been quiet; comes back with what it sends then.
    pub(super) async fn go_on(mut self, limit: Duration) -> Result<Self, Error> {
        let mut tags = Vec::new();
        timeout(limit, self.receive(&mut tags)).await.map_err(|_| Error::Silent(limit))??;
        (self.first, self.resumed) = (tags, true);
        Ok(self)
    }

    /// Waits for the first sound or pictures.
    async fn begin(&mut self) -> Result<(), Error> {
        let mut first = Vec::new();
        let media = async {
            loop {
                let seen = first.len();
                self.receive(&mut first).await?;
                if first[seen..].iter().any(|tag: &Tag| matches!(tag.tag_type, 8 | 9)) {
                    return Ok(());
                }
                if self.received() > MAX_PRELUDE {
                    return Err(Error::NoMedia);
                }
            }
        };
        timeout(FIRST, media).await.map_err(|_| Error::Silent(FIRST))??;
        self.first = first;
        Ok(())
    }

    /// Waits for more and appends it to `into`. May be dropped while it waits.
    pub(super) async fn receive(&mut self, into: &mut Vec<Tag>) -> Result<(), Error> {
        match &mut self.source {
            Source::Flv(stream) => stream.receive(into).await,
            Source::Rtmp(incoming) => {
                incoming.receive(&mut self.messages).await?;
                into.extend(self.messages.drain(..).map(tag));
                Ok(())
            }
        }
    }

    /// Bytes that have come.
    fn received(&self) -> u64 {
        match &self.source {
            Source::Rtmp(incoming) => incoming.received(),
            Source::Flv(stream) => stream.received(),
        }
    }

    /// Bytes that have come since this was asked the last time.
    pub(super) fn newly_received(&mut self) -> u64 {
        let received = self.received();
        received - std::mem::replace(&mut self.counted, received)
    }

    /// What we are to the origin.
    pub(super) fn kind(&self) -> Kind {
        match &self.source {
            Source::Rtmp(_) => Kind::Play,
            Source::Flv(_) => Kind::HttpPlay,
        }
    }

    /// The server it really comes from, after redirects.
    pub(super) fn peer(&self) -> Option<std::net::SocketAddr> {
        match &self.source {
            Source::Rtmp(incoming) => incoming.peer().ok(),
            Source::Flv(stream) => Some(stream.peer()),
        }
    }
}

fn tag(message: Message) -> Tag {
    let Message { message_type, timestamp, payload, .. } = message;
    let body: Bytes = payload;
    Tag { tag_type: message_type, timestamp, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_over_http() {
        let path = |vhost: &str, name: &str, param: &str| {
            let [vhost, app, name, param] = [vhost, "live", name, param].map(str::to_owned);
            let (protocol, via, args) = (Protocol::Flv, String::new(), Object::new());
            Wanted { protocol, vhost, app, name, param, via, args, chunk_size: 60_000 }.path()
        };
        assert_eq!(path(DEFAULT_VHOST, "s", ""), "/live/s.flv");
        assert_eq!(path(DEFAULT_VHOST, "s", "?vhost=x&k=v"), "/live/s.flv?k=v");
        assert_eq!(path("a.com", "s", "?k=v"), "/live/s.flv?k=v&vhost=a.com");
        assert_eq!(path("a.com", "a b/c?", ""), "/live/a%20b/c%3F.flv?vhost=a.com");
    }
}
