//! Figures of the machine, and the report about them.

use std::time::Duration;

super::block! {
    /// `heartbeat`.
    pub struct Heartbeat {
        /// POST a report periodically.
        enabled: bool = "enabled",
        /// Time between two reports, at least a second; SRS uses whole seconds only.
        interval: Duration = "interval",
        /// Where the report goes; may contain secrets.
        url: String = "url",
        /// Name of this machine in the report.
        device_id: String = "device_id",
        /// Add the figures of the API's summaries.
        summaries: bool = "summaries",
        /// Add the endpoints listened on.
        ports: bool = "ports",
    }
}

super::block! {
    /// `stats`.
    pub struct Stats {
        /// Collect figures of the machine.
        enabled: bool = "enabled",
        /// Index of the reported address in the list of local addresses, modulo its length.
        network: u32 = "network",
        /// Disks that are looked at, named as in `/proc/diskstats`; none: the machine's totals.
        disk: Vec<String> = "disk",
    }
}
