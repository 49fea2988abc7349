//! Words of a command line from templates, inert whatever a stream is called.
//!
//! Templates come from the operator; names of streams, parameters and URLs come from strangers. A word stays one
//! argument, so blanks, quotes and `$` mean nothing. What is left to fear is refused with a [`BadWord`]: a word that
//! becomes an option, an output that becomes another one. Values are put in once: a stream called `[app]` is called
//! `[app]`.

use mill_packager::path::Civil;

/// What is put in for the variables. One that has no value here is left as it stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    /// `[vhost]`, `[app]`, `[stream]` and so on, without the brackets.
    pub(super) named: Vec<(&'static str, String)>,
    /// `[2006]`, `[01]`, `[02]`, `[15]`, `[04]`, `[05]`, `[999]`, `[timestamp]`.
    pub(super) time: Civil,
}

/// Why there is no word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadWord {
    #[error("`{0}` would become an option with this name")]
    Option(String),
    #[error("`{0}` would have a control character in it")]
    Control(String),
    #[error("`{0}` would become another place with this name: {1:?} is in it")]
    Place(String, char),
    #[error("`{0}` would leave its folder with this name")]
    Parent(String),
    #[error("ffmpeg cannot play a stream whose name has that many levels")]
    Levels,
    #[error("{0}")]
    File(String),
}

impl Values {
    /// Fills in a word of a command line.
    pub(super) fn word(&self, template: &str) -> Result<String, BadWord> {
        let filled = self.fill(template, |_| Ok(()))?;
        if filled.starts_with('-') && !template.starts_with('-') {
            return Err(BadWord::Option(template.to_owned()));
        }
        Ok(filled)
    }

    /// Fills in where ffmpeg is to put its result: a URL, or a file. A name cannot make it another.
    pub(super) fn output(&self, template: &str) -> Result<String, BadWord> {
        let fixed = &template[..template.find('[').unwrap_or(template.len())];
        let is_url = fixed.contains("://");
        let bad = |char| BadWord::Place(template.to_owned(), char);
        let filled = self.fill(template, |(name, value)| {
            // `[param]` is there for its `?` and `&`; nothing has a use for a bar but protocols of several places.
            let separators: &[char] = match (name, is_url) {
                ("param", _) => &['|', '#'],
                (_, true) => &['|', '#', '?', '&'],
                (_, false) => &['|'],
            };
            value.find(separators).map_or(Ok(()), |at| Err(bad(value[at..].chars().next().unwrap_or('|'))))
        })?;
        if filled.starts_with('-') && !template.starts_with('-') {
            return Err(BadWord::Option(template.to_owned()));
        }
        if !is_url {
            let parents = |text: &str| text.split('/').filter(|level| *level == "..").count();
            if parents(&filled) != parents(template) {
                return Err(BadWord::Parent(template.to_owned()));
            }
            // ffmpeg takes what stands before a colon for a protocol.
            let scheme = |text: &str| text.split('/').next().is_some_and(|first| first.contains(':'));
            if scheme(&filled) && !scheme(fixed) {
                return Err(bad(':'));
            }
            if filled.starts_with('/') && !template.starts_with('/') {
                return Err(bad('/'));
            }
        }
        Ok(filled)
    }

