//! What a line looks like: SRS's layout, or JSON.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Zoned;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Longest line in bytes, its end included, as in SRS 3.0: what is longer is cut. In JSON the text is, so
/// quoting may make the line twice as long.
const MAX_LINE: usize = 4096;

/// What may change while the server runs.
#[derive(Default)]
pub(super) struct Style {
    pub(super) utc: AtomicBool,
    pub(super) colour: AtomicBool,
    pub(super) json: AtomicBool,
}

pub(super) struct Layout {
    pub(super) pid: u32,
    pub(super) style: Arc<Style>,
}

/// SRS's words are one step finer than everybody else's: its everyday level is called trace.
fn label(level: Level) -> &'static str {
    match level {
        Level::ERROR => "Error",
        Level::WARN => "Warn",
        Level::INFO => "Trace",
        Level::DEBUG => "Debug",
        Level::TRACE => "Verb",
    }
}

impl Layout {
    fn now(&self) -> Zoned {
        let utc = self.style.utc.load(Ordering::Relaxed);
        let zone = if utc { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::system() };
        jiff::Timestamp::now().to_zoned(zone)
    }

    /// `[2026-01-31 12:00:00.123][Trace][pid][cid] text`; warnings and errors carry a fifth field, the
    /// system's error number.
    fn plain(&self, mut w: Writer<'_>, level: Level, text: &str) -> fmt::Result {
        let (time, label, cid) = (self.now(), label(level), super::cid());
        let number = if level <= Level::WARN { "[0]" } else { "" };
        let mut line = format!(
            "[{}][{label}][{}][{cid}]{number} {text}",
            time.strftime("%Y-%m-%d %H:%M:%S.%3f"),
            self.pid
        );
        line.truncate(line.floor_char_boundary(MAX_LINE - 1));
        let colour = match level {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            _ => "",
        };
        if colour.is_empty() || !self.style.colour.load(Ordering::Relaxed) {
            writeln!(w, "{line}")
        } else {
            writeln!(w, "{colour}{line}\x1b[0m")
        }
    }

    /// One object; what an event carries beside its text has keys of its own.
    fn json(&self, mut w: Writer<'_>, level: Level, text: String, fields: Map<String, Value>) -> fmt::Result {
        let mut line = Map::new();
        line.insert("time".into(), self.now().strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string().into());
        line.insert("level".into(), level.as_str().to_lowercase().into());
        line.insert("pid".into(), self.pid.into());
        line.insert("cid".into(), super::cid().into());
        line.insert("message".into(), text.into());
        for (name, value) in fields {
            line.entry(name).or_insert(value);
        }
        writeln!(w, "{}", Value::Object(line))
    }
}

impl<S, N> FormatEvent<S, N> for Layout
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, w: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        // What a peer sent may be in here: one event stays one line and moves no cursor.
        let clean = |text: &str| text.replace(char::is_control, " ");
        if self.style.json.load(Ordering::Relaxed) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let mut text = clean(&fields.text);
            text.truncate(text.floor_char_boundary(MAX_LINE));
            return self.json(w, level, text, fields.others);
        }
        let mut text = String::new();
        ctx.field_format().format_fields(Writer::new(&mut text), event)?;
        self.plain(w, level, &clean(&text))
    }
}

/// An event taken apart.
#[derive(Default)]
struct Fields {
    text: String,
    others: Map<String, Value>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.text = format!("{value:?}"),
            name => {
                let mut value = format!("{value:?}");
                value.truncate(value.floor_char_boundary(MAX_LINE));
                self.others.insert(name.to_owned(), value.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(json: bool) -> Layout {
        let style = Style { utc: true.into(), colour: false.into(), json: json.into() };
        Layout { pid: 42, style: Arc::new(style) }
    }

    #[test]
    fn a_line_has_srs_fields_and_an_end() {
        let mut line = String::new();
        layout(false).plain(Writer::new(&mut line), Level::WARN, "text").unwrap();
        let (time, rest) = line.split_at("[2026-01-31 12:00:00.123]".len());
        assert!(time.starts_with('[') && time.ends_with(']'), "{time}");
        assert_eq!(rest, "[Warn][42][0][0] text\n");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut line = String::new();
        layout(false).plain(Writer::new(&mut line), Level::INFO, &"ö".repeat(5000)).unwrap();
        assert!((MAX_LINE - 1..=MAX_LINE).contains(&line.len()), "{}", line.len());
        assert!(line.ends_with("ö\n"));
    }

    #[test]
    fn json_is_one_object_whatever_the_text() {
        let mut line = String::new();
        let others = Map::from_iter([("pid".to_owned(), "not mine".into()), ("extra".to_owned(), 1.into())]);
        layout(true).json(Writer::new(&mut line), Level::INFO, "\"quoted\" \\".into(), others).unwrap();
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "\"quoted\" \\");
        assert_eq!(
            (&value["level"], &value["pid"], &value["extra"]),
            (&"info".into(), &42.into(), &1.into())
        );
        let time = value["time"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
}
