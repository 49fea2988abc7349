//! A browser without a window: Chromium, driven over two pipes by its DevTools protocol.

use super::process::Process;
use super::server::Folder;
use super::{PATIENCE, pause};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Browsers want more of a machine than anything else here, and pictures are late where they do not get it: one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A browser with one page; it ends with this value.
pub(crate) struct Browser {
    process: Process,
    commands: File,
    answers: File,
    unread: Vec<u8>,
    last: u64,
    session: Option<String>,
    /// What pages have complained about so far.
    complaints: Vec<String>,
    // After the process, which works there.
    _dir: Folder,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts it with an empty page.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = Folder::new();
        let pipe = |name: &str| {
            let path = dir.path().join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can be made");
            // For both directions, so that opening waits for nobody; without waiting, so that reads have a deadline.
            let mut open = OpenOptions::new();
            open.read(true).write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
            open.open(path).expect("a pipe can be opened")
        };
        let (commands, answers) = (pipe("in"), pipe("out"));
        // It reads commands from descriptor 3 and writes answers to 4, which a shell can give it.
        let mut command = Command::new("sh");
        command.current_dir(dir.path()).args(["-c", "exec \"$@\" 3<in 4>out", "sh", "chromium"]);
        command.args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--user-data-dir=profile",
            // Tests run as root in containers, where its own sandbox cannot be had.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--mute-audio",
            "--autoplay-policy=no-user-gesture-required",
            // Certificates of tests are signed by themselves.
            "--ignore-certificate-errors",
            "about:blank",
        ]);
        let process = Process::start(&mut command);
        let (unread, complaints) = (Vec::new(), Vec::new());
        let mut browser = Self {
            process,
            commands,
            answers,
            unread,
            last: 0,
            session: None,
            complaints,
            _dir: dir,
            _turn: turn,
        };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser.ask("Runtime.enable", &json!({}));
        browser.ask("Log.enable", &json!({}));
        browser
    }

    /// Goes to a page.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        let gone = self.ask("Page.navigate", &json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let answer =
            self.ask("Runtime.evaluate", &json!({ "expression": expression, "returnByValue": true }));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Errors on the page's console and exceptions nobody caught.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Sends a command and waits for its answer.
    #[track_caller]
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let text = format!("{command}\0");
        // A command is smaller than a pipe.
        self.commands.write_all(text.as_bytes()).expect("a pipe takes a command");
        let end = Instant::now() + PATIENCE;
        loop {
            while let Some(at) = self.unread.iter().position(|&byte| byte == 0) {
                let message: Vec<u8> = self.unread.drain(..=at).collect();
                let message: Value = serde_json::from_slice(&message[..at]).expect("the browser writes JSON");
                if message["id"] == self.last {
                    assert!(message["error"].is_null(), "{method}: {message}");
                    return message["result"].clone();
                }
                self.note(&message);
            }
            let mut read = [0; 64 << 10];
            match self.answers.read(&mut read) {
                Ok(n) if n > 0 => self.unread.extend_from_slice(&read[..n]),
                _ => {
                    let lives = self.process.alive() && Instant::now() < end;
                    assert!(lives, "no answer to {method}. The browser said:\n{}", self.process.said());
                    pause();
                }
            }
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let is_error = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => params["type"] == "error",
            Some("Log.entryAdded") => params["entry"]["level"] == "error",
            _ => false,
        };
        if is_error {
            self.complaints.push(params.to_string());
        }
    }
}
