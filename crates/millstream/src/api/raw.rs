//! `/api/v1/raw`: remote control of the configuration, by SRS 3.0's calls and `reload-fetch` of 6.0.
//!
//! Each call needs a permission of `http_api.raw_api`. A reload and an update are transactions: the answer
//! comes when everything is in force, or says why nothing has changed. An update changes the file too, and
//! only the place it is about. What is shown is what stands in the configuration, without the passwords.

use std::borrow::Cow;

use futures_util::future::BoxFuture;
use mill_config::model::RawApi;
use mill_config::spec::{self, Kind, Row};
use mill_config::{Edit, Node, Snapshot, Tree, Vhost};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{Answer, Asked};
use crate::reload::{Cause, Outcome, State};
use crate::session::Context;

/// SRS's numbers: no such call; the call is not allowed; no such scope, or not in this state; a bad value.
const UNKNOWN: u32 = 1060;
const NOT_ALLOWED: u32 = 1061;
const SCOPE: u32 = 1062;
const VALUE: u32 = 1063;

/// Longest name of a vhost: that of a host.
const MAX_NAME: usize = 255;

/// Blocks that are about secrets; they are not shown.
const SECRET: [&str; 3] = ["auth", "tencentcloud_cls", "tencentcloud_apm"];

/// The answer to a call that was good; what else is in it depends on the call.
#[derive(Serialize, ToSchema)]
pub(super) struct Raw {
    #[schema(minimum = 0, maximum = 0)]
    code: u32,
}

/// What a call asks for: its parameters, decoded.
type Parameter<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

pub(super) fn get<'a>(asked: &'a Asked<'a>) -> BoxFuture<'a, Answer> {
    Box::pin(async move {
        let parameter = |name: &str| asked.query.get(name).map(Cow::into_owned);
        Answer::json(&call(asked.ctx, &parameter).await)
    })
}

/// Answers a call.
async fn call(ctx: &Context, parameter: Parameter<'_>) -> Value {
    let rpc = parameter("rpc").unwrap_or_default();
    let (allowed, tree) = {
        let config = ctx.config.load();
        (config.http_api.raw_api.clone(), ctx.config.tree())
    };
    match answer(ctx, &allowed, &tree, &rpc, parameter).await {
        Ok(answer) => answer,
        Err(Refused { code, msg }) if msg.is_empty() => json!({ "code": code }),
        Err(Refused { code, msg }) => json!({ "code": code, "msg": msg }),
    }
}

/// Why a call was refused, in SRS's number and, where that says little, in words.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    code: u32,
    msg: String,
}

impl From<u32> for Refused {
    fn from(code: u32) -> Self {
        Self { code, msg: String::new() }
    }
}

async fn answer(
    ctx: &Context,
    allowed: &RawApi,
    tree: &Tree,
    rpc: &str,
    parameter: Parameter<'_>,
) -> Result<Value, Refused> {
    if rpc == "raw" {
        return Ok(json!({ "code": 0, "http_api": permissions(&ctx.config.load(), tree) }));
    }
    let may = |permission: bool| if permission { Ok(()) } else { Err(NOT_ALLOWED) };
    may(allowed.enabled)?;
    match rpc {
        "reload" => {
            may(allowed.allow_reload)?;
            done(ctx.reload.reload(Cause::Api).await)
        }
        "reload-fetch" => {
            may(allowed.allow_reload)?;
            let Outcome { rid, state, err, msg } = ctx.reload.last();
            Ok(json!({ "code": 0, "data": { "err": err, "msg": msg, "state": state as u32, "rid": rid } }))
        }
        "query" => {
            may(allowed.allow_query)?;
            let scope = parameter("scope").unwrap_or_default();
            let vhost = parameter("vhost").unwrap_or_default();
            let seen = ctx.clients.vhosts();
            let id = |name: &str| seen.iter().find(|entry| entry.name == name).map(|entry| entry.id.clone());
            Ok(query(&ctx.config.load(), tree, &id, &scope, &vhost)?)
        }
        "update" => {
            may(allowed.allow_update)?;
            let edit = plan(&ctx.config.load_full(), parameter)?;
            done(ctx.reload.update(edit).await)
        }
        _ => Err(UNKNOWN.into()),
    }
}

