//! File names from templates, safe whatever a stream is called.
//!
//! Names of streams come from strangers, templates from the operator. The directories of a template before
//! its first variable are its *root*; whatever is put in for the variables, the name stays below it, or
//! there is an [`Error`] that says why not. A slash in a name makes a directory, as operators of SRS are
//! used to. Values are put in once: a stream called `[app]` is called `[app]`.

use std::fmt::Write as _;

use mill_media::frame::Millis;

/// The longest component of a path made here, in bytes. File systems allow 255; the rest is for the endings
/// of files that are not complete yet, and for [`numbered`].
pub const MAX_COMPONENT: usize = 240;

/// The longest path made here, in bytes; Linux allows 4096 (`PATH_MAX`).
pub const MAX_PATH: usize = 4000;

/// What a file is called until it is complete: this is put behind its name.
pub const TEMPORARY: &str = ".tmp";

/// A moment as people write it, in the zone the operator chose. The caller takes it from a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Civil {
    /// Such as 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
    /// 0 to 999.
    pub millisecond: u16,
    /// The same moment in milliseconds since 1970-01-01 UTC.
    pub unix_millis: i64,
}

/// Which stream a file belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamName {
    /// `__defaultVhost__` for the default one.
    pub vhost: String,
    /// May contain slashes.
    pub app: String,
    /// May contain slashes.
    pub stream: String,
}

/// What is put in for the variables. A variable that has no value here is left as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// `[vhost]`, `[app]`, `[stream]`.
    pub name: &'a StreamName,
    /// `[2006]`, `[01]`, `[02]`, `[15]`, `[04]`, `[05]`, `[999]`, and `[timestamp]` in milliseconds.
    pub time: Option<Civil>,
    /// `[timestamp]`, if it is not that of `time`: SRS counts segments in it under `hls_ts_floor`.
    pub timestamp: Option<i64>,
    /// `[seq]`.
    pub seq: Option<u64>,
    /// `[duration]`, milliseconds; known when a file is complete.
    pub duration: Option<Millis>,
}

impl<'a> Values<'a> {
    /// Those of a stream and no more.
    pub fn new(name: &'a StreamName) -> Self {
        Self { name, time: None, timestamp: None, seq: None, duration: None }
    }
}

/// Why there is no file for a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Two slashes, or one at an end: a directory without a name.
    #[error("file name with an empty part: {0:?}")]
    Empty(String),
    /// `.` or `..` as a part.
    #[error("file name that would leave its directory: {0:?}")]
    Dots(String),
    /// NUL, line ends and the like.
    #[error("file name with a control character: {0:?}")]
    Control(String),
    /// Longer than [`MAX_COMPONENT`] or [`MAX_PATH`].
    #[error("file name of {0} bytes is too long")]
    TooLong(usize),
}

/// What stands in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `[vhost]`
    Vhost,
    /// `[app]`
    App,
    /// `[stream]`
    Stream,
    /// `[seq]`: the number of a segment.
    Seq,
    /// `[duration]`: milliseconds of a complete file.
    Duration,
    /// `[timestamp]`: milliseconds since 1970.
    Timestamp,
    /// `[2006]`
    Year,
    /// `[01]`
    Month,
    /// `[02]`
    Day,
    /// `[15]`
    Hour,
    /// `[04]`
    Minute,
    /// `[05]`
    Second,
    /// `[999]`
    Millisecond,
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "vhost" => Self::Vhost,
            "app" => Self::App,
            "stream" => Self::Stream,
            "seq" => Self::Seq,
            "duration" => Self::Duration,
            "timestamp" => Self::Timestamp,
            "2006" => Self::Year,
            "01" => Self::Month,
            "02" => Self::Day,
            "15" => Self::Hour,
            "04" => Self::Minute,
            "05" => Self::Second,
            "999" => Self::Millisecond,
            _ => return None,
        })
    }

    /// Appends the value; `None` if there is none.
    fn write(self, values: &Values, out: &mut String) -> Option<()> {
        let number = |out: &mut String, width: usize, number: i64| {
            write!(out, "{number:0width$}").expect("a string takes all");
            Some(())
        };
        match self {
            Self::Vhost => out.push_str(&values.name.vhost),
            Self::App => out.push_str(&values.name.app),
            Self::Stream => out.push_str(&values.name.stream),
            Self::Seq => write!(out, "{}", values.seq?).expect("a string takes all"),
            Self::Duration => number(out, 0, values.duration?)?,
            Self::Timestamp => {
                number(out, 0, values.timestamp.or(values.time.map(|time| time.unix_millis))?)?;
            }
            Self::Year => number(out, 4, values.time?.year.into())?,
            Self::Month => number(out, 2, values.time?.month.into())?,
            Self::Day => number(out, 2, values.time?.day.into())?,
            Self::Hour => number(out, 2, values.time?.hour.into())?,
            Self::Minute => number(out, 2, values.time?.minute.into())?,
            Self::Second => number(out, 2, values.time?.second.into())?,
            Self::Millisecond => number(out, 3, values.time?.millisecond.into())?,
        }
        Some(())
    }
}

