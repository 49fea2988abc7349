//! Where a caster publishes to: its `output`, with what is known about the sender put in.
//!
//! Names come from strangers, the template from the operator. What is put in can name an app and a stream and nothing
//! else: no parameter, no vhost, no other server. Values are put in once: a stream called `[app]` is called `[app]`.

use crate::relay::target::Target;

/// What may stand in brackets, and its value.
pub(crate) type Values<'a> = &'a [(&'a str, &'a str)];

/// Why there is no place to publish to.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0:?} cannot be part of a stream's name")]
    Name(String),
    #[error("output: {0}")]
    Url(#[from] mill_rtmp::Error),
}

/// The template with its variables put in. What has no value is left as it stands.
pub(crate) fn target(template: &str, values: Values<'_>) -> Result<Target, Error> {
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
    Ok(Target::parse(&url)?)
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
        let filled = target(template, &[("app", app), ("stream", stream)]).unwrap();
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
            let filled = target("rtmp://127.0.0.1/live/[stream]", &[("stream", wrong)]);
            assert_eq!(filled, Err(Error::Name(wrong.to_owned())));
        }
        let filled = target("rtmp://127.0.0.1/live/[stream]", &[("stream", "../x")]);
        assert!(matches!(filled, Err(Error::Url(_))), "{filled:?}");
        assert!(target("rtmp://127.0.0.1", &[]).is_err());
    }
}
