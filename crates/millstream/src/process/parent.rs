//! `asprocess`: the server ends when the process that started it is gone.

use std::time::Duration;

use rustix::process::{Pid, getppid};

/// How often the parent is looked for, as in SRS. The kernel's own signal for this would be tied to the
/// thread that started us, not to the process.
const LOOK: Duration = Duration::from_secs(1);

/// The parent that must stay; or none in particular.
pub(super) struct Parent(Option<Pid>);

/// There is no parent to stay with.
#[derive(Debug, thiserror::Error)]
#[error("asprocess is on, but this process has no parent to follow: it is a child of init")]
pub(crate) struct Orphan;

impl Orphan {
    /// SRS's number.
    pub(crate) const CODE: u16 = 1021;
}

impl Parent {
    /// Remembers today's parent if `asprocess` is on.
    ///
    /// # Errors
    /// If that parent is init, which adopts everybody, or outside our process namespace.
    pub(crate) fn to_follow(asprocess: bool) -> Result<Self, Orphan> {
        if !asprocess {
            return Ok(Self(None));
        }
        match getppid() {
            Some(parent) if parent != Pid::INIT => Ok(Self(Some(parent))),
            _ => Err(Orphan),
        }
    }

    /// Returns when the parent is gone; never, if there is none to follow.
    pub(crate) async fn gone(&self) {
        let Some(parent) = self.0 else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(LOOK);
        while getppid() == Some(parent) {
            ticks.tick().await;
        }
    }
}