/// A template, taken apart once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
    /// Bytes of the root, up to and with its last slash.
    root: usize,
}

/// A piece of a template: text between two offsets, a variable or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    start: usize,
    end: usize,
    variable: Option<Variable>,
}

impl Template {
    /// Takes a template apart. Brackets around anything that is no variable are text.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let (mut parts, mut literal, mut at) = (Vec::new(), 0, 0);
        while let Some(open) = text[at..].find('[').map(|found| at + found) {
            let close = text[open..].find(']').map(|found| open + found + 1);
            let variable = close.and_then(|close| Variable::named(&text[open + 1..close - 1]));
            let (Some(variable), Some(close)) = (variable, close) else {
                at = open + 1;
                continue;
            };
            parts.push(Part { start: literal, end: open, variable: None });
            parts.push(Part { start: open, end: close, variable: Some(variable) });
            (literal, at) = (close, close);
        }
        parts.push(Part { start: literal, end: text.len(), variable: None });
        let fixed = parts.iter().find(|part| part.variable.is_some()).map_or(text.len(), |part| part.start);
        let root = text[..fixed].rfind('/').map_or(0, |slash| slash + 1);
        Self { text, parts, root }
    }

    /// The template below a directory: `directory/template`.
    pub fn below(directory: &str, template: &str) -> Self {
        // The directory is the operator's as well, but no place for variables.
        let mut this = Self::new(template.trim_start_matches('/'));
        let slash = if directory.is_empty() || directory.ends_with('/') { "" } else { "/" };
        let shift = directory.len() + slash.len();
        for part in &mut this.parts {
            part.start += shift;
            part.end += shift;
        }
        this.parts.insert(0, Part { start: 0, end: shift, variable: None });
        this.text = [directory, slash, &this.text].concat();
        this.root += shift;
        this
    }

    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The directory no name leads out of; empty for the working directory.
    pub fn root(&self) -> &str {
        &self.text[..self.root]
    }

    /// Whether the variable stands in it.
    pub fn has(&self, variable: Variable) -> bool {
        self.parts.iter().any(|part| part.variable == Some(variable))
    }

    /// The name of the file these values belong to.
    pub fn fill(&self, values: &Values) -> Result<String, Error> {
        let mut path = String::with_capacity(self.text.len() + 64);
        for part in &self.parts {
            let filled = part.variable.and_then(|variable| variable.write(values, &mut path));
            if filled.is_none() {
                path.push_str(&self.text[part.start..part.end]);
            }
        }
        check(&path[self.root..])?;
        if path.len() > MAX_PATH {
            return Err(Error::TooLong(path.len()));
        }
        Ok(path)
    }
}

/// The name of a file while it is written.
pub fn temporary(path: &str) -> String {
    format!("{path}{TEMPORARY}")
}

/// Another name for a file whose own is taken: `n` before the ending, `a.flv` and 2 is `a-2.flv`.
pub fn numbered(path: &str, n: u32) -> String {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = path[name..].rfind('.').filter(|&dot| dot > 0).map_or(path.len(), |dot| name + dot);
    format!("{}-{n}{}", &path[..dot], &path[dot..])
}

/// The directory of a path, with its slash; empty if there is none.
pub fn directory(path: &str) -> &str {
    &path[..path.rfind('/').map_or(0, |slash| slash + 1)]
}

/// Refuses a relative path that would not stay where it is put.
pub(crate) fn check(relative: &str) -> Result<(), Error> {
    for component in relative.split('/') {
        match component {
            "" => return Err(Error::Empty(shown(relative))),
            "." | ".." => return Err(Error::Dots(shown(relative))),
            _ if component.chars().any(char::is_control) => return Err(Error::Control(shown(relative))),
            _ if component.len() > MAX_COMPONENT => return Err(Error::TooLong(component.len())),
            _ => {}
        }
    }
    Ok(())
}

