//! `millstream bandwidth URL`: how much the line to a server carries, by SRS's bandwidth test.
//!
//! The client's own clock and counters give the rates, except that what arrived of an upload only the server knows.
//! Bounded: the whole test by [`LIMIT`], what the server may send by [`Limits::TEST`].

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use mill_media::amf0::{Object, Value};
use mill_rtmp::bandcheck as say;
use mill_rtmp::chunk::{Limits, Reader, writer};
use mill_rtmp::command::Command;
use mill_rtmp::message::types;
use mill_rtmp::{handshake, url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::relay::client;
use crate::relay::dial::{Dialer, Transport};
use crate::relay::target::Server;

/// A test takes little more than six seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Texts in one command of data: some 20 kB.
const TEXTS: usize = 401;

/// The protocol's own chunk size, which a test does not change.
const CHUNK_SIZE: usize = 128;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Rtmp(#[from] mill_rtmp::Error),
    #[error("{0}")]
    Connect(#[from] client::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the server has closed the connection: does the vhost have `bandcheck`, and is the key right?")]
    Closed,
    #[error("the server refuses: {0}")]
    Refused(String),
    #[error("this vhost has streams and no bandwidth test")]
    NoTest,
    #[error("no result within {LIMIT:?}")]
    Timeout,
}

/// A finished test. Shown as two lines.
#[derive(Debug, Default)]
pub(crate) struct Report {
    download: Rate,
    upload: Rate,
}

#[derive(Debug, Default)]
struct Rate {
    bytes: u64,
    time: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "upload   {}", self.upload)?;
        write!(f, "download {}", self.download)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        let kbps = self.bytes as f64 * 8.0 / 1000.0 / seconds.max(0.001);
        write!(f, "{kbps:.0} kbit/s ({} bytes in {seconds:.3} s)", self.bytes)
    }
}

/// Does the test with the server that `url` names: `rtmp://host[:port]/app?key=K&vhost=V`, or `rtmps`.
pub(crate) async fn run(url: &str) -> Result<Report, Error> {
    let target = url::resolve(url, "")?;
    let test = async {
        let dialer = Dialer::new(u64::from(std::process::id()));
        let line = dialer.connect(&Server::of(&target), Path::new(""), LIMIT).await?;
        Test::new(line).run(url, &target.app).await
    };
    tokio::time::timeout(LIMIT, test).await.unwrap_or(Err(Error::Timeout))
}

struct Test {
    line: Transport,
    reader: Reader,
    input: BytesMut,
    output: BytesMut,
    received: u64,
    /// Data goes out whenever the socket takes some.
    publishing: bool,
    report: Report,
    /// Where the direction that runs began.
    begun: Instant,
    before: u64,
}

impl Test {
    fn new(line: Transport) -> Self {
        Self {
            line,
            reader: Reader::new(Limits::TEST),
            input: BytesMut::new(),
            output: BytesMut::new(),
            received: 0,
            publishing: false,
            report: Report::default(),
            begun: Instant::now(),
            before: 0,
        }
    }

    async fn run(mut self, tc_url: &str, app: &str) -> Result<Report, Error> {
        self.shake_hands().await?;
        let object = Object::new().with("app", app).with("tcUrl", tc_url).with("objectEncoding", 0.0);
        let connect = Command { object: object.into(), ..Command::new("connect", 1.0, []) };
        self.send(writer::COMMAND, &connect);
        loop {
            while let Some(message) = self.reader.read(&mut self.input)? {
                if message.message_type == types::COMMAND {
                    let command = Command::parse(&message.payload)?;
                    if self.handle(&command)? {
                        self.line.write_all(&self.output).await?;
                        self.line.shutdown().await?;
                        return Ok(self.report);
                    }
                }
            }
            if self.publishing && self.output.is_empty() {
                self.send(writer::DATA, &say::data(say::PUBLISHING, TEXTS));
                // On a line that never holds us up nothing else would let us hear that it is enough.
                tokio::task::yield_now().await;
            }
            let (mut reader, mut writer) = tokio::io::split(&mut self.line);
            tokio::select! {
                read = reader.read_buf(&mut self.input) => match read? {
                    0 => return Err(Error::Closed),
                    n => self.received += n as u64,
                },
                written = writer.write(&self.output), if !self.output.is_empty() => {
                    self.output.advance(written?);
                    // What TLS has taken may lie there still.
                    writer.flush().await?;
                }
            }
        }
    }

    async fn shake_hands(&mut self) -> Result<(), Error> {
        let mut handshake = handshake::Client::new(u64::from(std::process::id()));
        while !handshake.handle_input(&mut self.input, &mut self.output)? {
            self.line.write_all(&self.output.split()).await?;
            self.line.flush().await?;
            if self.line.read_buf(&mut self.input).await? == 0 {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Answers one command; whether it was the last.
    fn handle(&mut self, command: &Command) -> Result<bool, Error> {
        match command.name.as_str() {
            say::START_PLAY => {
                self.begin();
                self.say(say::STARTING_PLAY);
            }
            say::STOP_PLAY => {
                self.report.download =
                    Rate { bytes: self.received - self.before, time: self.begun.elapsed() };
                self.say(say::STOPPED_PLAY);
            }
            say::START_PUBLISH => {
                self.begin();
                self.say(say::STARTING_PUBLISH);
                self.publishing = true;
            }
            say::STOP_PUBLISH => {
                self.publishing = false;
                let bytes = command.info().and_then(|info| info.get("bytes_delta")?.as_number());
                let bytes = bytes.map_or(0, |bytes| bytes as u64);
                self.report.upload = Rate { bytes, time: self.begun.elapsed() };
                self.say(say::STOPPED_PUBLISH);
            }
            say::FINISHED => {
                self.say(say::FINAL);
                return Ok(true);
            }
            "onBWDone" => return Err(Error::NoTest),
            "onStatus" | "_error" => {
                let info = |key| command.info()?.get(key).and_then(Value::as_str);
                if info("level") == Some("error") {
                    return Err(Error::Refused(info("description").unwrap_or("no reason given").to_owned()));
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn begin(&mut self) {
        (self.begun, self.before) = (Instant::now(), self.received);
    }

    fn say(&mut self, name: &str) {
        self.send(writer::DATA, &say::command(name, Object::new()));
    }

    fn send(&mut self, chunk_stream: u8, command: &Command) {
        let mut body = Vec::new();
        command.write(&mut body);
        writer::write_message(&mut self.output, chunk_stream, types::COMMAND, 0, 0, &body, CHUNK_SIZE);
    }
}
