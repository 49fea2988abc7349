//! Names of older versions, rewritten to today's before anything is checked, with a warning each.
//!
//! The old form wins over the new one if both are given, as in SRS.

use crate::report::{Diagnostic, Report, quoted};
use crate::source::Span;
use crate::tree::{self, Directive, Word};

/// An old directive of a vhost and where its arguments go.
struct Move {
    old: &'static str,
    block: &'static str,
    new: &'static str,
    /// The old form had no switch: it was on when given.
    enables: bool,
}

const fn to(block: &'static str, name: &'static str) -> Move {
    Move { old: name, block, new: name, enables: false }
}

const fn renamed(old: &'static str, block: &'static str, new: &'static str) -> Move {
    Move { old, block, new, enables: false }
}

const fn enabling(old: &'static str, block: &'static str, new: &'static str) -> Move {
    Move { old, block, new, enables: true }
}

/// Leaves of a vhost that moved into a block. Only forms with arguments and without a block are meant, so an
/// empty `refer {}` is left alone (SRS takes it for the old form and then refuses everybody).
const VHOST_LEAVES: &[Move] = &[
    enabling("refer", "refer", "all"),
    enabling("refer_play", "refer", "play"),
    enabling("refer_publish", "refer", "publish"),
    enabling("forward", "forward", "destination"),
    renamed("publish_1stpkt_timeout", "publish", "firstpkt_timeout"),
    renamed("publish_normal_timeout", "publish", "normal_timeout"),
    to("play", "time_jitter"),
    to("play", "mix_correct"),
    to("play", "atc"),
    to("play", "atc_auto"),
    to("play", "mw_latency"),
    to("play", "gop_cache"),
    to("play", "gop_cache_max_frames"),
    to("play", "queue_length"),
    to("play", "send_min_interval"),
    to("play", "reduce_sequence_header"),
    to("cluster", "mode"),
    to("cluster", "origin"),
    to("cluster", "token_traverse"),
    to("cluster", "vhost"),
    to("cluster", "debug_srs_upnode"),
];

/// Blocks of a vhost that are no more: what is in them (first two names) and where it goes.
const VHOST_BLOCKS: &[(&str, Move)] = &[
    ("mr", renamed("enabled", "publish", "mr")),
    ("mr", renamed("latency", "publish", "mr_latency")),
    ("nack", renamed("enabled", "rtc", "nack")),
    ("nack", renamed("no_copy", "rtc", "nack_no_copy")),
    ("twcc", renamed("enabled", "rtc", "twcc")),
];

/// Names of `stream_caster` and its `sip` that only the GB28181 server of SRS 4 knew.
const OLD_GB28181: &[&str] = &[
    "wait_keyframe",
    "rtp_idle_timeout",
    "audio_enable",
    "jitterbuffer_enable",
    "auto_create_channel",
    "serial",
    "realm",
    "ack_timeout",
    "keepalive_timeout",
    "invite_port_fixed",
    "query_catalog_interval",
    "auto_play",
];

/// Rewrites a whole configuration.
pub(crate) fn rewrite(root: &mut [Directive], report: &mut Report) {
    for directive in root {
        match directive.name.text.as_str() {
            // Not worth a warning, says SRS: it was the name for years.
            "http_stream" => directive.name.text = "http_server".to_owned(),
            "srt_server" => {
                for child in directive.children_mut() {
                    rename(child, "tlpkdrop", "tlpktdrop", report);
                }
            }
            "rtc_server" => drop_names(directive.children_mut(), &["perf_stat", "queue_length"], report),
            "stream_caster" => stream_caster(directive, report),
            "vhost" => vhost(directive, report),
            _ => {}
        }
    }
}

