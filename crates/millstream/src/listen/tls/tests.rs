//! Certificates made here, files written here.

use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("millstream-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a pair, valid in these years, and gives its configuration.
    fn pair(&self, from: i32, to: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn write(&self, cert: &str, key: &str) {
        fs::write(self.0.join("server.crt"), cert).unwrap();
        fs::write(self.0.join("server.key"), key).unwrap();
    }

    fn snapshot(&self) -> Snapshot {
        let dir = self.0.display();
        let text = format!(
            "listen 1; http_server {{ enabled on; https {{ enabled on; key {dir}/server.key; cert {dir}/server.crt; }} }}"
        );
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        mill_config::load(Some(("t", text.as_bytes())), [], &mut no_files).unwrap().snapshot
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn in_use(certificates: &Certificates) -> Option<Vec<u8>> {
    certificates.delivery.resolver.0.load_full().map(|used| used.cert[0].to_vec())
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[test]
fn what_is_wrong_with_files_is_said_with_their_names() {
    let folder = Folder::new("wrong");
    let certificates = Certificates::new().unwrap();
    let error = |cert: Option<&str>, key: Option<&str>| {
        for (name, text) in [("server.crt", cert), ("server.key", key)] {
            let path = folder.0.join(name);
            let _ = fs::remove_file(&path);
            if let Some(text) = text {
                fs::write(path, text).unwrap();
            }
        }
        certificates.prepare(&folder.snapshot()).err().unwrap().to_string()
    };
    let ((cert, key), (_, other)) = (folder.pair(2020, 2100), folder.pair(2020, 2100));
    let missing = error(None, Some(&key));
    assert!(missing.contains("server.crt: No such file"), "{missing}");
    let missing = error(Some(&cert), None);
    assert!(missing.contains("server.key: No such file"), "{missing}");
    assert!(error(Some("text"), Some(&key)).ends_with("server.crt: holds no certificate in PEM form"));
    assert!(error(Some(&key), Some(&key)).ends_with("server.crt: holds no certificate in PEM form"));
    assert!(error(Some(&cert), Some(&cert)).ends_with("server.key: holds no private key in PEM form"));
    let unfit = error(Some(&cert), Some(&other));
    assert!(unfit.contains("server.crt and the key") && unfit.contains("cannot be used"), "{unfit}");
    let huge = "x".repeat(MAX_PEM as usize + 1);
    assert!(error(Some(&huge), Some(&key)).contains("larger than 1 MiB"));
    assert!(in_use(&certificates).is_none());
}

/// A reload is all or nothing.
#[test]
fn a_wrong_pair_at_one_door_leaves_the_other_as_it_is() {
    let (good, none) = (Folder::new("one-door"), Folder::new("other-door"));
    let (cert, key) = good.pair(2020, 2100);
    good.write(&cert, &key);
    let mut snapshot = none.snapshot();
    snapshot.http_api.https = good.snapshot().http_server.https.clone();
    let certificates = Certificates::new().unwrap();
    assert!(certificates.prepare(&snapshot).is_err());
    assert!(certificates.api.resolver.0.load_full().is_none());
}

#[test]
fn a_new_pair_is_taken_and_a_wrong_one_is_not() {
    let folder = Folder::new("new");
    let certificates = Certificates::new().unwrap();
    let ((first, key), (second, second_key)) = (folder.pair(2020, 2100), folder.pair(2020, 2100));
    folder.write(&first, &key);
    let snapshot = folder.snapshot();
    let prepared = certificates.prepare(&snapshot).unwrap();
    assert!(in_use(&certificates).is_none(), "not before it is said");
    certificates.commit(prepared);
    assert_eq!(in_use(&certificates), Some(der(&first)));

    // Half of a new pair.
    folder.write(&second, &key);
    for said in [false, true, true] {
        certificates.refresh(&snapshot);
        assert_eq!(in_use(&certificates), Some(der(&first)), "the old one stays");
        let state = certificates.delivery.state.lock();
        assert_eq!(state.failed.as_ref().map(|(_, said)| *said), Some(said), "said once, at the second look");
    }
    folder.write(&second, &second_key);
    certificates.refresh(&snapshot);
    assert_eq!(in_use(&certificates), Some(der(&second)));
    assert!(certificates.delivery.state.lock().failed.is_none());

    fs::remove_file(folder.0.join("server.crt")).unwrap();
    certificates.refresh(&snapshot);
    assert_eq!(in_use(&certificates), Some(der(&second)));
}

#[test]
fn dates_are_noticed() {
    let folder = Folder::new("dates");
    let provider = aws_lc_rs::default_provider();
    // 2026-01-01.
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));
    let health = |(cert, key): (String, String), now| {
        folder.write(&cert, &key);
        Health::of(&load(&folder.snapshot().http_server.https, &provider).unwrap(), &provider, now)
    };
    assert_eq!(health(folder.pair(2020, 2100), now), Health::Good);
    assert_eq!(health(folder.pair(2020, 2025), now), Health::Ended);
    assert_eq!(health(folder.pair(2030, 2040), now), Health::NotYet);
    let day_before = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600 - 86_400));
    assert_eq!(health(folder.pair(2020, 2026), day_before), Health::EndsSoon);
}
