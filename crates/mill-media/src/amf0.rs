//! AMF0, the self-describing values of FLV script data and RTMP commands (Adobe, *Action Message Format –
//! AMF 0*, 2007).
//!
//! Reading is lenient where encoders in the field are sloppy: the count of an ECMA array is ignored, an
//! object may end with the input instead of its end marker, text that is not UTF-8 is repaired, and types
//! nobody uses (movie clip, unsupported, reference) become [`Value::Undefined`]. Writing is strict. What
//! was read and written again reads as the same values.

#[cfg(test)]
mod tests;

/// How deep objects and arrays may nest. Metadata nests two or three levels; reading recurses, so the
/// limit also keeps a hostile message from exhausting the stack.
pub const MAX_DEPTH: usize = 32;

/// How many values one call reads, containers and their members counted alike. A null takes one byte on
/// the wire and some forty in memory; this caps the ratio's effect at a few megabytes, and leaves room
/// for the keyframe index of a day-long recording.
pub const MAX_VALUES: usize = 1 << 16;

/// The longest key, and the longest string with a 16-bit length, in bytes (section 2.4: `U16` length).
pub const MAX_SHORT: usize = u16::MAX as usize;

/// Type markers, section 2.1. Record set and the switch to AMF3 are not among them: they end reading.
mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const MOVIE_CLIP: u8 = 0x04;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const REFERENCE: u8 = 0x07;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0a;
    pub(super) const DATE: u8 = 0x0b;
    pub(super) const LONG_STRING: u8 = 0x0c;
    pub(super) const UNSUPPORTED: u8 = 0x0d;
    pub(super) const XML_DOCUMENT: u8 = 0x0f;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
}

/// One AMF0 value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A double, the only number there is (section 2.2).
    Number(f64),
    /// Section 2.3; any byte but 0 is true.
    Boolean(bool),
    /// Sections 2.4, 2.14 (long string) and 2.17 (XML document). Written in the short form when it fits.
    String(String),
    /// Section 2.5, and a typed object (2.18) without its class name.
    Object(Object),
    /// Section 2.7.
    Null,
    /// Section 2.8, and what is read from a movie clip (2.6), a reference (2.9) and unsupported (2.15).
    Undefined,
    /// Section 2.10: an object that announces how many members it has.
    EcmaArray(Object),
    /// Section 2.12.
    StrictArray(Vec<Value>),
    /// Section 2.13.
    Date {
        /// Milliseconds since 1970-01-01 UTC.
        millis: f64,
        /// Minutes from UTC; the specification wants 0.
        zone: i16,
    },
}

/// Why bytes are not AMF0. Offsets count from the beginning of the slice given to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ends inside a value.
    #[error("AMF0 value at byte {offset} is cut off")]
    Truncated {
        /// Where the missing bytes should begin.
        offset: usize,
    },
    /// A type this reader cannot skip: record set, AMF3, a stray end marker or no type at all.
    #[error("AMF0 type {marker:#04x} at byte {offset} is not supported")]
    Marker {
        /// Where the marker stands.
        offset: usize,
        /// The marker found.
        marker: u8,
    },
    /// More than [`MAX_DEPTH`] levels.
    #[error("AMF0 values nest deeper than {MAX_DEPTH} levels at byte {offset}")]
    TooDeep {
        /// Where the level too many begins.
        offset: usize,
    },
    /// More than [`MAX_VALUES`] values.
    #[error("more than {MAX_VALUES} AMF0 values at byte {offset}")]
    TooMany {
        /// Where the value too many begins.
        offset: usize,
    },
}

impl Value {
    /// Reads one value and moves `input` behind it; on an error `input` stays where it was.
    pub fn parse(input: &mut &[u8]) -> Result<Self, Error> {
        let mut reader = Reader { input, at: 0, values: 0 };
        let value = reader.value(0)?;
        *input = &input[reader.at..];
        Ok(value)
    }

    /// Appends the value. Strings and arrays are taken to be shorter than 2^32, the limit of their length
    /// fields, as everything is that fits into a message.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(marker::NUMBER);
                out.extend(number.to_be_bytes());
            }
            Self::Boolean(boolean) => out.extend([marker::BOOLEAN, u8::from(*boolean)]),
            Self::String(text) if text.len() <= MAX_SHORT => {
                out.push(marker::STRING);
                write_short(text, out);
            }
            Self::String(text) => {
                out.push(marker::LONG_STRING);
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(text.as_bytes());
            }
            Self::Object(object) => {
                out.push(marker::OBJECT);
                object.write_members(out);
            }
            Self::Null => out.push(marker::NULL),
            Self::Undefined => out.push(marker::UNDEFINED),
            Self::EcmaArray(object) => {
                out.push(marker::ECMA_ARRAY);
                out.extend((object.len() as u32).to_be_bytes());
                object.write_members(out);
            }
            Self::StrictArray(values) => {
                out.push(marker::STRICT_ARRAY);
                out.extend((values.len() as u32).to_be_bytes());
                values.iter().for_each(|value| value.write(out));
            }
            Self::Date { millis, zone } => {
                out.push(marker::DATE);
                out.extend(millis.to_be_bytes());
                out.extend(zone.to_be_bytes());
            }
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(boolean) => Some(*boolean),
            _ => None,
        }
    }

    /// The members of an object or an ECMA array.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) | Self::EcmaArray(object) => Some(object),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

