//! The two HTTP listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

super::block! {
    /// `http_api`.
    pub struct HttpApi {
        /// Serve the API.
        enabled: bool = "enabled",
        /// Its endpoints, at least one; one that the HTTP server has too serves both.
        listen: Vec<SocketAddr> = "listen",
        /// Allow web pages of other origins.
        crossdomain: bool = "crossdomain",
    }
}

super::block! {
    /// `http_server`.
    pub struct HttpServer {
        /// Serve live streams over HTTP.
        enabled: bool = "enabled",
        /// Its endpoints, at least one.
        listen: Vec<SocketAddr> = "listen",
        /// Allow web pages of other origins.
        crossdomain: bool = "crossdomain",
        /// Directory served at `/`; relative to the working directory.
        dir: PathBuf = "dir",
    }
}
