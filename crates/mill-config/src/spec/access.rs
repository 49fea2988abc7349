//! `vhost.refer`, `vhost.security` and `vhost.bandcheck`: who may do what.

use super::Effect::NewSessions;
use super::Kind::{BoolOff, Float, Int, List, Text};
use super::Status::Implemented;
use super::Unit::{Kbps, Seconds};
use super::{Row, row};

pub(super) const REFER: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, NewSessions, "Check the host of the client's page URL."),
    row("all", List, "", Implemented, NewSessions, "Host endings that may publish and play.").example("github.com github.io"),
    row("publish", List, "", Implemented, NewSessions, "Host endings that may publish.").example("github.com github.io"),
    row("play", List, "", Implemented, NewSessions, "Host endings that may play.").example("github.com github.io"),
];

pub(super) const SECURITY: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, NewSessions, "Check addresses: a matching `deny` refuses, else a matching `allow` accepts."),
    row("deny", List, "", Implemented, NewSessions, "`publish` or `play`, then `all`, an address, or a range such as `10.0.0.0/8`.").repeats().example("publish all"),
    row("allow", List, "", Implemented, NewSessions, "`publish` or `play`, then `all`, an address, or a range such as `10.0.0.0/8`.").repeats().example("play all"),
];

pub(super) const BANDCHECK: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, NewSessions, "Use this vhost for bandwidth tests only."),
    row("key", Text, "", Implemented, NewSessions, "What a client must give as `key` in its URL.").example("35c9b402c12a7246868752e2878f7e0e"),
    row("interval", Float(Seconds), "30", Implemented, NewSessions, "Least time from one test to the next, in the whole server."),
    row("limit_kbps", Int(Kbps), "1000", Implemented, NewSessions, "Limit of the rate, in each direction.").clamped(1.0, 10_000_000.0),
];
