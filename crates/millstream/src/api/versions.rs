//! `/api/v1/versions`: the SRS whose interfaces we speak, because scripts compare it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked};
use crate::identity;

#[derive(Serialize, ToSchema)]
pub(super) struct Versions {
    data: VersionNumbers,
}

#[derive(Serialize, ToSchema)]
struct VersionNumbers {
    major: u32,
    minor: u32,
    revision: u32,
    version: &'static str,
}

pub(super) fn get(asked: &Asked<'_>) -> Answer {
    let mut numbers = identity::SRS_VERSION.split('.').map(|number| number.parse().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0);
    let (major, minor, revision) = (number(), number(), number());
    Answer::ok(
        asked.ctx,
        &Versions { data: VersionNumbers { major, minor, revision, version: identity::SRS_VERSION } },
    )
}
