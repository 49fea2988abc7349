//! Packager.

pub mod path;