    fn fill(
        &self,
        template: &str,
        check: impl Fn((&str, &str)) -> Result<(), BadWord>,
    ) -> Result<String, BadWord> {
        let mut filled = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some(open) = rest.find('[') {
            let (before, from) = rest.split_at(open);
            filled.push_str(before);
            let name = from[1..].split(']').next().filter(|name| from.len() > name.len() + 1).unwrap_or("");
            if let Some(value) = self.value(name) {
                if value.chars().any(char::is_control) {
                    return Err(BadWord::Control(template.to_owned()));
                }
                check((name, &value))?;
                filled.push_str(&value);
                rest = &from[name.len() + 2..];
            } else {
                filled.push('[');
                rest = &from[1..];
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str) -> Option<String> {
        let time = &self.time;
        Some(match name {
            "2006" => format!("{:04}", time.year),
            "01" => format!("{:02}", time.month),
            "02" => format!("{:02}", time.day),
            "15" => format!("{:02}", time.hour),
            "04" => format!("{:02}", time.minute),
            "05" => format!("{:02}", time.second),
            "999" => format!("{:03}", time.millisecond),
            "timestamp" => time.unix_millis.to_string(),
            _ => return self.named.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()),
        })
    }
}

/// The name of a log: its parts with a `-` between them, in one component of a path.
pub(super) fn log_name(parts: &[&str]) -> String {
    /// File systems allow 255 bytes; `.log.1` comes behind it.
    const MAX: usize = 240;
    let mut name = parts.join("-").replace(|c: char| c == '/' || c.is_control(), "-");
    name.truncate(name.floor_char_boundary(MAX));
    name + ".log"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(app: &str, stream: &str, param: &str) -> Values {
        let named =
            [("vhost", "v.com"), ("port", "1935"), ("app", app), ("stream", stream), ("param", param)];
        let named = named.map(|(name, value)| (name, value.to_owned())).to_vec();
        let time = Civil {
            year: 2026,
            month: 1,
            day: 2,
            hour: 3,
            minute: 4,
            second: 5,
            millisecond: 6,
            unix_millis: 1_767_323_045_006,
        };
        Values { named, time }
    }

    const URL: &str = "rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_ff[param]";

    #[test]
    fn variables() {
        let values = values("live", "src", "?token=abc&x=1");
        assert_eq!(
            values.output(URL).unwrap(),
            "rtmp://127.0.0.1:1935/live?vhost=v.com/src_ff?token=abc&x=1"
        );
        assert_eq!(
            values.word("[2006]-[01]-[02]T[15]:[04]:[05].[999] [timestamp]").unwrap(),
            "2026-01-02T03:04:05.006 1767323045006"
        );
        assert_eq!(values.word("[no][such[app]][").unwrap(), "[no][suchlive][");
        assert_eq!(values.word("").unwrap(), "");
        assert_eq!(
            super::tests::values("[stream]", "[app]", "").word("[app]/[stream]").unwrap(),
            "[stream]/[app]"
        );
    }

    #[test]
    fn a_word_is_one_word_whatever_is_in_it() {
        let name = "a b'c\"d;$(e)`f`\\>g|h*";
        assert_eq!(values("live", name, "").word("./[stream].flv").unwrap(), format!("./{name}.flv"));
    }

    #[test]
    fn no_name_becomes_an_option() {
        let values = values("-i", "-f", "-x");
        for template in ["[stream]", "[app]/[stream]", "[param]"] {
            assert_eq!(values.word(template), Err(BadWord::Option(template.into())));
            assert_eq!(values.output(template), Err(BadWord::Option(template.into())));
        }
        assert_eq!(values.word("-o[stream]").unwrap(), "-o-f", "what was an option stays one");
        assert_eq!(values.word("./[stream]").unwrap(), "./-f");
    }

    #[test]
    fn no_name_leads_an_output_elsewhere() {
        let place = |app: &str, stream: &str, param: &str, template: &str| {
            values(app, stream, param).output(template)
        };
        assert!(matches!(place("live", "a&vhost=b", "", URL), Err(BadWord::Place(_, '&'))));
        assert!(matches!(place("live?vhost=x", "a", "", URL), Err(BadWord::Place(_, '?'))));
        assert!(matches!(place("live", "a|b", "", "./[stream].flv"), Err(BadWord::Place(_, '|'))));
        assert!(matches!(place("live", "pipe:1", "", "[stream]"), Err(BadWord::Place(_, ':'))));
        assert!(matches!(place("live", "/etc/x", "", "[stream]"), Err(BadWord::Place(_, '/'))));
        assert!(matches!(place("live", "a", "/../../x", "./[stream][param]"), Err(BadWord::Parent(_))));
        assert_eq!(place("live", "a:b", "", "./[app]/[stream].flv").unwrap(), "./live/a:b.flv");
        assert_eq!(place("live", "a:b", "", "file:[stream]").unwrap(), "file:a:b");
        assert_eq!(place("live", "a", "", "../[stream].flv").unwrap(), "../a.flv");
    }

    #[test]
    fn nothing_breaks_a_line() {
        assert!(matches!(values("live", "a\nb", "").word("[stream]"), Err(BadWord::Control(_))));
        assert!(matches!(values("live", "a\0b", "").output(URL), Err(BadWord::Control(_))));
    }

    #[test]
    fn names_of_logs_are_one_component() {
        assert_eq!(log_name(&["ffmpeg-encoder", "v", "a/b", "../x"]), "ffmpeg-encoder-v-a-b-..-x.log");
        assert_eq!(log_name(&[&"é".repeat(300)]).len(), 244);
    }
}
