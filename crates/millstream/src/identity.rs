//! What the server calls itself, and the ids it gives out.

use std::sync::atomic::{AtomicU64, Ordering};

/// Version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Name and version, as in the `Server` header and in metadata.
pub(crate) const SERVER: &str = concat!("Millstream/", env!("CARGO_PKG_VERSION"));

/// The version of SRS whose interfaces this server speaks: what players, consoles and scripts compare with.
pub(crate) const SRS_VERSION: &str = "3.0.170";

/// Sixteen bytes nobody can guess, for keys and for ids that let in.
pub(crate) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// Who this process is towards API clients, and the names it gives to vhosts and streams.
///
/// Ids are `vid-N-M` as in SRS 3: N counts up from the process id, M is a number of this start, so ids of
/// two starts are seldom the same.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The id of the server itself.
    pub(crate) server: String,
    /// Eight letters or digits, new at every start.
    pub(crate) service: String,
    /// The process id.
    pub(crate) pid: String,
    suffix: u64,
    next: AtomicU64,
}

impl Identity {
    /// `seed` makes this start differ from others.
    pub(crate) fn new(pid: u32, seed: u64) -> Self {
        let suffix = seed % 1000;
        let letter = |i: u32| char::from_digit((seed >> (8 * i)) as u32 % 36, 36).unwrap_or('0');
        Self {
            server: format!("vid-{pid}-{suffix}"),
            service: (0..8).map(letter).collect(),
            pid: pid.to_string(),
            suffix,
            next: AtomicU64::new(u64::from(pid) + 1),
        }
    }

    /// A new id.
    pub(crate) fn mint(&self) -> String {
        format!("vid-{}-{}", self.next.fetch_add(1, Ordering::Relaxed), self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_from_the_process_id() {
        let identity = Identity::new(17858, 0xdead_beef_0000_0255);
        let suffix = 0xdead_beef_0000_0255_u64 % 1000;
        assert_eq!(identity.server, format!("vid-17858-{suffix}"));
        assert_eq!(identity.mint(), format!("vid-17859-{suffix}"));
        assert_eq!(identity.mint(), format!("vid-17860-{suffix}"));
        assert_eq!(identity.service.len(), 8);
    }
}
