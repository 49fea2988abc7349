//! What differs between two snapshots, and when each difference takes effect.

use std::sync::Arc;

use crate::model::{Snapshot, StreamCaster};
use crate::spec::{self, Effect, Row};

/// One directive with a new value, or a vhost that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The vhost concerned; `None` outside vhosts.
    pub vhost: Option<String>,
    /// Dotted path in the table, such as `vhost.play.gop_cache`; `vhost` alone for one that came or went.
    pub path: String,
    /// When it takes effect, as the table says.
    pub effect: Effect,
}

/// Changes being collected, and where in the table the comparison stands.
pub(crate) struct Changes {
    found: Vec<Change>,
    vhost: Option<String>,
    scope: Vec<&'static str>,
    rows: &'static [Row],
}

impl Changes {
    /// Notes that the directive of that name, in the block just compared, has changed.
    pub(crate) fn note(&mut self, name: &'static str) {
        let path: Vec<&str> = self.scope.iter().copied().chain([name]).collect();
        // The name is in the table: the value was read through it.
        let effect = spec::find(self.rows, name).map_or(Effect::NeedsRestart, |row| row.effect);
        self.found.push(Change { vhost: self.vhost.clone(), path: path.join("."), effect });
    }

    /// Compares what is inside the block of that name.
    pub(crate) fn inside(&mut self, name: &'static str, compare: impl FnOnce(&mut Self)) {
        let outer = self.rows;
        self.rows = spec::find(outer, name).map_or(&[], Row::rows);
        self.scope.push(name);
        compare(self);
        self.scope.pop();
        self.rows = outer;
    }
}

/// Lists what differs, in the order of the table; vhosts in the order of `new`, then those that went.
#[must_use]
pub fn diff(old: &Snapshot, new: &Snapshot) -> Vec<Change> {
    let mut changes = Changes { found: Vec::new(), vhost: None, scope: Vec::new(), rows: spec::root() };
    old.global.compare_fields(&new.global, &mut changes);
    old.log.compare_fields(&new.log, &mut changes);
    changes.inside("http_api", |changes| old.http_api.compare_fields(&new.http_api, changes));
    changes.inside("http_server", |changes| old.http_server.compare_fields(&new.http_server, changes));
    changes.inside("heartbeat", |changes| old.heartbeat.compare_fields(&new.heartbeat, changes));
    changes.inside("stats", |changes| old.stats.compare_fields(&new.stats, changes));
    changes.inside("exporter", |changes| old.exporter.compare_fields(&new.exporter, changes));
    casters(old, new, &mut changes);

    // Exact names: the fallback to the default vhost is for clients.
    let named =
        |snapshot: &Snapshot, name: &str| snapshot.vhosts.iter().find(|v| v.name == name).map(Arc::clone);
    for vhost in &new.vhosts {
        changes.vhost = Some(vhost.name.clone());
        match named(old, &vhost.name) {
            Some(before) => changes.inside("vhost", |changes| before.compare_fields(vhost, changes)),
            None => changes.note("vhost"),
        }
    }
    for vhost in old.vhosts.iter().filter(|vhost| named(new, &vhost.name).is_none()) {
        changes.vhost = Some(vhost.name.clone());
        changes.note("vhost");
    }
    changes.found
}

