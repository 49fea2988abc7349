//! Packager.

pub mod action;
mod clock;
mod crypt;
pub mod cut;
pub mod dvr;
pub mod hls;
pub mod path;
pub mod playlist;
mod uri;

pub use clock::Jitter;
