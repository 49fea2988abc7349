//! Recording.

use std::time::Duration;

use super::{Field, TimeJitter};
use crate::view::View;

super::block! {
    /// `vhost.dvr`.
    pub struct Dvr {
        /// Record streams.
        enabled: bool = "enabled",
        /// Which ones: `all`, or `app/stream` items; see [`Dvr::applies`].
        apply: Vec<String> = "dvr_apply",
        /// When a file ends.
        plan: DvrPlan = "dvr_plan",
        /// Template of the files' names; its ending chooses the container.
        path: String = "dvr_path",
        /// Length of a file under [`DvrPlan::Segment`]; zero for no end.
        duration: Duration = "dvr_duration",
        /// Begin and cut files at keyframes.
        wait_keyframe: bool = "dvr_wait_keyframe",
        /// What is done to the timestamps in files.
        time_jitter: TimeJitter = "time_jitter",
        /// How much of a recording a crash may cost.
        flush: Duration = "dvr_flush",
        /// What is flushed survives a power failure too.
        fsync: bool = "dvr_fsync",
    }
}

impl Dvr {
    /// Whether `dvr_apply` names the stream.
    #[must_use]
    pub fn applies(&self, app: &str, stream: &str) -> bool {
        let named =
            |item: &String| item.strip_prefix(app).and_then(|rest| rest.strip_prefix('/')) == Some(stream);
        self.apply.first().is_some_and(|first| first == "all") || self.apply.iter().any(named)
    }

    /// Whether a recording goes on as it is under the other value: all but `dvr_apply` is the same.
    #[must_use]
    pub fn goes_on_under(&self, new: &Self) -> bool {
        *self == Self { apply: self.apply.clone(), ..new.clone() }
    }
}

/// When a recording's file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DvrPlan {
    /// With the publish.
    Session,
    /// At a certain length.
    Segment,
}

impl Field for DvrPlan {
    fn read(view: &View<'_>, name: &str) -> Self {
        match view.word(name) {
            "segment" => Self::Segment,
            _ => Self::Session,
        }
    }
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(apply: &str, app: &str, stream: &str, expected: bool) {
        let text = format!("listen 1; vhost a {{ dvr {{ enabled on; {apply} }} }}");
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let snapshot = crate::load(Some(("t", text.as_bytes())), [], &mut no_files).unwrap().snapshot;
        assert_eq!(snapshot.vhosts[0].dvr.applies(app, stream), expected, "{apply} {app}/{stream}");
    }

    #[test]
    fn dvr_apply_names_streams() {
        check("", "live", "x", true);
        check("dvr_apply all;", "live", "x", true);
        check("dvr_apply live/x live/y;", "live", "y", true);
        check("dvr_apply live/x live/y;", "live", "z", false);
        check("dvr_apply live/room/x;", "live/room", "x", true);
        check("dvr_apply none;", "live", "x", false);
        check("dvr_apply live;", "live", "", false);
    }
}
