//! The two HTTP listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Secret;

super::block! {
    /// `http_api`.
    pub struct HttpApi {
        /// Serve the API.
        enabled: bool = "enabled",
        /// Its endpoints, at least one; one that the HTTP server has too serves both.
        listen: Vec<SocketAddr> = "listen",
        /// Allow web pages of other origins.
        crossdomain: bool = "crossdomain",
        /// Remote control.
        raw_api: RawApi = "raw_api",
        /// Who may use it.
        auth: Auth = "auth",
        /// The same over TLS.
        https: Https = "https",
    }
}

super::block! {
    /// `http_api.raw_api`.
    pub struct RawApi {
        /// Allow remote control at all.
        enabled: bool = "enabled",
        /// Allow `rpc=reload`.
        allow_reload: bool = "allow_reload",
        /// Allow reading the configuration.
        allow_query: bool = "allow_query",
        /// Allow changing the configuration.
        allow_update: bool = "allow_update",
    }
}

super::block! {
    /// `auth` of the API or of an RTSP entrance.
    pub struct Auth {
        /// Ask for a user name and password.
        enabled: bool = "enabled",
        /// User name; nobody is let in if it is empty.
        username: String = "username",
        /// Password; nobody is let in if it is empty.
        password: Secret = "password",
    }
}

super::block! {
    /// `https` of either listener.
    pub struct Https {
        /// Serve over TLS beside the plain listener.
        enabled: bool = "enabled",
        /// Its endpoint.
        listen: SocketAddr = "listen",
        /// PEM file of the private key; relative to the working directory.
        key: PathBuf = "key",
        /// PEM file of the certificate chain; relative to the working directory.
        cert: PathBuf = "cert",
    }
}

super::block! {
    /// `http_server`.
    pub struct HttpServer {
        /// Serve live streams and files over HTTP.
        enabled: bool = "enabled",
        /// Its endpoints, at least one.
        listen: Vec<SocketAddr> = "listen",
        /// Allow web pages of other origins.
        crossdomain: bool = "crossdomain",
        /// Directory served at `/`; relative to the working directory.
        dir: PathBuf = "dir",
        /// Follow symbolic links that lead out of `dir`.
        follow_links: bool = "follow_links",
        /// Offer the player page.
        players: bool = "players",
        /// The same over TLS.
        https: Https = "https",
    }
}
