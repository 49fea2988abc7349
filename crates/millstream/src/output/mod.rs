//! What takes frames and makes files: each output reads a tap in a task of its own and writes on threads that
//! may wait for a disk, so a slow or full disk is its own trouble.

pub(crate) mod clock;
pub(crate) mod dash;
mod disk;
pub(crate) mod dvr;
pub(crate) mod hds;
pub(crate) mod hls;
pub(crate) mod package;
pub(crate) mod shelf;
mod writer;
