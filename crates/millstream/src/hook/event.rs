//! What is called back, and the bodies that say so.
//!
//! Bodies are those of SRS 3.0: same keys, same order, same types. Nothing is added to them; an event's id
//! travels as a header. They hold what clients sent (`param`, `tcUrl`, `pageUrl`), so secrets may be in them,
//! and none of it is logged.

use bytes::Bytes;
use mill_config::model::HttpHooks;
use mill_hub::StreamId;
use mill_media::frame::Millis;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::clients::Peer;
use crate::identity::Identity;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Connect,
    Close,
    Publish,
    Unpublish,
    Play,
    Stop,
    Dvr,
    Hls,
}

impl Action {
    /// SRS's name for it: of the directive, and in the body.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Close => "on_close",
            Self::Publish => "on_publish",
            Self::Unpublish => "on_unpublish",
            Self::Play => "on_play",
            Self::Stop => "on_stop",
            Self::Dvr => "on_dvr",
            Self::Hls => "on_hls",
        }
    }

    /// Who is to be called.
    pub(crate) fn urls(self, conf: &HttpHooks) -> &[String] {
        if !conf.enabled {
            return &[];
        }
        match self {
            Self::Connect => &conf.on_connect,
            Self::Close => &conf.on_close,
            Self::Publish => &conf.on_publish,
            Self::Unpublish => &conf.on_unpublish,
            Self::Play => &conf.on_play,
            Self::Stop => &conf.on_stop,
            Self::Dvr => &conf.on_dvr,
            Self::Hls => &conf.on_hls,
        }
    }

    /// The event that ends what this one has begun.
    pub(super) fn end(self) -> Self {
        match self {
            Self::Connect | Self::Close => Self::Close,
            Self::Publish | Self::Unpublish => Self::Unpublish,
            Self::Play | Self::Stop => Self::Stop,
            Self::Dvr => Self::Dvr,
            Self::Hls => Self::Hls,
        }
    }
}

/// Whom an event is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) peer: &'a Peer,
    /// Vhost as the configuration names it, app, and name; the name may be empty for [`Action::Close`].
    pub(crate) stream: &'a StreamId,
    /// Parameters with their question mark, or empty.
    pub(crate) param: &'a str,
}

impl Subject<'_> {
    /// The body of a call.
    pub(super) fn body(&self, action: Action) -> Bytes {
        let Self { peer, stream, param } = *self;
        let (action_name, id) = (action.name(), peer.id);
        // An IPv4 peer of an IPv6 socket is one of IPv4 to everybody who has its address in a table.
        let ip = peer.ip.to_canonical().to_string();
        let (vhost, app, name) = (&stream.vhost, &stream.app, &stream.name);
        let (tc_url, page_url) = (&*peer.tc_url, &*peer.page_url);
        let body = match action {
            Action::Connect => json!({
                "action": action_name, "client_id": id, "ip": ip, "vhost": vhost, "app": app,
                "tcUrl": tc_url, "pageUrl": page_url,
            }),
            Action::Close => json!({
                "action": action_name, "client_id": id, "ip": ip, "vhost": vhost, "app": app,
                "send_bytes": peer.traffic.sent(), "recv_bytes": peer.traffic.received(),
            }),
            Action::Publish => json!({
                "action": action_name, "client_id": id, "ip": ip, "vhost": vhost, "app": app,
                "tcUrl": tc_url, "stream": name, "param": param,
            }),
            Action::Play => json!({
                "action": action_name, "client_id": id, "ip": ip, "vhost": vhost, "app": app,
                "stream": name, "param": param, "pageUrl": page_url,
            }),
            Action::Unpublish | Action::Stop | Action::Dvr | Action::Hls => json!({
                "action": action_name, "client_id": id, "ip": ip, "vhost": vhost, "app": app,
                "stream": name, "param": param,
            }),
        };
        body.to_string().into()
    }
}

impl Subject<'_> {
    /// The body of the question where a stream is to be sent. Only SRS 6.0 asks it, so it has SRS 6.0's form.
    pub(super) fn forward_body(&self, identity: &Identity) -> Bytes {
        let Self { peer, stream, param } = *self;
        let body = json!({
            "action": "on_forward", "server_id": identity.server, "service_id": identity.service,
            "client_id": peer.id.to_string(), "ip": peer.ip.to_canonical().to_string(), "vhost": stream.vhost,
            "app": stream.app, "tcUrl": &*peer.tc_url, "stream": stream.name, "param": param,
        });
        body.to_string().into()
    }
}

/// A file that is complete.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    /// Id of the event, from [`super::Hooks::event_id`].
    pub(crate) event: String,
    /// Of the publisher.
    pub(crate) client: u64,
    pub(crate) ip: String,
    pub(crate) stream: StreamId,
    /// The publisher's parameters with their question mark, or empty.
    pub(crate) param: String,
    pub(crate) cwd: String,
    /// As configured: relative to `cwd` unless it is absolute.
    pub(crate) file: String,
}

impl Recording {
    /// The body of the call.
    pub(super) fn body(&self) -> Bytes {
        let StreamId { vhost, app, name } = &self.stream;
        let body = json!({
            "action": Action::Dvr.name(), "client_id": self.client, "ip": self.ip, "vhost": vhost, "app": app,
            "stream": name, "param": self.param, "cwd": self.cwd, "file": self.file,
        });
        body.to_string().into()
    }
}

