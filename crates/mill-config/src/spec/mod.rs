//! The table of directives: one row says everything about one directive.
//!
//! Parsing, defaults, checks, environment names, `conf/full.conf`, `docs/configuration.md` and the reload
//! effects all come from these rows and from nowhere else. One file per block or family of blocks; the root
//! is in `global.rs`. To say that a feature has arrived, change the status word of its rows to
//! [`Status::Implemented`].

// The tables are not formatted: one row, one line.
#[rustfmt::skip]
mod access;
#[rustfmt::skip]
mod caster;
#[rustfmt::skip]
mod cluster;
#[rustfmt::skip]
mod dash;
#[rustfmt::skip]
mod dvr;
#[rustfmt::skip]
mod global;
#[rustfmt::skip]
mod hls;
#[rustfmt::skip]
mod http;
#[rustfmt::skip]
mod monitor;
#[rustfmt::skip]
mod play;
#[rustfmt::skip]
mod process;
#[rustfmt::skip]
mod publish;
#[rustfmt::skip]
mod rtc;
#[rustfmt::skip]
mod srt;
#[rustfmt::skip]
mod vhost;
#[rustfmt::skip]
mod vhost_http;

/// A directive as the table describes it.
#[derive(Debug)]
pub struct Row {
    /// Name as written in the file.
    pub name: &'static str,
    /// What its arguments are.
    pub kind: Kind,
    /// What holds when it is not given, as one would write it; empty for none.
    pub default: &'static str,
    /// Whether the server acts on it.
    pub status: Status,
    /// When a changed value takes effect after a reload.
    pub effect: Effect,
    /// What it means, in one line.
    pub doc: &'static str,
    /// Numbers it accepts.
    pub range: Range,
    /// Words of a block's head, or a value where there is no default: for `full.conf` and the reference.
    pub example: &'static str,
    /// All of this name count, not only the first.
    pub repeats: bool,
    /// Names not in the table are no errors inside this block (SRS never looked there).
    pub open: bool,
    /// A file without it is refused.
    pub required: bool,
    /// When not given, the directive of the same name at the root of the configuration holds.
    pub inherits: bool,
    /// Words that ask for a feature that does not exist yet, and its name.
    pub waits: &'static [(&'static str, &'static str)],
    /// Environment names besides the one that follows from the path.
    pub aliases: &'static [&'static str],
}

/// Shape of a directive's arguments.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A switch that only the word `off` turns off.
    BoolOn,
    /// A switch that only the word `on` turns on.
    BoolOff,
    /// A whole number.
    Int(Unit),
    /// A number with an optional fraction.
    Float(Unit),
    /// One of a few words.
    Word(&'static [&'static str], Otherwise),
    /// Any text.
    Text,
    /// A path of a file or directory.
    Path,
    /// Any number of texts.
    List,
    /// `port`, `ip:port` or `[ipv6]:port`.
    Endpoint,
    /// Any number of endpoints.
    Endpoints,
    /// A block of names of the user's choice.
    Map,
    /// A block of these directives.
    Block(&'static [Row]),
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Plain,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Bytes.
    Bytes,
    /// Thousands of bits per second.
    Kbps,
    /// Bits per second.
    Bps,
    /// Hertz.
    Hertz,
    /// Parts of a hundred.
    Percent,
    /// Picture elements.
    Pixels,
}

/// What becomes of a word that is not among those listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It makes the configuration invalid.
    Refused,
    /// It is read as this word, with a warning.
    ReadAs(&'static str),
}

/// Numbers a directive accepts, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Whether a number outside makes the configuration invalid; otherwise the nearest accepted one is used,
    /// with a warning.
    pub strict: bool,
}

/// Whether the server acts on a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Implemented,
    /// Not yet; names the missing feature.
    Planned(&'static str),
    /// It never will, for the reason given.
    Ignored(&'static str),
}

/// When a changed value takes effect after a reload, least disturbing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// For connections, streams or events that begin afterwards.
    NewSessions,
    /// At once, for live sessions too.
    AtOnce,
    /// The part of the server it belongs to is stopped and started, on live streams too; the streams go on.
    RestartsComponent,
    /// New sockets are bound, those no longer wanted closed; connections stay.
    RebindsListener,
    /// When the server is started again.
    NeedsRestart,
}

