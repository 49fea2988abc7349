//! `/api/` and `/api/v1/`: what there is, in words. Unknown paths below them end here too, as in SRS.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Answer, Asked, ROUTES};

const ROOT: &str = "/api/v1/";

#[derive(Serialize, ToSchema)]
pub(super) struct Api {
    #[schema(value_type = HashMap<String, String>)]
    urls: Map<String, Value>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct V1 {
    #[schema(value_type = HashMap<String, String>)]
    urls: Map<String, Value>,
    #[schema(value_type = HashMap<String, String>)]
    tests: Map<String, Value>,
}

pub(super) fn api(asked: &Asked<'_>) -> Answer {
    let urls = Map::from_iter([("v1".to_owned(), "the api version 1.0".into())]);
    Answer::ok(asked.ctx, &Api { urls })
}

pub(super) fn v1(asked: &Asked<'_>) -> Answer {
    let (mut urls, mut tests) = (Map::new(), Map::new());
    for route in ROUTES {
        let Some(name) = route.path.strip_prefix(ROOT).map(|name| name.trim_end_matches('/')) else {
            continue;
        };
        match name.strip_prefix("tests/") {
            Some(test) => tests.insert(test.to_owned(), route.doc.into()),
            None if name.is_empty() => None,
            None => urls.insert(name.to_owned(), route.doc.into()),
        };
    }
    Answer::ok(asked.ctx, &V1 { urls, tests })
}
