//! `/api/v1/authors` and `/api/v1/features`: whose program this is, and what it can do.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mill_config::spec::{self, Status};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Answer, Asked, Data};

#[derive(Serialize, ToSchema)]
pub(super) struct Authors {
    license: &'static str,
    contributors: &'static str,
}

pub(super) fn authors(asked: &Asked<'_>) -> Answer {
    let data = Authors { license: env!("CARGO_PKG_LICENSE"), contributors: "the authors of Millstream" };
    Answer::ok(asked.ctx, &Data { data })
}

#[derive(Serialize, ToSchema)]
pub(super) struct Features {
    options: String,
    options2: String,
    build: String,
    build2: i64,
    #[schema(value_type = HashMap<String, bool>)]
    features: Map<String, Value>,
}

/// A feature of SRS's list, and whether it is here.
enum Here {
    /// It is if this directive is acted on.
    If(&'static str),
    Always,
    Never,
}

/// In SRS's order. Those of the configuration follow its table, so that what lands is shown.
const FEATURES: [(&str, Here); 15] = [
    ("ssl", Here::Always),
    ("hls", Here::If("vhost.hls.enabled")),
    ("hds", Here::If("vhost.hds.enabled")),
    ("callback", Here::If("vhost.http_hooks.enabled")),
    ("api", Here::If("http_api.listen")),
    ("httpd", Here::If("http_server.enabled")),
    ("dvr", Here::If("vhost.dvr.enabled")),
    ("transcode", Here::If("vhost.transcode.enabled")),
    ("ingest", Here::If("vhost.ingest.enabled")),
    ("stat", Here::If("stats.enabled")),
    ("caster", Here::If("stream_caster.enabled")),
    // Many messages leave in one write, and many enter with one read.
    ("complex_send", Here::Always),
    ("tcp_nodelay", Here::Always),
    ("so_sendbuf", Here::Never),
    ("mr", Here::Always),
];

pub(super) fn features(asked: &Asked<'_>) -> Answer {
    let built: i64 = env!("MILLSTREAM_BUILT").parse().unwrap_or(0);
    let zone = if asked.ctx.config.load().global.utc_time { TimeZone::UTC } else { TimeZone::system() };
    let time = Timestamp::from_second(built).unwrap_or_default().to_zoned(zone);
    let features = available();
    let words = features.iter().map(|(name, on)| {
        let state = if on == &Value::Bool(true) { "on" } else { "off" };
        format!("--{}={state}", name.replace('_', "-"))
    });
    let data = Features {
        options: format!("--target={} --profile={}", env!("MILLSTREAM_TARGET"), env!("MILLSTREAM_PROFILE")),
        options2: words.collect::<Vec<_>>().join(" "),
        build: time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        build2: built,
        features,
    };
    Answer::ok(asked.ctx, &Data { data })
}

fn available() -> Map<String, Value> {
    let table = spec::entries();
    let acted_on = |path: &str| {
        table.iter().any(|entry| entry.path() == path && entry.row.status == Status::Implemented)
    };
    let here = |here: &Here| match here {
        Here::If(path) => acted_on(path),
        Here::Always => true,
        Here::Never => false,
    };
    FEATURES.iter().map(|(name, when)| ((*name).to_owned(), here(when).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_follow_the_table_of_directives() {
        let table = spec::entries();
        for (name, here) in &FEATURES {
            if let Here::If(path) = here {
                assert!(table.iter().any(|entry| entry.path() == *path), "{name}: {path} is in the table");
            }
        }
        let features = available();
        assert_eq!(features["stat"], true);
        assert_eq!(features["so_sendbuf"], false);
    }
}
