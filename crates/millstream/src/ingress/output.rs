//! Where a caster publishes to: its `output`, with what is known about the sender put in.
//!
//! Names come from strangers, the template from the operator. What is put in can name an app and a stream and nothing
//! else: no parameter, no vhost, no other server. Values are put in once: a stream called `[app]` is called `[app]`.
//!
//! Parameters of the stream are what a sender's URL has behind its `?`, as for any publisher; they stand behind those
//! of the template. `vhost` among them counts where the template names none.

use mill_rtmp::url;

use crate::relay::target::Target;

/// What may stand in brackets, and its value.
pub(crate) type Values<'a> = &'a [(&'a str, &'a str)];

/// Why there is no place to publish to.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0:?} cannot be part of a stream's name")]
    Name(String),
    /// Not shown: secrets are among them.
    #[error("its parameters are not clear about the vhost")]
    Parameters,
    #[error("output: {0}")]
    Url(#[from] mill_rtmp::Error),
}

/// The template with its variables put in, and the sender's parameters, without a question mark. What has no value is
/// left as it stands.
pub(crate) fn target(template: &str, values: Values<'_>, query: &str) -> Result<Target, Error> {
    if let Some((_, value)) = values.iter().find(|(_, value)| !is_name(value)) {
        return Err(Error::Name((*value).to_owned()));
    }
    let (mut url, mut rest) = (String::new(), template);
    while let Some(at) = rest.find('[') {
        url.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = values
            .iter()
            .find(|(name, _)| rest[1..].strip_prefix(name).is_some_and(|behind| behind.starts_with(']')));
        let (put, len) = known.map_or(("[", 1), |(name, value)| (*value, name.len() + 2));
        url.push_str(put);
        rest = &rest[len..];
    }
    url.push_str(rest);
    let target = Target::parse(&url)?;
    match url::split(&url) {
        Some((tc_url, stream)) if !query.is_empty() => {
            let own = url::resolve(tc_url, stream)?;
            with(target, &own, query)
        }
        _ => Ok(target),
    }
}

/// The target, of which `own` is what the template says, with more parameters.
fn with(target: Target, own: &url::Target, query: &str) -> Result<Target, Error> {
    let asked = url::resolve(&target.tc_url, &format!("stream?{query}"))?;
    let vhost = if own.vhost == own.host { &asked.vhost } else { &own.vhost };
    let param = format!("{}&{query}", own.param);
    let target = Target::new(target.server, vhost, &own.app, &own.stream, &param);
    // There may be a second one, in another of SRS's spellings.
    let meant = url::resolve(&target.tc_url, "")?.vhost;
    let told = url::resolve(&target.tc_url, &target.stream)?.vhost;
    if meant == told { Ok(target) } else { Err(Error::Parameters) }
}

/// Nothing that means more than itself in a URL, in none of SRS's spellings.
fn is_name(value: &str) -> bool {
    let stranger = |c: char| c.is_control() || c.is_whitespace() || "?#&=,\\\"".contains(c);
    !value.contains(stranger) && !value.contains("...") && !value.split('/').any(|part| part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, app: &str, stream: &str, expected: &str) {
        let filled = target(template, &[("app", app), ("stream", stream)], "").unwrap();
        assert_eq!(format!("{}/{}", filled.tc_url, filled.stream), expected);
    }

    #[test]
    fn names_are_put_in_once() {
        let template = "rtmp://127.0.0.1/[app]/[stream]";
        check(template, "live", "cam", "rtmp://127.0.0.1/live/cam");
        check(template, "live/room", "cam", "rtmp://127.0.0.1/live/room/cam");
        check(template, "live", "[app]", "rtmp://127.0.0.1/live/[app]");
        check("rtmp://h/x/[stream]_[year]?k=[app]", "live", "cam", "rtmp://h/x/cam_[year]?k=live");
        check("rtmp://h/[[app]/s", "a", "b", "rtmp://h/[a/s");
        check("rtmp://h/live?vhost=v.com/[stream]", "a", "b", "rtmp://v.com/live/b");
    }

    #[test]
    fn names_are_no_more_than_names() {
        for wrong in
            ["", "a?vhost=b", "a&k=v", "a...vhost...b", "a,vhost,b", "a b", "a\n", "a//b", "/a", "a#"]
        {
            let filled = target("rtmp://127.0.0.1/live/[stream]", &[("stream", wrong)], "");
            assert_eq!(filled, Err(Error::Name(wrong.to_owned())));
        }
        let filled = target("rtmp://127.0.0.1/live/[stream]", &[("stream", "../x")], "");
        assert!(matches!(filled, Err(Error::Url(_))), "{filled:?}");
        assert!(target("rtmp://127.0.0.1", &[], "").is_err());
    }

    #[test]
    fn parameters_of_a_sender() {
        let with = |template: &str, query: &str| {
            let target = target(template, &[("stream", "s")], query)?;
            assert_eq!(target.server.host, "10.0.0.1");
            Ok::<_, Error>((target.tc_url, target.stream))
        };
        let is = |url: &str, stream: &str| Ok((url.to_owned(), stream.to_owned()));
        let plain = "rtmp://10.0.0.1/live/[stream]";
        assert_eq!(with(plain, "token=a/b&x"), is("rtmp://10.0.0.1/live", "s?token=a/b&x"));
        assert_eq!(with(plain, "t=1&vhost=v.com&u=2"), is("rtmp://v.com/live", "s?t=1&u=2"));
        assert_eq!(with(plain, "vhost=__defaultVhost__"), is("rtmp://10.0.0.1/live", "s"));
        let own = "rtmp://10.0.0.1/live/[stream]?key=k";
        assert_eq!(with(own, "token=1"), is("rtmp://10.0.0.1/live", "s?key=k&token=1"));
        // The operator has the last word.
        let named = "rtmp://10.0.0.1/live?vhost=o.com/[stream]";
        assert_eq!(with(named, "vhost=v.com&t=1"), is("rtmp://o.com/live", "s?t=1"));
        let named_behind = "rtmp://10.0.0.1/live/[stream]?vhost=o.com";
        assert_eq!(with(named_behind, "vhost=v.com&t=1"), is("rtmp://o.com/live", "s?t=1"));
        let usual = "rtmp://10.0.0.1/live?vhost=__defaultVhost__/[stream]";
        assert_eq!(with(usual, "vhost=v.com&t=1"), is("rtmp://10.0.0.1/live", "s?t=1"));
        for trick in ["a,vhost,b", "a&vhost&b", "a=...vhost...b", "t=1&x,vhost=b"] {
            for named in [named, named_behind, usual] {
                assert_eq!(with(named, trick), Err(Error::Parameters), "{trick}");
            }
        }
        assert_eq!(with(plain, "vhost=a&x,vhost=b"), Err(Error::Parameters));
        assert!(matches!(with(plain, "vhost=../x"), Err(Error::Url(_))));
        assert!(matches!(with(plain, &"x".repeat(9000)), Err(Error::Url(_))));
    }
}
