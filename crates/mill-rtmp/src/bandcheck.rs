//! SRS's bandwidth test: the commands both ends say to each other, in this order.
//!
//! ```text
//! S START_PLAY ── C STARTING_PLAY ── S PLAYING … ── S STOP_PLAY ── C STOPPED_PLAY
//! S START_PUBLISH ── C STARTING_PUBLISH ── C PUBLISHING … ── S STOP_PUBLISH ── C STOPPED_PUBLISH
//! S FINISHED ── C FINAL
//! ```
//!
//! All are commands without transaction, with null and one object. Clients in Flash say neither STOPPED_PUBLISH
//! nor FINAL.

use mill_media::amf0::{Object, Value};

use crate::command::Command;

/// Server: data will come.
pub const START_PLAY: &str = "onSrsBandCheckStartPlayBytes";
/// Client: let it come.
pub const STARTING_PLAY: &str = "onSrsBandCheckStartingPlayBytes";
/// Server: data.
pub const PLAYING: &str = "onSrsBandCheckPlaying";
/// Server: that was all.
pub const STOP_PLAY: &str = "onSrsBandCheckStopPlayBytes";
/// Client: got it.
pub const STOPPED_PLAY: &str = "onSrsBandCheckStoppedPlayBytes";
/// Server: send data.
pub const START_PUBLISH: &str = "onSrsBandCheckStartPublishBytes";
/// Client: data will come.
pub const STARTING_PUBLISH: &str = "onSrsBandCheckStartingPublishBytes";
/// Client: data.
pub const PUBLISHING: &str = "onSrsBandCheckPublishing";
/// Server: enough.
pub const STOP_PUBLISH: &str = "onSrsBandCheckStopPublishBytes";
/// Client: that was all.
pub const STOPPED_PUBLISH: &str = "onSrsBandCheckStoppedPublishBytes";
/// Server: the result.
pub const FINISHED: &str = "onSrsBandCheckFinished";
/// Client: good bye.
pub const FINAL: &str = "finalClientPacket";

/// One step of the test.
pub fn command(name: &str, object: Object) -> Command {
    Command::new(name, 0.0, [object.into()])
}

/// Data: an object of so many texts.
pub fn data(name: &str, texts: usize) -> Command {
    let text = "SRS band check data from server's playing......";
    let object = (0..texts).fold(Object::new(), |object, n| object.with(n.to_string(), Value::from(text)));
    command(name, object)
}