/// The answer to a change, once it has been made or refused.
fn done(outcome: Outcome) -> Result<Value, Refused> {
    match outcome {
        Outcome { state: State::Finished, msg, .. } if msg.is_empty() => Ok(json!({ "code": 0 })),
        Outcome { state: State::Finished, msg, .. } => Ok(json!({ "code": 0, "msg": msg })),
        Outcome { err, msg, .. } => Err(Refused { code: err, msg }),
    }
}

/// `rpc=raw`: the API's own settings.
fn permissions(config: &Snapshot, tree: &Tree) -> Value {
    let api = &config.http_api;
    let raw = &api.raw_api;
    let listen = tree.first("http_api").and_then(|api| api.child("listen")).map(words);
    json!({
        "enabled": api.enabled,
        "listen": listen.unwrap_or_else(|| "1985".to_owned()),
        "crossdomain": api.crossdomain,
        "raw_api": {
            "enabled": raw.enabled,
            "allow_reload": raw.allow_reload,
            "allow_query": raw.allow_query,
            "allow_update": raw.allow_update,
        },
    })
}

/// The id that the API gives a vhost once it has had a client.
type Id<'a> = &'a dyn Fn(&str) -> Option<String>;

/// `rpc=query`.
fn query(config: &Snapshot, tree: &Tree, id: Id<'_>, scope: &str, vhost: &str) -> Result<Value, u32> {
    match scope {
        "minimal" => {
            let listen: Vec<&str> = tree.first("listen").map_or(Vec::new(), |listen| listen.args().collect());
            Ok(json!({ "code": 0, "minimal": { "listen": listen } }))
        }
        "global" => {
            let mut global = object(spec::root(), tree.nodes().filter(|node| node.name() != "vhost"));
            global.insert("nb_vhosts".into(), config.vhosts.len().into());
            let flags = config.vhosts.iter().map(|vhost| (vhost.name.clone(), flags(vhost, tree, id).into()));
            global.insert("vhosts".into(), flags.collect::<Map<_, _>>().into());
            Ok(json!({ "code": 0, "global": global }))
        }
        "vhost" => {
            let conf = config.vhosts.iter().find(|conf| conf.name == vhost).ok_or(VALUE)?;
            let node = tree.vhost(vhost).ok_or(VALUE)?;
            let mut shown = named(vhost, id);
            shown.insert("enabled".into(), conf.enabled.into());
            shown.extend(object(rows_of(spec::root(), "vhost"), node.children()));
            Ok(json!({ "code": 0, "vhost": shown }))
        }
        _ => Err(SCOPE),
    }
}

/// A vhost in few words: only what is on.
fn flags(vhost: &Vhost, tree: &Tree, id: Id<'_>) -> Map<String, Value> {
    let node = tree.vhost(&vhost.name);
    let block = |name: &str| node.and_then(|node| node.child(name));
    let on = |node: Option<Node<'_>>| node.is_some_and(|node| words(node) == "on");
    let enabled = |name| on(block(name).and_then(|block| block.child("enabled")));
    let edge = block("cluster")
        .and_then(|cluster| cluster.child("mode"))
        .is_some_and(|mode| words(mode) == "remote");
    let any = |name: &str| {
        node.is_some_and(|node| {
            node.children().any(|child| child.name() == name && on(child.child("enabled")))
        })
    };
    let play = &vhost.play;
    let found = [
        ("enabled", vhost.enabled),
        ("dvr", enabled("dvr")),
        ("http_static", enabled("http_static")),
        ("http_remux", vhost.http_remux.enabled),
        ("hls", enabled("hls")),
        ("hds", enabled("hds")),
        ("http_hooks", enabled("http_hooks")),
        ("exec", enabled("exec")),
        ("bandcheck", enabled("bandcheck")),
        ("origin", !edge),
        ("forward", enabled("forward")),
        ("security", enabled("security")),
        ("refer", enabled("refer")),
        ("mr", on(block("publish").and_then(|publish| publish.child("mr")))),
        ("min_latency", vhost.min_latency),
        ("gop_cache", play.gop_cache),
        ("tcp_nodelay", on(block("tcp_nodelay"))),
        ("mix_correct", play.mix_correct),
        ("time_jitter", play.time_jitter != mill_config::model::TimeJitter::Off),
        ("atc", play.atc),
        ("transcode", any("transcode")),
        ("ingest", any("ingest")),
    ];
    let mut flags = named(&vhost.name, id);
    flags.extend(found.into_iter().filter(|(_, on)| *on).map(|(name, on)| (name.to_owned(), on.into())));
    flags
}

