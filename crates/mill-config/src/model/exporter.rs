//! Metrics for Prometheus.

use std::net::SocketAddr;

super::block! {
    /// `exporter`.
    pub struct Exporter {
        /// Serve metrics, at its endpoint and on the API's port.
        enabled: bool = "enabled",
        /// Its endpoint.
        listen: SocketAddr = "listen",
        /// A label of `srs_build_info`; empty for none.
        label: String = "label",
        /// Another one.
        tag: String = "tag",
    }
}
