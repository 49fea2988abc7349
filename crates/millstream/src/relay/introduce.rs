//! What this server says of itself to others, as an SRS does: the second argument of connect.

use mill_media::amf0::Object;

use crate::identity;

/// SRS's words, if `debug_srs_upnode` wants them; `id` is that of the task whose connection it is, and its log's.
pub(crate) fn introduction(wanted: bool, id: u64) -> Object {
    if !wanted {
        return Object::new();
    }
    Object::new()
        .with("srs_sig", "SRS")
        .with("srs_server", identity::SERVER)
        .with("srs_license", "MIT")
        .with("srs_url", "")
        .with("srs_version", identity::SRS_VERSION)
        .with("srs_pid", f64::from(std::process::id()))
        .with("srs_id", id as f64)
}
