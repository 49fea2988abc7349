//! The HTTP API as a backend asks it.

use super::SOON;
use super::http::{Body, Head, Http};
use super::server::Server;
use serde_json::Value;
use std::net::SocketAddr;

/// An answer with its body.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.head.status, 200, "{}", self.text);
        assert_eq!(self.head.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

/// Any method on any path of any port.
#[track_caller]
pub(crate) fn ask(addr: SocketAddr, method: &str, path: &str) -> Answer {
    ask_with(addr, method, path, "")
}

/// The same with more headers, each with its line end.
#[track_caller]
pub(crate) fn ask_with(addr: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut http = Http::connect(addr);
    http.send(format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n").as_bytes());
    read(http.answer(method == "HEAD"))
}

/// The whole of an answer.
#[track_caller]
pub(crate) fn read(mut body: Body) -> Answer {
    let text = String::from_utf8(body.read_to_end(SOON)).expect("answers are UTF-8");
    Answer { head: body.head, text }
}

/// `GET /api/v1/…` on the API port, as JSON.
#[track_caller]
pub(crate) fn get(server: &Server, path: &str) -> Value {
    ask(server.api_addr(), "GET", &format!("/api/v1/{path}")).json()
}

/// The code of an answer.
#[track_caller]
pub(crate) fn code(answer: &Value) -> u64 {
    answer["code"].as_u64().unwrap_or_else(|| panic!("no code in {answer}"))
}

/// The elements of a list in an answer.
#[track_caller]
pub(crate) fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().unwrap_or_else(|| panic!("no list {name} in {answer}"))
}

/// A text in an answer.
#[track_caller]
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name} in {value}"))
}

/// All clients, up to a thousand.
#[track_caller]
pub(crate) fn clients(server: &Server) -> Vec<Value> {
    list(&get(server, "clients/?count=1000"), "clients").to_vec()
}