/// Reads values until the input ends. [`MAX_VALUES`] counts for all of them together.
pub fn parse_all(input: &[u8]) -> Result<Vec<Value>, Error> {
    let mut reader = Reader { input, at: 0, values: 0 };
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

/// The members of an object, in the order they came. A key longer than [`MAX_SHORT`] bytes cannot be
/// written and is cut. A key that comes twice in the input is kept twice; the later one counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Gives `key` a value: in the place it already has, else at the end.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let key = clip(key.into());
        match self.0.iter().position(|(name, _)| *name == key) {
            None => self.0.push((key, value.into())),
            Some(first) => {
                let mut index = 0;
                self.0.retain(|(name, _)| {
                    index += 1;
                    index - 1 <= first || *name != key
                });
                self.0[first].1 = value.into();
            }
        }
    }

    /// [`set`](Self::set), for building an object in one expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// Takes `key` out; its value, if it was there.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.0.extract_if(.., |(name, _)| name == key).last().map(|(_, value)| value)
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members and the end marker, as they follow the marker of an object or the count of an array.
    fn write_members(&self, out: &mut Vec<u8>) {
        for (key, value) in &self.0 {
            write_short(key, out);
            value.write(out);
        }
        out.extend([0, 0, marker::OBJECT_END]);
    }
}

/// A 16-bit length and the text, which every caller has kept within [`MAX_SHORT`].
fn write_short(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// Cuts a key to what its length field can say, between two characters.
fn clip(mut key: String) -> String {
    key.truncate(key.floor_char_boundary(MAX_SHORT));
    key
}

/// A place in the input and the number of values read so far.
struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    values: usize,
}

impl Reader<'_> {
    fn is_empty(&self) -> bool {
        self.at == self.input.len()
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        let offset = self.at;
        if depth >= MAX_DEPTH {
            return Err(Error::TooDeep { offset });
        }
        if self.values >= MAX_VALUES {
            return Err(Error::TooMany { offset });
        }
        self.values += 1;
        Ok(match self.array::<1>()?[0] {
            marker::NUMBER => Value::Number(self.double()?),
            marker::BOOLEAN => Value::Boolean(self.array::<1>()? != [0]),
            marker::STRING => Value::String(self.short()?),
            marker::LONG_STRING | marker::XML_DOCUMENT => {
                let len = self.count()?;
                Value::String(self.text(len)?)
            }
            marker::OBJECT => Value::Object(self.members(depth)?),
            marker::TYPED_OBJECT => {
                self.short()?;
                Value::Object(self.members(depth)?)
            }
            marker::ECMA_ARRAY => {
                self.count()?;
                Value::EcmaArray(self.members(depth)?)
            }
            marker::STRICT_ARRAY => {
                // The count may promise more than the input holds, so nothing is reserved for it.
                let count = self.count()?;
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::StrictArray(values)
            }
            marker::DATE => Value::Date { millis: self.double()?, zone: i16::from_be_bytes(self.array()?) },
            marker::NULL => Value::Null,
            marker::UNDEFINED | marker::UNSUPPORTED | marker::MOVIE_CLIP => Value::Undefined,
            marker::REFERENCE => {
                self.array::<2>()?;
                Value::Undefined
            }
            marker => return Err(Error::Marker { offset, marker }),
        })
    }

    fn members(&mut self, depth: usize) -> Result<Object, Error> {
        let mut members = Vec::new();
        loop {
            if self.input[self.at..].starts_with(&[0, 0, marker::OBJECT_END]) {
                self.at += 3;
                break;
            }
            // Some encoders leave the end marker out at the end of a message.
            if self.is_empty() {
                break;
            }
            let key = clip(self.short()?);
            members.push((key, self.value(depth + 1)?));
        }
        Ok(Object(members))
    }

    fn short(&mut self) -> Result<String, Error> {
        let len = u16::from_be_bytes(self.array()?);
        self.text(len.into())
    }

    fn text(&mut self, len: usize) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.take(len)?).into_owned())
    }

    fn count(&mut self) -> Result<usize, Error> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }

    fn double(&mut self) -> Result<f64, Error> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns as many bytes as asked for"))
    }

    fn take(&mut self, len: usize) -> Result<&[u8], Error> {
        let rest = &self.input[self.at..];
        let bytes = rest.get(..len).ok_or(Error::Truncated { offset: self.input.len() })?;
        self.at += len;
        Ok(bytes)
    }
}
