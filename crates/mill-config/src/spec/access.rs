//! `vhost.refer`, `vhost.security` and `vhost.bandcheck`: who may do what.

use super::Effect::NewSessions;
use super::Kind::{BoolOff, Float, Int, List, Text};
use super::Status::Planned;
use super::Unit::{Kbps, Seconds};
use super::{Row, Status, row};

pub(super) const REFERER: Status = Planned("referer check");
pub(super) const ADDRESS_RULES: Status = Planned("security");
pub(super) const BANDWIDTH: Status = Planned("bandwidth test");

pub(super) const REFER: &[Row] = &[
    row("enabled", BoolOff, "off", REFERER, NewSessions, "Check the host of the client's page URL."),
    row("all", List, "", REFERER, NewSessions, "Host endings that may publish and play.").example("github.com github.io"),
    row("publish", List, "", REFERER, NewSessions, "Host endings that may publish.").example("github.com github.io"),
    row("play", List, "", REFERER, NewSessions, "Host endings that may play.").example("github.com github.io"),
];

pub(super) const SECURITY: &[Row] = &[
    row("enabled", BoolOff, "off", ADDRESS_RULES, NewSessions, "Check addresses: a matching `deny` refuses, else a matching `allow` accepts."),
    row("deny", List, "", ADDRESS_RULES, NewSessions, "`publish` or `play`, then `all` or an address.").repeats().example("publish all"),
    row("allow", List, "", ADDRESS_RULES, NewSessions, "`publish` or `play`, then `all` or an address.").repeats().example("play all"),
];

pub(super) const BANDCHECK: &[Row] = &[
    row("enabled", BoolOff, "off", BANDWIDTH, NewSessions, "Use this vhost for bandwidth tests only."),
    row("key", Text, "", BANDWIDTH, NewSessions, "Key a client must give.").example("35c9b402c12a7246868752e2878f7e0e"),
    row("interval", Float(Seconds), "30", BANDWIDTH, NewSessions, "Least time between two tests."),
    row("limit_kbps", Int(Kbps), "1000", BANDWIDTH, NewSessions, "Limit of the rate."),
];