/// Every number SRS can hold that makes sense nearly everywhere: from nothing to the largest 32-bit integer.
pub(crate) const ANY_NUMBER: Range = Range { min: 0.0, max: i32::MAX as f64, strict: false };

/// A row without frills; the functions below add them.
const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    status: Status,
    effect: Effect,
    doc: &'static str,
) -> Row {
    Row {
        name,
        kind,
        default,
        status,
        effect,
        doc,
        range: ANY_NUMBER,
        example: "",
        repeats: false,
        open: false,
        required: false,
        inherits: false,
        waits: &[],
        aliases: &[],
    }
}

/// A block of rows.
const fn block(
    name: &'static str,
    rows: &'static [Row],
    status: Status,
    effect: Effect,
    doc: &'static str,
) -> Row {
    row(name, Kind::Block(rows), "", status, effect, doc)
}

impl Row {
    /// Numbers outside are replaced by the nearest end, with a warning.
    const fn clamped(mut self, min: f64, max: f64) -> Self {
        self.range = Range { min, max, strict: false };
        self
    }

    /// Numbers outside make the configuration invalid.
    const fn strict(mut self, min: f64, max: f64) -> Self {
        self.range = Range { min, max, strict: true };
        self
    }

    /// These words ask for features that do not exist yet.
    const fn waits(mut self, words: &'static [(&'static str, &'static str)]) -> Self {
        self.waits = words;
        self
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    const fn open(mut self) -> Self {
        self.open = true;
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn inherits(mut self) -> Self {
        self.inherits = true;
        self
    }

    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The rows of a block; none for any other kind.
    #[must_use]
    pub const fn rows(&self) -> &'static [Row] {
        match self.kind {
            Kind::Block(rows) => rows,
            _ => &[],
        }
    }

    /// Whether all arguments count, not only the first.
    pub(crate) const fn takes_many(&self) -> bool {
        matches!(self.kind, Kind::List | Kind::Endpoints)
    }

    pub(crate) const fn is_block(&self) -> bool {
        matches!(self.kind, Kind::Block(_) | Kind::Map)
    }
}

/// A row and where it stands.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Names of the blocks around it, outermost first.
    pub scope: Vec<&'static str>,
    /// The row.
    pub row: &'static Row,
}

impl Entry {
    /// Dotted path, such as `vhost.play.gop_cache`.
    #[must_use]
    pub fn path(&self) -> String {
        let names: Vec<&str> = self.scope.iter().copied().chain([self.row.name]).collect();
        names.join(".")
    }

    /// Environment names that set it, the one that follows from the path first; none for blocks.
    #[must_use]
    pub fn env_names(&self) -> Vec<String> {
        if self.row.is_block() || self.row.name == "include" {
            return Vec::new();
        }
        let derived = format!("SRS_{}", self.path().replace('.', "_").to_uppercase());
        std::iter::once(derived).chain(self.row.aliases.iter().map(|alias| (*alias).to_owned())).collect()
    }
}

/// The rows that may stand outside all blocks.
#[must_use]
pub fn root() -> &'static [Row] {
    global::ROOT
}

/// The row of that name among these.
pub(crate) fn find(rows: &'static [Row], name: &str) -> Option<&'static Row> {
    rows.iter().find(|row| row.name == name)
}

/// All rows of the table, each block before what it holds.
#[must_use]
pub fn entries() -> Vec<Entry> {
    fn visit(rows: &'static [Row], scope: &mut Vec<&'static str>, out: &mut Vec<Entry>) {
        for row in rows {
            out.push(Entry { scope: scope.clone(), row });
            scope.push(row.name);
            visit(row.rows(), scope, out);
            scope.pop();
        }
    }
    let mut out = Vec::new();
    visit(root(), &mut Vec::new(), &mut out);
    out
}

/// Whether some row bears this name.
pub(crate) fn is_known_name(name: &str) -> bool {
    fn any(rows: &[Row], name: &str) -> bool {
        rows.iter().any(|row| row.name == name || any(row.rows(), name))
    }
    any(root(), name)
}

#[cfg(test)]
mod tests;