/// An entrance is the one that was at its place before; others came or went.
fn casters(old: &Snapshot, new: &Snapshot, changes: &mut Changes) {
    let place = |caster: &StreamCaster| (caster.protocol.is_udp(), caster.listen);
    let at = |snapshot: &'_ Snapshot, caster: &StreamCaster| {
        snapshot.stream_casters.iter().find(|other| place(other) == place(caster)).cloned()
    };
    for caster in &new.stream_casters {
        match at(old, caster) {
            Some(before) => changes.inside("stream_caster", |changes| before.compare_fields(caster, changes)),
            None => changes.note("stream_caster"),
        }
    }
    for _ in old.stream_casters.iter().filter(|caster| at(new, caster).is_none()) {
        changes.note("stream_caster");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str, expected: &[&str]) {
        let load = |text: &str| {
            let text = format!("listen 1935; {text}");
            crate::load(Some(("t", text.as_bytes())), [], &mut |_| unreachable!()).unwrap().snapshot
        };
        let changes = diff(&load(old), &load(new));
        let shown = changes.iter().map(|Change { vhost, path, effect }| match vhost {
            Some(vhost) => format!("{vhost}: {path} {effect:?}"),
            None => format!("{path} {effect:?}"),
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn equal_values_are_no_change_however_they_are_written() {
        check("chunk_size 60000; vhost a {}", "vhost a { play { gop_cache on; } } # b\n", &[]);
    }

    #[test]
    fn every_change_has_the_effect_of_its_row() {
        check(
            "vhost a { play { gop_cache on; } }",
            "max_connections 5; work_dir ./elsewhere; srs_log_level_v2 debug; http_api { enabled on; listen 1986; }
             vhost a { chunk_size 128; play { gop_cache off; queue_length 3; } http_remux { enabled on; } }",
            &[
                "max_connections AtOnce",
                "work_dir NeedsRestart",
                "srs_log_level AtOnce",
                "http_api.enabled RebindsListener",
                "http_api.listen RebindsListener",
                "a: vhost.chunk_size NewSessions",
                "a: vhost.play.gop_cache AtOnce",
                "a: vhost.play.queue_length AtOnce",
                "a: vhost.http_remux.enabled AtOnce",
            ],
        );
    }

    #[test]
    fn an_inherited_value_changes_in_both_places() {
        let expected = ["chunk_size NewSessions", "a: vhost.chunk_size NewSessions"];
        check(
            "vhost a {} vhost b { chunk_size 128; }",
            "chunk_size 256; vhost b { chunk_size 128; } vhost a {}",
            &expected,
        );
    }

    #[test]
    fn vhosts_come_and_go() {
        let expected = ["c: vhost RestartsComponent", "b: vhost RestartsComponent"];
        check(
            "vhost a {} vhost b {} vhost __defaultVhost__ {}",
            "vhost __defaultVhost__ {} vhost c {} vhost a {}",
            &expected,
        );
    }

    #[test]
    fn what_needs_a_restart_is_held_back_and_found_again() {
        let load = |text: &str| {
            let text = format!("listen 1935; {text}");
            crate::load(Some(("t", text.as_bytes())), [], &mut |_| unreachable!()).unwrap().snapshot
        };
        let old = load("work_dir ./a; vhost v { play { gop_cache on; } }");
        let file = load("work_dir ./b; chunk_size 4096; vhost v { play { gop_cache off; } } vhost w { }");
        let mut running = file.clone();
        running.hold_back(&old);
        assert_eq!(running.global.work_dir, old.global.work_dir);
        let Snapshot { global, vhosts, .. } = &running;
        assert_eq!((global.chunk_size, vhosts.len(), vhosts[0].play.gop_cache), (4096, 2, false));
        let left: Vec<String> = diff(&running, &file).into_iter().map(|change| change.path).collect();
        assert_eq!(left, ["work_dir"]);
    }

    #[test]
    fn entrances_come_and_go_by_their_address() {
        let caster = |lines: &str| format!("stream_caster {{ enabled on; output rtmp://a/b/c; {lines} }}");
        let flv = caster("caster flv; listen 1;");
        check("", &flv, &["stream_caster RebindsListener"]);
        check(&flv, &caster("caster flv; listen 2;"), &["stream_caster RebindsListener"; 2]);
        check(&flv, &flv.replace("on;", "off;"), &["stream_caster RebindsListener"]);
        check(&flv, &flv.replace("flv", "rtsp"), &["stream_caster.caster RebindsListener"]);
        let other = flv.replace("a/b", "a/d");
        check(
            &flv,
            &format!("{} {other}", caster("caster mpegts_over_udp; listen 1;")),
            &["stream_caster RebindsListener", "stream_caster.output NewSessions"],
        );
    }

    #[test]
    fn listen_rebinds() {
        check("", "listen 1936;", &[]);
        let text = |text: &str| {
            crate::load(Some(("t", text.as_bytes())), [], &mut |_| unreachable!()).unwrap().snapshot
        };
        let changes = diff(&text("listen 1935;"), &text("listen 1935 1936;"));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].effect, Effect::RebindsListener);
    }
}
