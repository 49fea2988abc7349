//! `http_api` and `http_server`.

use super::Effect::{AtOnce, RebindsListener};
use super::Kind::{BoolOff, BoolOn, Endpoint, Endpoints, Path, Text};
use super::Status::Implemented;
use super::{Row, block, row};

pub(super) const API: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RebindsListener, "Serve the HTTP API."),
    row("listen", Endpoints, "1985", Implemented, RebindsListener, "Endpoints of the API; one that `http_server` has too serves both."),
    row("crossdomain", BoolOn, "on", Implemented, AtOnce, "Allow web pages of other origins (CORS)."),
    block("raw_api", RAW, Implemented, AtOnce, "Remote control over `/api/v1/raw`."),
    block("auth", AUTH, Implemented, AtOnce, "HTTP Basic authentication of the API."),
    block("https", API_HTTPS, Implemented, RebindsListener, "The API over TLS."),
];

pub(super) const SERVER: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RebindsListener, "Serve live streams and files over HTTP."),
    row("listen", Endpoints, "8080", Implemented, RebindsListener, "Endpoints of the HTTP server."),
    row("crossdomain", BoolOn, "on", Implemented, AtOnce, "Allow web pages of other origins (CORS)."),
    row("dir", Path, "./objs/nginx/html", Implemented, AtOnce, "Directory served at `/`, if it exists and no `http_static` has that place."),
    row("follow_links", BoolOff, "off", Implemented, AtOnce, "Follow symbolic links that lead out of `dir`; those within it always are."),
    row("players", BoolOn, "on", Implemented, AtOnce, "Offer a page at `/players/` that plays streams in a browser."),
    block("https", SERVER_HTTPS, Implemented, RebindsListener, "The same over TLS."),
];

const RAW: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, AtOnce, "Allow remote control at all."),
    row("allow_reload", BoolOff, "off", Implemented, AtOnce, "Allow `rpc=reload`."),
    row("allow_query", BoolOff, "off", Implemented, AtOnce, "Allow reading the configuration."),
    row("allow_update", BoolOff, "off", Implemented, AtOnce, "Allow changing the configuration."),
];

const AUTH: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, AtOnce, "Ask for a user name and password (HTTP Basic); without both of them nobody is let in."),
    row("username", Text, "", Implemented, AtOnce, "User name.").example("admin"),
    row("password", Text, "", Implemented, AtOnce, "Password.").example("secret"),
];

/// The rows of an `https` block; the two differ in the default port only.
const fn https(port: &'static str) -> [Row; 4] {
    [
        row("enabled", BoolOff, "off", Implemented, RebindsListener, "Serve over TLS; needs the plain listener too."),
        row("listen", Endpoint, port, Implemented, RebindsListener, "Endpoint."),
        row("key", Path, "./conf/server.key", Implemented, AtOnce, "Private key, PEM; read again when the file changes."),
        row("cert", Path, "./conf/server.crt", Implemented, AtOnce, "Certificate chain, PEM, the server's own first; read again when the file changes."),
    ]
}

const API_HTTPS: &[Row] = &https("1990");
const SERVER_HTTPS: &[Row] = &https("8088");
