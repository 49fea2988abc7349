//! What a packager wants done. It opens no file itself: whoever drives it takes the actions in order and
//! carries them out, at once or on a thread of its own, and tells the packager when that failed.

use bytes::Bytes;
use mill_media::mp4::track::Unsupported;

use crate::dvr::Recorded;
use crate::hls::Segment;

/// One thing to do. At most one file of a packager is open at a time, and [`Append`](Self::Append),
/// [`Patch`](Self::Patch), [`Sync`](Self::Sync) and [`Close`](Self::Close) mean that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Create the file, and directories as needed. The name is a temporary one; what is there is a
    /// left-over and is replaced.
    Create {
        /// Where.
        path: String,
    },
    /// Put this at the end of the file.
    Append(Bytes),
    /// Write this over what is there.
    Patch {
        /// From the beginning of the file.
        offset: u64,
        /// Never more than is there.
        bytes: Bytes,
    },
    /// What was appended should survive a crash from here on, as far as the operator pays for it.
    Sync,
    /// Close the file; it is complete.
    Close(Close),
    /// Write a whole small file: under a temporary name, then renamed, so that nobody reads half of it.
    Replace {
        /// Where.
        path: String,
        /// All of it.
        content: Bytes,
    },
    /// Delete a file; that it is gone already is no error.
    Remove {
        /// Which.
        path: String,
    },
    /// A recording is complete: carry out its [`Close`] first, then tell whom it concerns.
    Recorded(Recorded),
    /// A segment is complete and in the playlist.
    Segment(Segment),
    /// A track of the stream is not in the file, because it cannot be.
    LeftOut(Unsupported),
}

/// What becomes of a complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// A segment gets its name; what had it is replaced.
    Replace {
        /// As created.
        from: String,
        /// Its name.
        to: String,
    },
    /// A recording gets its name. If that is taken it gets another, [`numbered`](crate::path::numbered): nothing
    /// recorded is ever replaced.
    Keep {
        /// As created.
        from: String,
        /// Its name.
        to: String,
    },
    /// A recording in fragments: a classic file is made of it by [`classic`](mill_media::mp4::classic), under
    /// yet another name; that file is kept as in [`Keep`](Self::Keep), and then the first is removed. Whoever is
    /// killed meanwhile finds the first again, and
    /// where it fails it can be tried again: nothing else waits for it.
    Finalise {
        /// As created.
        from: String,
        /// Its name.
        to: String,
    },
    /// There is nothing in it: remove it.
    Discard {
        /// As created.
        path: String,
    },
}
