//! HTTP Basic authentication of the API (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use mill_config::model::Auth;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::reply::{self, Reply};

/// Pages and probes that SRS leaves open beside the API: names, figures and files, no control.
fn is_open(path: &str) -> bool {
    path == "/" || path == "/metrics" || path.starts_with("/console/")
}

/// Whether the request may pass. Without a user name or a password nobody may.
pub(super) fn permits(conf: &Auth, path: &str, headers: &HeaderMap) -> bool {
    if !conf.enabled || is_open(path) {
        return true;
    }
    let password = conf.password.reveal();
    if conf.username.is_empty() || password.is_empty() {
        return false;
    }
    let expected = format!("{}:{password}", conf.username);
    let given = headers.get(header::AUTHORIZATION).and_then(credentials).unwrap_or_default();
    // Hashed first, so that the time taken does not tell the length either.
    Sha256::digest(expected).ct_eq(&Sha256::digest(given)).into()
}

/// What a Basic header carries: name and password with a colon between them.
fn credentials(value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    let basic = scheme.eq_ignore_ascii_case("Basic");
    STANDARD.decode(encoded.trim()).ok().filter(|_| basic)
}

/// The answer to somebody who may not pass.
pub(super) fn challenge() -> Response<Reply> {
    let mut response = reply::text(StatusCode::UNAUTHORIZED, "text/plain; charset=utf-8", "Unauthorized\n");
    let scheme = HeaderValue::from_static("Basic realm=\"API\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(conf: &str, path: &str, authorization: Option<&str>) -> bool {
        let text = format!("listen 1; http_api {{ auth {{ {conf} }} }}");
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let auth = mill_config::load(Some(("t", text.as_bytes())), [], &mut no_files)
            .unwrap()
            .snapshot
            .http_api
            .auth;
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        permits(&auth, path, &headers)
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    const CONF: &str = "enabled on; username admin; password pa:ss;";

    #[test]
    fn only_the_right_name_and_password_pass() {
        let with = |value: &str| permitted(CONF, "/api/v1/clients/", Some(value));
        assert!(with(&basic("admin:pa:ss")), "a colon belongs to the password");
        assert!(with(&basic("admin:pa:ss").replace("Basic", "basic")));
        for wrong in
            ["admin:pa", "admin:pa:ss ", "admin:", "admin", ":pa:ss", "", "Admin:pa:ss", "admin:pa:sss"]
        {
            assert!(!with(&basic(wrong)), "{wrong}");
        }
        for malformed in
            ["", "Basic", "Basic ", "Basic ###", "Bearer x", "admin:pa:ss", "Digest YWRtaW46cGE6c3M="]
        {
            assert!(!with(malformed), "{malformed}");
        }
        assert!(!permitted(CONF, "/api/v1/clients/", None));
    }

    #[test]
    fn some_paths_are_open_and_no_credentials_let_nobody_in() {
        for open in ["/", "/metrics", "/console/x.html"] {
            assert!(permitted(CONF, open, None), "{open}");
        }
        for closed in ["/api/", "/api", "/console", "/metrics/", "//api/v1/", "/x"] {
            assert!(!permitted(CONF, closed, None), "{closed}");
        }
        assert!(!permitted("enabled on;", "/api/", Some(&basic(":"))));
        assert!(!permitted("enabled on; username admin;", "/api/", Some(&basic("admin:"))));
        assert!(permitted("username admin; password x;", "/api/", None), "off");
    }
}