fn vhost(vhost: &mut Directive, report: &mut Report) {
    let Some(body) = &mut vhost.body else { return };
    let (old, mut kept): (Vec<_>, Vec<_>) = std::mem::take(body).into_iter().partition(is_old_in_vhost);
    for child in &mut kept {
        rename(child, "http", "http_static", report);
        match child.name.text.as_str() {
            // Always on for long; SRS drops it without a word.
            "http_remux" => child.children_mut().retain(|inner| !inner.is("hstrs")),
            "rtc" => rtc(child.children_mut(), report),
            "dvr" => dvr(child.children_mut(), report),
            _ => {}
        }
    }
    for directive in old {
        let leaf = VHOST_LEAVES.iter().find(|rule| directive.is(rule.old));
        if let Some(rule) = leaf {
            move_to(&mut kept, rule, directive, "", report);
            continue;
        }
        let outer = directive.name.text.clone();
        for inner in directive.body.unwrap_or_default() {
            let rule = VHOST_BLOCKS.iter().find(|(block, rule)| *block == outer && inner.is(rule.old));
            match rule {
                Some((_, rule)) => move_to(&mut kept, rule, inner, &format!("{outer}."), report),
                None => dropped(inner.name.span, &format!("{outer}.{}", inner.name.text), report),
            }
        }
    }
    *body = kept;
}

fn is_old_in_vhost(directive: &Directive) -> bool {
    let leaf = directive.body.is_none() && !directive.args.is_empty();
    (leaf && VHOST_LEAVES.iter().any(|rule| directive.is(rule.old)))
        || VHOST_BLOCKS.iter().any(|(block, _)| directive.is(block))
}

fn move_to(body: &mut Vec<Directive>, rule: &Move, directive: Directive, outer: &str, report: &mut Report) {
    let Directive { name, args, .. } = directive;
    let Move { old, block, new, enables } = rule;
    let message = format!("`{outer}{old}` is an old form");
    report.add(Diagnostic::warning(name.span, message).help(format!("it is `{block} {{ {new} …; }}` now")));
    let named = |text: &str| Word { text: text.to_owned(), span: name.span };
    let inside = tree::block_mut(body, &named(block)).children_mut();
    if *enables {
        tree::replace(inside, Directive { name: named("enabled"), args: vec![named("on")], body: None });
    }
    tree::replace(inside, Directive { name: named(new), args, body: None });
}

fn rtc(body: &mut [Directive], report: &mut Report) {
    for (old, new, word) in [("aac", "rtmp_to_rtc", "transcode"), ("bframe", "keep_bframe", "keep")] {
        for child in body.iter_mut().filter(|child| child.is(old)) {
            rename(child, old, new, report);
            if let Some(arg) = child.args.first_mut() {
                arg.text = if arg.text == word { "on" } else { "off" }.to_owned();
            }
        }
    }
}

fn dvr(body: &mut [Directive], report: &mut Report) {
    let Some(plan) = body.iter_mut().find(|child| child.is("dvr_plan")) else { return };
    if let Some(word) = plan.args.first_mut().filter(|word| word.text == "append") {
        let message = "the plan `append` is no more: `session` is used";
        report.add(Diagnostic::warning(word.span, message));
        word.text = "session".to_owned();
    }
}

/// GB28181 of SRS 4: one address moved, the rest of its names are of no use any more.
fn stream_caster(caster: &mut Directive, report: &mut Report) {
    let body = caster.children_mut();
    drop_names(body, OLD_GB28181, report);
    if let Some(sip) = body.iter_mut().find(|child| child.is("sip")) {
        drop_names(sip.children_mut(), OLD_GB28181, report);
    }
    if tree::find(body, "caster").is_some_and(|caster| caster.first() == "gb28181") {
        drop_names(body, &["rtp_port_min", "rtp_port_max"], report);
    }
    if let Some(index) = body.iter().position(|child| child.is("host")) {
        let host = body.remove(index);
        move_to(body, &renamed("host", "sip", "candidate"), host, "", report);
    }
}

fn rename(directive: &mut Directive, old: &str, new: &str, report: &mut Report) {
    if directive.is(old) {
        let message = format!("`{old}` is an old name");
        report.add(Diagnostic::warning(directive.name.span, message).help(format!("write `{new}`")));
        directive.name.text = new.to_owned();
    }
}

fn drop_names(body: &mut Vec<Directive>, names: &[&str], report: &mut Report) {
    body.retain(|directive| {
        let old = names.contains(&directive.name.text.as_str());
        if old {
            dropped(directive.name.span, &directive.name.text, report);
        }
        !old
    });
}

fn dropped(span: Span, name: &str, report: &mut Report) {
    report.add(Diagnostic::warning(span, format!("{} is of no use any more and is ignored", quoted(name))));
}

#[cfg(test)]
mod tests;