/// A name as an error quotes it: the beginning is enough.
fn shown(name: &str) -> String {
    const SHOWN: usize = 100;
    name[..name.floor_char_boundary(SHOWN)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: Civil = Civil {
        year: 2026,
        month: 1,
        day: 2,
        hour: 3,
        minute: 4,
        second: 5,
        millisecond: 6,
        unix_millis: 1_767_323_045_006,
    };

    fn name(app: &str, stream: &str) -> StreamName {
        StreamName { vhost: "__defaultVhost__".into(), app: app.into(), stream: stream.into() }
    }

    #[track_caller]
    fn check(template: &str, name: &StreamName, expected: Result<&str, Error>) {
        let values = Values { name, time: Some(TIME), timestamp: None, seq: Some(7), duration: Some(1500) };
        assert_eq!(Template::new(template).fill(&values), expected.map(str::to_owned));
    }

    #[test]
    fn every_variable() {
        check(
            "/rec/[vhost]/[app]/[stream]-[seq].[2006][01][02]T[15][04][05].[999].[timestamp].[duration].flv",
            &name("live", "show"),
            Ok("/rec/__defaultVhost__/live/show-7.20260102T030405.006.1767323045006.1500.flv"),
        );
        check("./[a]/[stream/[[stream]].ts", &name("live", "x"), Ok("./[a]/[stream/[x].ts"));
    }

    #[test]
    fn what_has_no_value_stays() {
        let name = name("live", "x");
        let path = Template::new("[app]/[stream]-[seq]-[duration]-[01].ts").fill(&Values::new(&name));
        assert_eq!(path.as_deref(), Ok("live/x-[seq]-[duration]-[01].ts"));
        let template = Template::new("[timestamp].ts");
        let counted = Values { timestamp: Some(12), time: Some(TIME), ..Values::new(&name) };
        assert_eq!(template.fill(&counted).as_deref(), Ok("12.ts"));
    }

    #[test]
    fn values_are_put_in_once() {
        check("[app]/[stream].flv", &name("[stream]", "[app]"), Ok("[stream]/[app].flv"));
    }

    #[test]
    fn the_operator_may_go_where_a_stranger_may_not() {
        let ok = name("live/room", "show");
        check("../rec/./x-[app]/[stream].flv", &ok, Ok("../rec/./x-live/room/show.flv"));
        assert_eq!(Template::new("../rec/./x-[app]/[stream].flv").root(), "../rec/./");
        let below = Template::below("../html", "[app]/[stream].m3u8");
        assert_eq!((below.root(), below.text()), ("../html/", "../html/[app]/[stream].m3u8"));
        assert_eq!(below.fill(&Values::new(&ok)).as_deref(), Ok("../html/live/room/show.m3u8"));
        assert_eq!(Template::below("", "fixed").fill(&Values::new(&ok)).as_deref(), Ok("fixed"));
        check("[app]/../[stream].flv", &ok, Err(Error::Dots("live/room/../show.flv".into())));
    }

    #[test]
    fn names_that_are_refused() {
        let check = |stream: &str, error| check("r/[app]/[stream]", &name("live", stream), Err(error));
        check("..", Error::Dots("live/..".into()));
        check("../../etc/passwd", Error::Dots("live/../../etc/passwd".into()));
        check(".", Error::Dots("live/.".into()));
        check("", Error::Empty("live/".into()));
        check("a//b", Error::Empty("live/a//b".into()));
        check("/etc/passwd", Error::Empty("live//etc/passwd".into()));
        check("a\0b", Error::Control("live/a\0b".into()));
        check("a\nb", Error::Control("live/a\nb".into()));
        check(&"x".repeat(241), Error::TooLong(241));
        check(&"x/".repeat(2001), Error::Empty(shown(&format!("live/{}", "x/".repeat(2001)))));
        check(&format!("{}x", "x/".repeat(2000)), Error::TooLong(4008));
    }

    #[test]
    fn other_names() {
        assert_eq!(temporary("a/b.flv"), "a/b.flv.tmp");
        assert_eq!(numbered("a.b/c.d.flv", 2), "a.b/c.d-2.flv");
        assert_eq!(numbered("a.b/.c", 2), "a.b/.c-2");
        assert_eq!((directory("a/b/c"), directory("c")), ("a/b/", ""));
    }

    proptest! {
        #[test]
        fn any_name_stays_below_the_root(
            template in "[a-z./\\[\\]]{0,8}(\\[(app|stream|vhost|seq)\\]|[a-z./]){0,6}",
            app in any::<String>(),
            stream in "(\\.|/|[a-z]|\\PC|\0|\n){0,12}",
        ) {
            let template = Template::new(template);
            let name = StreamName { vhost: "v".into(), app, stream };
            let values = Values { seq: Some(1), ..Values::new(&name) };
            if let Ok(path) = template.fill(&values) {
                let below = path.strip_prefix(template.root()).expect("under the root");
                for component in below.split('/') {
                    prop_assert!(!matches!(component, "" | "." | ".."));
                    prop_assert!(component.len() <= MAX_COMPONENT);
                    prop_assert!(!component.chars().any(char::is_control));
                }
            }
        }
    }
}
