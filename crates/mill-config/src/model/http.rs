//! The two HTTP listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

super::block! {
    /// `http_api`.
    pub struct HttpApi {
        /// Serve the API.
        enabled: bool = "enabled",
        /// Its endpoint; the same as that of the HTTP server if one listener serves both.
        listen: SocketAddr = "listen",
        /// Allow web pages of other origins.
        crossdomain: bool = "crossdomain",
    }
}

super::block! {
    /// `http_server`.
    pub struct HttpServer {
        /// Serve live streams over HTTP.
        enabled: bool = "enabled",
        /// Its endpoint.
        listen: SocketAddr = "listen",
        /// Allow web pages of other origins.
        crossdomain: bool = "crossdomain",
        /// Directory served at `/`; relative to the working directory.
        dir: PathBuf = "dir",
    }
}
