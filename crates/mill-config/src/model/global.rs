//! What stands outside all blocks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

super::block! {
    /// Directives outside all blocks.
    pub struct Global {
        /// RTMP endpoints, all different; empty only if everything comes from the environment.
        listen: Vec<SocketAddr> = "listen",
        /// Size of outgoing RTMP chunks in bytes, 128 to 65536; vhosts have their own copy.
        chunk_size: u32 = "chunk_size",
        /// Limit of RTMP, API and HTTP connections together; at least 1.
        max_connections: u32 = "max_connections",
        /// Interval of the periodic statistics lines; at least 100 ms.
        pithy_print: Duration = "pithy_print_ms",
        /// Directory to change to before anything else is opened.
        work_dir: PathBuf = "work_dir",
        /// UTC instead of local time in the log and in file names.
        utc_time: bool = "utc_time",
    }
}
