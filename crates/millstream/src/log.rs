//! Log lines in SRS's layout, and where they go.
//!
//! `[2026-01-31 12:00:00.123][Trace][pid][cid] text`; warnings and errors carry a fifth field, the system's
//! error number. Operators grep for these lines, so texts at the moments listed in SRS's documents keep
//! SRS's words. A line is handed to a writer thread: a slow disk or terminal costs lines, never media.

use std::fmt;
use std::fs::OpenOptions;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use mill_config::model::{Level as Least, Tank};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Lines that may wait for a slow disk before lines are dropped: some megabytes.
const MAX_WAITING_LINES: usize = 16 * 1024;

tokio::task_local! {
    static CID: u64;
}

/// Runs a task under a context id.
pub(crate) fn with_cid<F: Future>(cid: u64, task: F) -> impl Future<Output = F::Output> {
    CID.scope(cid, task)
}

/// Logs something on behalf of another task.
pub(crate) fn under(cid: u64, log: impl FnOnce()) {
    CID.sync_scope(cid, log);
}

/// Starts logging. Lines are written until the guard is dropped; dropping it writes out what waits.
pub(crate) fn init(conf: &mill_config::model::Log, utc: bool) -> io::Result<WorkerGuard> {
    let (writer, colour): (Box<dyn Write + Send>, bool) = match conf.tank {
        Tank::Console => (Box::new(io::stdout()), io::stdout().is_terminal()),
        Tank::File => {
            let file = open(&conf.file)?;
            point_to(&conf.file);
            (Box::new(file), false)
        }
    };
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(MAX_WAITING_LINES).lossy(true).finish(writer);
    let layout = Layout { pid: std::process::id(), utc, colour };
    tracing_subscriber::fmt()
        .with_max_level(max_level(conf.level))
        .event_format(layout)
        .with_writer(writer)
        .try_init()
        .map_err(io::Error::other)?;
    Ok(guard)
}

/// Tells whoever looks at the console where to look instead.
#[expect(clippy::print_stdout, reason = "it is about the log not being on the console")]
fn point_to(file: &Path) {
    println!("millstream: the log is written to {}", file.display());
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    let describe = |e: io::Error| io::Error::new(e.kind(), format!("log file {}: {e}", path.display()));
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(describe)?;
    }
    OpenOptions::new().create(true).append(true).open(path).map_err(describe)
}

fn max_level(least: Least) -> LevelFilter {
    match least {
        Least::Trace => LevelFilter::TRACE,
        Least::Debug => LevelFilter::DEBUG,
        Least::Info => LevelFilter::INFO,
        Least::Warn => LevelFilter::WARN,
        Least::Error => LevelFilter::ERROR,
    }
}

struct Layout {
    pid: u32,
    utc: bool,
    colour: bool,
}

impl Layout {
    fn line<S, N>(&self, ctx: &FmtContext<'_, S, N>, mut w: Writer<'_>, event: &Event<'_>) -> fmt::Result
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        let now = jiff::Timestamp::now();
        let zone = if self.utc { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::system() };
        let level = *event.metadata().level();
        // SRS's words are one step finer than everybody else's: its everyday level is called trace.
        let label = match level {
            Level::ERROR => "Error",
            Level::WARN => "Warn",
            Level::INFO => "Trace",
            Level::DEBUG => "Debug",
            Level::TRACE => "Verb",
        };
        let cid = CID.try_with(|cid| *cid).unwrap_or(0);
        let time = now.to_zoned(zone);
        write!(w, "[{}][{label}][{}][{cid}]", time.strftime("%Y-%m-%d %H:%M:%S.%3f"), self.pid)?;
        if level <= Level::WARN {
            write!(w, "[0]")?;
        }
        write!(w, " ")?;
        ctx.field_format().format_fields(w.by_ref(), event)
    }
}

impl<S, N> FormatEvent<S, N> for Layout
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut w: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let colour = match *event.metadata().level() {
            Level::ERROR if self.colour => "\x1b[31m",
            Level::WARN if self.colour => "\x1b[33m",
            _ => "",
        };
        let mut line = String::new();
        self.line(ctx, Writer::new(&mut line), event)?;
        // What a peer sent may be in here: one event stays one line.
        let line = line.replace(['\n', '\r'], " ");
        let end = if colour.is_empty() { "" } else { "\x1b[0m" };
        writeln!(w, "{colour}{line}{end}")
    }
}

/// A stream's parameters for the log: names stay, values (tokens, passwords) do not.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((path, query)) = self.0.split_once('?') else { return f.write_str(self.0) };
        write!(f, "{path}?")?;
        for (i, pair) in query.split('&').enumerate() {
            let separator = if i == 0 { "" } else { "&" };
            match pair.split_once('=') {
                Some(("vhost", value)) => write!(f, "{separator}vhost={value}")?,
                Some((name, _)) => write!(f, "{separator}{name}=***")?,
                None => write!(f, "{separator}***")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_parameters_are_not_logged() {
        let redacted = |s| Redacted(s).to_string();
        assert_eq!(redacted("rtmp://h/live"), "rtmp://h/live");
        assert_eq!(redacted("rtmp://h/live?vhost=a.com&token=secret"), "rtmp://h/live?vhost=a.com&token=***");
        assert_eq!(redacted("?secret"), "?***");
    }
}