/// What every vhost begins with.
fn named(vhost: &str, id: Id<'_>) -> Map<String, Value> {
    let mut members = Map::new();
    members.extend(id(vhost).map(|id| ("id".to_owned(), id.into())));
    members.insert("name".into(), vhost.into());
    members
}

fn rows_of(rows: &'static [Row], name: &str) -> &'static [Row] {
    rows.iter().find(|row| row.name == name).map_or(&[], Row::rows)
}

/// All arguments, as they would stand in a file.
fn words(node: Node<'_>) -> String {
    node.args().collect::<Vec<_>>().join(" ")
}

/// Directives as the members of an object, in their order. Of several only the first is shown, unless several
/// count.
fn object<'a>(rows: &'static [Row], nodes: impl Iterator<Item = Node<'a>>) -> Map<String, Value> {
    let mut members = Map::new();
    for node in nodes {
        let name = node.name();
        let Some(row) = rows.iter().find(|row| row.name == name).filter(|_| !SECRET.contains(&name)) else {
            continue;
        };
        // The names of SRS for what comes several times.
        let list = match name {
            "ingest" => "ingests",
            "transcode" => "transcodes",
            "allow" => "allows",
            "deny" => "denies",
            "engine" if rows.iter().any(|row| row.name == "input") => "",
            "engine" => "engines",
            "publish" if row.repeats => "publish",
            _ => "",
        };
        if list.is_empty() {
            members.entry(name).or_insert_with(|| value(row, node));
        } else if let Value::Array(all) = members.entry(list).or_insert_with(|| Value::Array(Vec::new())) {
            all.push(value(row, node));
        }
    }
    members
}

/// A directive's value, of the type its row says.
fn value(row: &Row, node: Node<'_>) -> Value {
    let first = node.args().next().unwrap_or_default();
    match row.kind {
        Kind::BoolOn => (first != "off").into(),
        Kind::BoolOff => (first == "on").into(),
        Kind::Int(_) => leading(first, |text| text.parse::<i64>().ok().map(Value::from)).unwrap_or(0.into()),
        Kind::Float(_) => {
            leading(first, |text| text.parse::<f64>().ok().map(Value::from)).unwrap_or(0.0.into())
        }
        Kind::List if matches!(row.name, "allow" | "deny") => {
            let mut args = node.args();
            let mut next = || args.next().unwrap_or_default();
            json!({ "action": row.name, "method": next(), "entry": next() })
        }
        Kind::List if row.name == "publish" && row.repeats => words(node).into(),
        // Lists of which SRS shows one.
        Kind::List if matches!(row.name, "origin" | "on_hls_notify") => first.into(),
        Kind::Endpoints if row.required => node.args().collect::<Vec<_>>().into(),
        Kind::List => node.args().collect::<Vec<_>>().into(),
        Kind::Endpoints => words(node).into(),
        Kind::Map => node
            .children()
            .map(|child| (child.name().to_owned(), words(child).into()))
            .collect::<Map<_, _>>()
            .into(),
        Kind::Block(rows) => {
            let mut members = Map::new();
            match row.name {
                "ingest" | "engine" if !first.is_empty() => _ = members.insert("id".into(), first.into()),
                "transcode" => _ = members.insert("apply".into(), first.into()),
                _ => {}
            }
            members.extend(object(rows, node.children()));
            members.into()
        }
        Kind::Word(..) | Kind::Text | Kind::Path | Kind::Endpoint => first.into(),
    }
}

/// The longest beginning of a text that can be read, as C reads numbers.
fn leading(text: &str, read: impl Fn(&str) -> Option<Value>) -> Option<Value> {
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).filter(|end| *end > 0);
    ends.rev().find_map(|end| read(&text[..end]))
}