/// A segment of HLS that is complete.
#[derive(Debug, Clone)]
pub(crate) struct Segmented {
    /// Of the publisher.
    pub(crate) client: u64,
    pub(crate) ip: String,
    pub(crate) stream: StreamId,
    /// The publisher's parameters with their question mark, or empty.
    pub(crate) param: String,
    /// In milliseconds.
    pub(crate) duration: Millis,
    pub(crate) cwd: String,
    /// As configured: relative to `cwd` unless it is absolute.
    pub(crate) file: String,
    /// As it stands in the playlist.
    pub(crate) uri: String,
    /// The same below the playlist's directory, unless it is a whole URL.
    pub(crate) url: String,
    /// The file of the playlist.
    pub(crate) m3u8: String,
    /// The same below `hls_path`.
    pub(crate) m3u8_url: String,
    pub(crate) sequence: u64,
}

/// What stands in a path of a URL for itself.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl Segmented {
    /// The body of `on_hls`.
    pub(super) fn body(&self) -> Bytes {
        let StreamId { vhost, app, name } = &self.stream;
        // In hundredths, as SRS.
        let duration = (self.duration as f64 / 10.0).round() / 100.0;
        let body = json!({
            "action": Action::Hls.name(), "client_id": self.client, "ip": self.ip, "vhost": vhost, "app": app,
            "stream": name, "param": self.param, "duration": duration, "cwd": self.cwd, "file": self.file,
            "url": self.url, "m3u8": self.m3u8, "m3u8_url": self.m3u8_url, "seq_no": self.sequence,
        });
        body.to_string().into()
    }

    /// The URL of `on_hls_notify`: the template with `[app]`, `[stream]`, `[ts_url]` and `[param]` put in, once
    /// each and whatever is in them; or the segment's own, if that is a whole one.
    pub(super) fn notified(&self, template: &str) -> String {
        if self.uri.contains("://") {
            return self.uri.clone();
        }
        let plain = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let mut url = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('[') {
            url.push_str(before);
            let variable = after.split_once(']').and_then(|(name, after)| {
                let value = match name {
                    "app" => plain(&self.stream.app),
                    "stream" => plain(&self.stream.name),
                    "ts_url" => self.uri.clone(),
                    "param" => self.param.clone(),
                    _ => return None,
                };
                Some((value, after))
            });
            match variable {
                Some((value, after)) => {
                    url.push_str(&value);
                    rest = after;
                }
                None => {
                    url.push('[');
                    rest = after;
                }
            }
        }
        url + rest
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn bodies_are_those_of_srs_to_the_byte() {
        let peer = Peer {
            id: 699,
            ip: "::ffff:127.0.0.1".parse().unwrap(),
            tc_url: "rtmp://127.0.0.1/live".into(),
            page_url: "".into(),
            swf_url: "".into(),
            traffic: Arc::default(),
        };
        peer.traffic.add_sent(4094);
        peer.traffic.add_received(3242);
        let stream =
            StreamId { vhost: "__defaultVhost__".into(), app: "live".into(), name: "livestream".into() };
        let subject = Subject { peer: &peer, stream: &stream, param: "?token=abc" };
        let who = r#""client_id":699,"ip":"127.0.0.1","vhost":"__defaultVhost__","app":"live""#;
        for (action, rest) in [
            (Action::Connect, r#""tcUrl":"rtmp://127.0.0.1/live","pageUrl":"""#),
            (Action::Close, r#""send_bytes":4094,"recv_bytes":3242"#),
            (
                Action::Publish,
                r#""tcUrl":"rtmp://127.0.0.1/live","stream":"livestream","param":"?token=abc""#,
            ),
            (Action::Unpublish, r#""stream":"livestream","param":"?token=abc""#),
            (Action::Play, r#""stream":"livestream","param":"?token=abc","pageUrl":"""#),
            (Action::Stop, r#""stream":"livestream","param":"?token=abc""#),
        ] {
            let expected = format!(r#"{{"action":"{}",{who},{rest}}}"#, action.name());
            assert_eq!(subject.body(action), expected);
        }
    }

    fn segment() -> Segmented {
        Segmented {
            client: 570,
            ip: "127.0.0.1".into(),
            stream: StreamId {
                vhost: "__defaultVhost__".into(),
                app: "live".into(),
                name: "livestream".into(),
            },
            param: "?token=abc".into(),
            duration: 2018,
            cwd: "/usr/local/srs".into(),
            file: "./objs/nginx/html/live/livestream-0.ts".into(),
            uri: "livestream-0.ts".into(),
            url: "live/livestream-0.ts".into(),
            m3u8: "./objs/nginx/html/live/livestream.m3u8".into(),
            m3u8_url: "live/livestream.m3u8".into(),
            sequence: 0,
        }
    }

    #[test]
    fn a_segment_is_told_as_srs_tells_it() {
        assert_eq!(
            segment().body(),
            r#"{"action":"on_hls","client_id":570,"ip":"127.0.0.1","vhost":"__defaultVhost__","app":"live","stream":"livestream","param":"?token=abc","duration":2.02,"cwd":"/usr/local/srs","file":"./objs/nginx/html/live/livestream-0.ts","url":"live/livestream-0.ts","m3u8":"./objs/nginx/html/live/livestream.m3u8","m3u8_url":"live/livestream.m3u8","seq_no":0}"#
        );
    }

    #[test]
    fn a_notified_url_has_everything_once() {
        let template = "http://h/hooks/[app]/[stream]/[ts_url][param]";
        assert_eq!(segment().notified(template), "http://h/hooks/live/livestream/livestream-0.ts?token=abc");
        let mut odd = segment();
        odd.stream.name = "[app]?x#y@z".into();
        assert_eq!(odd.notified("http://h/[stream]/[x"), "http://h/%5Bapp%5D%3Fx%23y%40z/[x");
        odd.uri = "http://cdn/a.ts".into();
        assert_eq!(odd.notified(template), "http://cdn/a.ts");
    }
}
