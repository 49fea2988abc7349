//! How publishers are served.

use std::time::Duration;

super::block! {
    /// `vhost.publish`.
    pub struct Publish {
        /// A publisher that sends nothing in this time at the start is dropped; at least 1 ms.
        first_packet_timeout: Duration = "firstpkt_timeout",
        /// A publisher that sends nothing for this long later on is dropped; at least 1 ms.
        normal_timeout: Duration = "normal_timeout",
        /// Collect input before reading it even while somebody watches.
        merged_read: bool = "mr",
        /// The longest time it is collected, with many publishers; zero for never.
        merged_read_latency: Duration = "mr_latency",
        /// Read width, height and profile from the video's parameter sets.
        parse_sps: bool = "parse_sps",
        /// A publisher without players for this long is dropped; zero for never.
        kickoff_for_idle: Duration = "kickoff_for_idle",
    }
}