/// `rpc=update`: the change that is asked for, within SRS's limits.
fn plan(config: &Snapshot, parameter: Parameter<'_>) -> Result<Edit, u32> {
    let text = |name: &str| parameter(name).unwrap_or_default();
    let (scope, value) = (text("scope"), text("value"));
    let set = |args: Vec<String>| Edit::Set { name: scope.clone(), args };
    let within = |least: u32, most: u32| {
        let number = value.parse().ok().filter(|number| (least..=most).contains(number)).ok_or(VALUE)?;
        Ok(set(vec![number.to_string()]))
    };
    let one_of = |words: &[&str]| {
        let word = words.iter().find(|word| **word == value).ok_or(VALUE)?;
        Ok(set(vec![(*word).to_owned()]))
    };
    let path =
        |ending: &str| if is_own_path(&value, ending) { Ok(set(vec![value.clone()])) } else { Err(VALUE) };
    match scope.as_str() {
        "listen" => {
            let endpoints: Vec<String> = value.split(',').map(str::to_owned).collect();
            let port = |endpoint: &String| {
                let port = endpoint.rsplit(':').next().unwrap_or_default();
                port.parse::<u16>().is_ok_and(|port| port > 2 && port < 65535)
            };
            if endpoints.iter().all(port) { Ok(set(endpoints)) } else { Err(VALUE) }
        }
        "pid" => path(".pid"),
        "srs_log_file" => path(".log"),
        "ff_log_dir" if value == "/dev/null" => Ok(set(vec![value])),
        "ff_log_dir" => path(""),
        "chunk_size" => within(128, 65535),
        "max_connections" => within(10, 65535),
        "pithy_print_ms" => within(100, 300_000),
        "srs_log_tank" => one_of(&["file", "console"]),
        "srs_log_level" => one_of(&["verbose", "info", "trace", "warn", "error"]),
        "utc_time" => match value.as_str() {
            "true" => Ok(set(vec!["on".into()])),
            "false" => Ok(set(vec!["off".into()])),
            _ => Err(VALUE),
        },
        "vhost" => plan_vhost(config, value, &text("param"), text("data")),
        "dvr" => plan_dvr(config, value, &text("param"), text("data")),
        _ => Err(SCOPE),
    }
}

/// Adds a stream to `dvr_apply`, or takes it out. To take one out of `all` cannot be said there, and is refused.
fn plan_dvr(config: &Snapshot, name: String, param: &str, stream: String) -> Result<Edit, u32> {
    let vhost = config.vhosts.iter().find(|vhost| vhost.name == name).ok_or(VALUE)?;
    if !vhost.dvr.enabled {
        return Err(SCOPE);
    }
    let named = stream.split_once('/').is_some_and(|(app, name)| !app.is_empty() && !name.is_empty());
    if !named || stream.contains(char::is_whitespace) || stream.contains(char::is_control) {
        return Err(VALUE);
    }
    let apply = &vhost.dvr.apply;
    let all = apply.first().is_some_and(|first| first == "all");
    let mut args: Vec<String> =
        apply.iter().filter(|item| item.contains('/') && **item != stream).cloned().collect();
    match param {
        "enable" if all => return Ok(Edit::SetDvrApply { name, args: apply.clone() }),
        "enable" => args.push(stream),
        "disable" if all => return Err(VALUE),
        "disable" if args.is_empty() => args.push("none".into()),
        "disable" => {}
        _ => return Err(VALUE),
    }
    Ok(Edit::SetDvrApply { name, args })
}

fn plan_vhost(config: &Snapshot, name: String, param: &str, data: String) -> Result<Edit, u32> {
    let found = |name: &str| config.vhosts.iter().find(|vhost| vhost.name == name);
    let state = found(&name).map(|vhost| vhost.enabled);
    match (param, state) {
        ("create", None) if is_name(&name) => Ok(Edit::CreateVhost { name }),
        ("update", Some(false)) if is_name(&data) && found(&data).is_none() => {
            Ok(Edit::RenameVhost { name, new: data })
        }
        ("delete", Some(false)) => Ok(Edit::DeleteVhost { name }),
        ("enable", Some(false)) => Ok(Edit::EnableVhost { name, on: true }),
        ("disable", Some(true)) => Ok(Edit::EnableVhost { name, on: false }),
        _ => Err(VALUE),
    }
}

/// A name that a client could ask for.
fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '&' | '=' | ',');
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(bad)
}

