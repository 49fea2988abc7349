//! Who may push: basic and digest authentication of RTSP requests (RFC 2326 D.1.4, RFC 7617, RFC 2617, RFC 7616).
//!
//! Digests are of MD5, the only algorithm all senders know; both forms are offered, and senders take the digest. The
//! nonce belongs to one connection, so an answer that was overheard is worth nothing on another. Passwords and
//! answers are compared in constant time and appear in no `Debug`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// Name and password of who may push. Nobody may if one of them is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the user; without a colon.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// What one connection has to answer to.
#[derive(Debug, Clone)]
pub struct Challenge {
    credentials: Credentials,
    realm: String,
    nonce: String,
}

impl Challenge {
    /// Asks for `credentials`; the nonce has to be one that nobody can guess.
    pub fn new(credentials: Credentials, realm: impl Into<String>, nonce: impl Into<String>) -> Self {
        Self { credentials, realm: realm.into(), nonce: nonce.into() }
    }

    /// The values of `WWW-Authenticate`, each of which needs a header of its own.
    pub fn headers(&self) -> [String; 2] {
        [
            format!("Digest realm=\"{}\", nonce=\"{}\"", self.realm, self.nonce),
            format!("Basic realm=\"{}\"", self.realm),
        ]
    }

    /// Whether the value of an `Authorization` header answers it, for a request of that method.
    pub fn accepts(&self, authorization: &str, method: &str) -> bool {
        if self.credentials.username.is_empty() || self.credentials.password.is_empty() {
            return false;
        }
        let Some((scheme, answer)) = authorization.trim().split_once(' ') else { return false };
        if scheme.eq_ignore_ascii_case("basic") {
            self.accepts_basic(answer.trim())
        } else if scheme.eq_ignore_ascii_case("digest") {
            self.accepts_digest(answer, method).unwrap_or(false)
        } else {
            false
        }
    }

    fn accepts_basic(&self, answer: &str) -> bool {
        let Credentials { username, password } = &self.credentials;
        let given = STANDARD.decode(answer).unwrap_or_default();
        given.ct_eq(format!("{username}:{password}").as_bytes()).into()
    }

    /// RFC 2617, 3.2.2. The URI is the sender's: proxies and cameras write it in many ways, and it names nothing
    /// that the request itself does not. `None` if a part is missing.
    fn accepts_digest(&self, answer: &str, method: &str) -> Option<bool> {
        let fields = fields(answer);
        let field =
            |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        if field("algorithm").is_some_and(|algorithm| !algorithm.eq_ignore_ascii_case("md5")) {
            return Some(false);
        }
        let Credentials { username, password } = &self.credentials;
        let user = hex(format!("{username}:{}:{password}", self.realm).as_bytes());
        let request = hex(format!("{method}:{}", field("uri")?).as_bytes());
        let expected = match field("qop") {
            None => hex(format!("{user}:{}:{request}", self.nonce).as_bytes()),
            Some(qop) => {
                let (count, client) = (field("nc")?, field("cnonce")?);
                hex(format!("{user}:{}:{count}:{client}:{qop}:{request}", self.nonce).as_bytes())
            }
        };
        let same = field("nonce")? == self.nonce && field("username")? == username;
        let answers: bool =
            expected.as_bytes().ct_eq(field("response")?.to_ascii_lowercase().as_bytes()).into();
        Some(same && answers)
    }
}

fn hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `name="value", name=value`: names in small letters, quotes taken off.
fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        rest = after.trim_start_matches([',', ' ', '\t']);
        if fields.len() == 16 {
            break;
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(username: &str, password: &str, realm: &str, nonce: &str) -> Challenge {
        let credentials = Credentials { username: username.into(), password: password.into() };
        Challenge::new(credentials, realm, nonce)
    }

    #[test]
    fn the_example_of_the_standard() {
        // RFC 2617, 3.5: with qop, under GET.
        let challenge =
            challenge("Mufasa", "Circle Of Life", "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093");
        let answer = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
            nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, nc=00000001, \
            cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        assert!(challenge.accepts(answer, "GET"));
        assert!(!challenge.accepts(answer, "ANNOUNCE"), "another method");
        assert!(!challenge.accepts(&answer.replace("6629", "6628"), "GET"));
        assert!(!challenge.accepts(&answer.replace("username=\"Mufasa\", ", ""), "GET"));
        assert!(!challenge.accepts(&answer.replace("qop=auth", "algorithm=SHA-256"), "GET"));
    }

    #[test]
    fn digest_without_qop() {
        let challenge = challenge("admin", "s3cret", "cam", "0123456789abcdef");
        let answer = "digest username=\"admin\",realm=\"cam\",nonce=\"0123456789abcdef\",uri=\"rtsp://h/live/s\",\
            response=\"71f731c855ab6089dc4ac8d9b5751f61\"";
        assert!(challenge.accepts(answer, "ANNOUNCE"));
        assert!(
            !challenge.accepts(&answer.replace("0123456789abcdef", "fedcba9876543210"), "ANNOUNCE"),
            "another nonce"
        );
    }

    #[test]
    fn basic() {
        let challenge = challenge("Aladdin", "open sesame", "r", "n");
        assert!(challenge.accepts("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "ANNOUNCE"));
        for wrong in
            ["Basic QWxhZGRpbjpvcGVu", "Basic ???", "Basic", "", "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]
        {
            assert!(!challenge.accepts(wrong, "ANNOUNCE"));
        }
        assert!(!self::challenge("", "", "r", "n").accepts("Basic Og==", "ANNOUNCE"), "nobody may");
        assert!(!format!("{challenge:?}").contains("sesame"));
    }
}
