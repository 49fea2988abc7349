//! What the server calls itself.

/// Version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Name and version, as in the `Server` header and in metadata.
pub(crate) const SERVER: &str = concat!("Millstream/", env!("CARGO_PKG_VERSION"));

/// The version of SRS whose interfaces this server speaks: what players, consoles and scripts compare with.
pub(crate) const SRS_VERSION: &str = "3.0.170";