/// A path below the working directory or where such files belong; one that climbs is none.
fn is_own_path(path: &str, ending: &str) -> bool {
    let place = ["./", "/tmp/", "/var/"].iter().any(|place| path.starts_with(place));
    let climbs = path.split('/').any(|level| level == "..");
    place && !climbs && path.ends_with(ending) && !path.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r#"
        listen 1935 19350; daemon off; max_connections 500; utc_time on; chunk_size 60000;
        pid "./my objs/srs.pid";
        http_api { enabled on; listen 1985; auth { enabled on; password secret; } raw_api { enabled on; } }
        heartbeat { enabled off; interval 9.3; }
        stats { network 0; disk sda sdb; }
        vhost a.com {
            chunk_size 4096;
            cluster { mode remote; origin 10.0.0.1:1935 10.0.0.2; }
            play { gop_cache off; queue_length 10; send_min_interval 10.5; }
            security { enabled on; deny publish all; allow play 10.0.0.1; allow play all; }
            http_hooks { enabled on; on_connect http://a/1 http://a/2; on_hls_notify http://a/3; }
            ingest one { enabled on; input { type file; url ./a.flv; } ffmpeg ./f; engine { enabled off; output o; } }
            transcode live { enabled off; engine ff { vcodec libx264; vparams { g 100; } } engine gg { } }
            exec { enabled off; publish ./ffmpeg -f flv; publish ./other; }
        }
        vhost b.com { enabled off; }
    "#;

    fn loaded(text: &str) -> (Snapshot, Tree) {
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let loaded = mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files);
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        (loaded.snapshot, loaded.tree)
    }

    fn shown(scope: &str, vhost: &str) -> Value {
        let (config, tree) = loaded(CONF);
        query(&config, &tree, &|name| (name == "b.com").then(|| "vid-1-2".into()), scope, vhost).unwrap()
    }

    #[test]
    fn the_whole_configuration_is_shown_in_order_and_without_passwords() {
        let global = shown("global", "");
        assert_eq!(
            global.to_string(),
            concat!(
                r#"{"code":0,"global":{"listen":["1935","19350"],"daemon":false,"max_connections":500,"utc_time":true,"#,
                r#""chunk_size":60000,"pid":"./my objs/srs.pid","#,
                r#""http_api":{"enabled":true,"listen":"1985","raw_api":{"enabled":true}},"#,
                r#""heartbeat":{"enabled":false,"interval":9.3},"stats":{"network":0,"disk":["sda","sdb"]},"nb_vhosts":2,"#,
                r#""vhosts":{"a.com":{"name":"a.com","enabled":true,"http_hooks":true,"security":true,"time_jitter":true,"#,
                r#""ingest":true},"b.com":{"id":"vid-1-2","name":"b.com","origin":true,"gop_cache":true,"time_jitter":true}}}}"#
            )
        );
        assert_eq!(shown("minimal", "").to_string(), r#"{"code":0,"minimal":{"listen":["1935","19350"]}}"#);
    }

    #[test]
    fn a_vhost_is_shown_with_what_stands_in_it() {
        assert_eq!(
            shown("vhost", "a.com")["vhost"].to_string(),
            concat!(
                r#"{"name":"a.com","enabled":true,"chunk_size":4096,"cluster":{"mode":"remote","origin":"10.0.0.1:1935"},"#,
                r#""play":{"gop_cache":false,"queue_length":10,"send_min_interval":10.5},"#,
                r#""security":{"enabled":true,"denies":[{"action":"deny","method":"publish","entry":"all"}],"#,
                r#""allows":[{"action":"allow","method":"play","entry":"10.0.0.1"},{"action":"allow","method":"play","entry":"all"}]},"#,
                r#""http_hooks":{"enabled":true,"on_connect":["http://a/1","http://a/2"],"on_hls_notify":"http://a/3"},"#,
                r#""ingests":[{"id":"one","enabled":true,"input":{"type":"file","url":"./a.flv"},"ffmpeg":"./f","engine":{"enabled":false,"output":"o"}}],"#,
                r#""transcodes":[{"apply":"live","enabled":false,"engines":[{"id":"ff","vcodec":"libx264","vparams":{"g":"100"}},{"id":"gg"}]}],"#,
                r#""exec":{"enabled":false,"publish":["./ffmpeg -f flv","./other"]}}"#
            )
        );
        let (config, tree) = loaded(CONF);
        assert_eq!(query(&config, &tree, &|_| None, "vhost", "c.com"), Err(VALUE));
        assert_eq!(query(&config, &tree, &|_| None, "vhosts", "a.com"), Err(SCOPE));
    }

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        let int = |text: &str| leading(text, |text| text.parse::<i64>().ok().map(Value::from));
        assert_eq!(
            (int("10s"), int("-1"), int("x"), int("")),
            (Some(10.into()), Some((-1).into()), None, None)
        );
    }

    #[track_caller]
    fn asked(query: &[(&str, &str)]) -> Result<Edit, u32> {
        let (config, _) = loaded(CONF);
        plan(&config, &|name| {
            query.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn set(scope: &str, value: &str, args: &[&str]) {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(asked(&[("scope", scope), ("value", value)]), Ok(Edit::Set { name: scope.into(), args }));
    }

    #[test]
    fn updates_within_the_limits_of_srs() {
        set("listen", "1935,127.0.0.1:19350", &["1935", "127.0.0.1:19350"]);
        set("pid", "./objs/my srs.pid", &["./objs/my srs.pid"]);
        set("ff_log_dir", "/dev/null", &["/dev/null"]);
        set("chunk_size", "4096", &["4096"]);
        set("utc_time", "true", &["on"]);
        set("srs_log_level", "warn", &["warn"]);
        for (scope, value) in [
            ("listen", "2"),
            ("listen", "1935,"),
            ("listen", "65535"),
            ("pid", "/etc/srs.pid"),
            ("pid", "./srs.txt"),
            ("pid", "./../../etc/srs.pid"),
            ("srs_log_file", "/tmp/srs.pid"),
            ("chunk_size", "127"),
            ("chunk_size", ""),
            ("max_connections", "9"),
            ("pithy_print_ms", "300001"),
            ("utc_time", "on"),
            ("srs_log_tank", "syslog"),
        ] {
            assert_eq!(asked(&[("scope", scope), ("value", value)]), Err(VALUE), "{scope}={value}");
        }
        for scope in ["", "daemon", "http_api"] {
            assert_eq!(asked(&[("scope", scope), ("value", "1")]), Err(SCOPE), "{scope}");
        }
    }

    #[test]
    fn dvr_apply_gains_and_loses_streams() {
        let plan = |apply: &str, param: &str, data: &str| {
            let text = format!("listen 1935; vhost a {{ dvr {{ {apply} }} }}");
            let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
            let config =
                mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap().snapshot;
            match plan_dvr(&config, "a".into(), param, data.into()) {
                Ok(Edit::SetDvrApply { args, .. }) => Ok(args.join(" ")),
                Ok(other) => panic!("{other:?}"),
                Err(code) => Err(code),
            }
        };
        let on = "enabled on; dvr_apply live/a live/b;";
        assert_eq!(plan(on, "enable", "live/c"), Ok("live/a live/b live/c".into()));
        assert_eq!(plan(on, "enable", "live/a"), Ok("live/b live/a".into()));
        assert_eq!(plan(on, "disable", "live/a"), Ok("live/b".into()));
        assert_eq!(plan("enabled on; dvr_apply live/a;", "disable", "live/a"), Ok("none".into()));
        assert_eq!(plan("enabled on; dvr_apply none;", "enable", "live/a"), Ok("live/a".into()));
        assert_eq!(plan("enabled on;", "enable", "live/a"), Ok("all".into()));
        assert_eq!(plan("enabled on;", "disable", "live/a"), Err(VALUE));
        assert_eq!(plan("enabled off;", "enable", "live/a"), Err(SCOPE));
        for bad in ["", "a", "/a", "a/", "a/b c", "a/b\n"] {
            assert_eq!(plan(on, "enable", bad), Err(VALUE), "{bad:?}");
        }
        assert_eq!(plan(on, "other", "live/a"), Err(VALUE));
    }

    #[test]
    fn vhosts_change_in_the_right_state_only() {
        let vhost = |name, param, data| {
            asked(&[("scope", "vhost"), ("value", name), ("param", param), ("data", data)])
        };
        assert_eq!(vhost("c.com", "create", ""), Ok(Edit::CreateVhost { name: "c.com".into() }));
        assert_eq!(vhost("b.com", "delete", ""), Ok(Edit::DeleteVhost { name: "b.com".into() }));
        let renamed = Edit::RenameVhost { name: "b.com".into(), new: "d.com".into() };
        assert_eq!(vhost("b.com", "update", "d.com"), Ok(renamed));
        assert_eq!(vhost("b.com", "enable", ""), Ok(Edit::EnableVhost { name: "b.com".into(), on: true }));
        assert_eq!(vhost("a.com", "disable", ""), Ok(Edit::EnableVhost { name: "a.com".into(), on: false }));
        for (name, param, data) in [
            ("a.com", "create", ""),
            ("", "create", ""),
            ("x y", "create", ""),
            ("x\n}", "create", ""),
            ("a.com", "delete", ""),
            ("c.com", "delete", ""),
            ("a.com", "update", "d.com"),
            ("b.com", "update", "a.com"),
            ("b.com", "update", ""),
            ("a.com", "enable", ""),
            ("b.com", "disable", ""),
            ("a.com", "", ""),
        ] {
            assert_eq!(vhost(name, param, data), Err(VALUE), "{name} {param} {data}");
        }
    }
}
