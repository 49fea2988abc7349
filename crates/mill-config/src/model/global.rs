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
        /// Directory of the logs of ffmpeg processes; `/dev/null` for none.
        ff_log_dir: String = "ff_log_dir",
        /// `-loglevel` of ingests; empty to say none.
        ff_log_level: String = "ff_log_level",
        /// Run in the background.
        daemon: bool = "daemon",
        /// File of the process id; `/dev/null` for none.
        pid: PathBuf = "pid",
        /// Quit when the parent process goes away; never together with `daemon`.
        asprocess: bool = "asprocess",
        /// Behave as in a container even if none is detected.
        in_docker: bool = "in_docker",
        /// In a container, stay in the foreground.
        disable_daemon_for_docker: bool = "disable_daemon_for_docker",
        /// Reload when the configuration file changes.
        inotify_auto_reload: bool = "inotify_auto_reload",
        /// Do so in a container whatever the former says.
        auto_reload_for_docker: bool = "auto_reload_for_docker",
        /// Treat SIGTERM like SIGQUIT.
        force_grace_quit: bool = "force_grace_quit",
        /// On SIGQUIT, time until the listeners close.
        grace_start_wait: Duration = "grace_start_wait",
        /// On SIGQUIT, longest time that clients are waited for; zero for no limit.
        grace_drain_wait: Duration = "grace_drain_wait",
        /// On SIGQUIT, time between the end of the last client and the exit.
        grace_final_wait: Duration = "grace_final_wait",
    }
}
