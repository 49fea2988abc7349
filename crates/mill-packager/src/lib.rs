//! Packager.

pub mod action;
mod clock;
pub mod dvr;
pub mod hls;
pub mod path;

pub use clock::Jitter;
