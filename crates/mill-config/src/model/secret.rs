//! A text that must not be seen.

use std::fmt;

use super::Field;
use crate::view::View;

/// A password or the like: it cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Field for Secret {
    fn read(view: &View<'_>, name: &str) -> Self {
        Self(view.text(name).to_owned())
    }
}
