//! `/api/v1/dvrs`: what is being recorded, and the switch for the recording of a running stream. SRS has no such
//! resource. A switch counts until the publish ends; the configuration stays as it is.

use hyper::Method;
use mill_hub::StreamId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked};
use crate::attach::Shown;

/// SRS's number for a stream nobody knows.
const NO_STREAM: u32 = 2048;

/// And for a vhost that records nothing.
const NO_DVR: u32 = 1062;

#[derive(Serialize, ToSchema)]
pub(super) struct Dvrs {
    dvrs: Vec<Dvr>,
}

/// The recording of a published stream.
#[derive(Serialize, ToSchema)]
struct Dvr {
    vhost: String,
    app: String,
    stream: String,
    /// The id of the client that publishes.
    cid: String,
    /// `recording`, `waiting` for a frame to begin with or for a disk, or `off`.
    state: &'static str,
    /// The temporary name of the file being written, or empty.
    file: String,
    /// Milliseconds of media in it.
    duration: i64,
    /// Bytes of it.
    bytes: u64,
    /// Files completed before it.
    files: u64,
    /// Frames that are in no file because the disk did not take them.
    lost: u64,
    /// What the disk says, while it does not take any.
    error: String,
}

impl From<Shown> for Dvr {
    fn from(shown: Shown) -> Self {
        let Shown { stream, client, recording } = shown;
        let state = match &recording {
            None => "off",
            Some(status) if status.file.is_empty() => "waiting",
            Some(_) => "recording",
        };
        let status = recording.unwrap_or_default();
        Self {
            vhost: stream.vhost,
            app: stream.app,
            stream: stream.name,
            cid: client.to_string(),
            state,
            file: status.file,
            duration: status.duration,
            bytes: status.bytes,
            files: status.files,
            lost: status.lost,
            error: status.error,
        }
    }
}

pub(super) fn answer(asked: &Asked<'_>) -> Answer {
    match asked.method {
        Method::POST => switch(asked, true),
        Method::DELETE => switch(asked, false),
        _ => list(asked),
    }
}

fn list(asked: &Asked<'_>) -> Answer {
    let mut shown = asked.ctx.outputs.recordings();
    shown.sort_by(|a, b| a.stream.cmp(&b.stream));
    Answer::ok(asked.ctx, &Dvrs { dvrs: shown.into_iter().map(Dvr::from).collect() })
}

fn switch(asked: &Asked<'_>, on: bool) -> Answer {
    let (ctx, text) = (asked.ctx, |name: &str| asked.query.text(name).into_owned());
    let vhost = ctx.config.load().vhost(&text("vhost")).cloned();
    if vhost.as_ref().is_some_and(|vhost| !vhost.dvr.enabled) {
        return Answer::code(NO_DVR);
    }
    let stream = vhost.map(|vhost| vhost.name.clone()).map(|vhost| StreamId {
        vhost,
        app: text("app"),
        name: text("stream"),
    });
    match stream.is_some_and(|stream| ctx.outputs.record(&ctx.config, &stream, on)) {
        true => list(asked),
        false => Answer::code(NO_STREAM),
    }
}
