//! Frames in, files out: recordings, and segments with their playlists and manifests.
//!
//! This crate decides and opens nothing. Time of day, random bytes and frames come in as values; what is to be
//! done comes out as [`action::Action`]s, which a driver carries out in order, at once or on a thread that may
//! wait for a disk. The road is the same for everything in here:
//!
//! ```text
//! frame, time ──► Recorder or Packager ──► Action ──► driver ──► disk, memory, callbacks
//!                          ▲                             │
//!                          └──────── lost() ◄── an error ┘
//! ```
//!
//! | module | decides |
//! |---|---|
//! | [`path`] | what a file is called, whatever a stream is called |
//! | [`dvr`] | which frames go into which recording, FLV or MP4 |
//! | [`cut`] | where segments begin |
//! | [`playlist`] | which segments a client is told of, over crashes and republishes |
//! | [`hls`] | all of HLS, for any container |
//! | [`dash`], [`hds`] | all of DASH; all of HDS |
//!
//! A driver promises three things: actions in order; [`action::Action::Sync`] as durable as the operator asked
//! for; and after a failed action `lost()`, with nothing left over from before carried out. It never has to
//! answer at once: a packager does not wait for its actions. What is waiting is bounded by the driver, which
//! calls `lost()` when the disk cannot keep up, and so loses a file's rest and no memory.
//!
//! After a crash the driver looks for [`path::TEMPORARY`] names. [`mill_media::flv::file::Scan`] and
//! [`mill_media::mp4::classic::Scan`] say how to make recordings whole, [`dvr::repaired`] what they are called
//! then; temporary files of segments are of no use. `examples/package.rs` does all of it with `std::fs`.

pub mod action;
mod clock;
mod crypt;
pub mod cut;
pub mod dash;
pub mod dvr;
pub mod hds;
pub mod hls;
mod mpd;
pub mod path;
pub mod playlist;
mod uri;

pub use clock::Jitter;
