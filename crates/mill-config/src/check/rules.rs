//! What several directives must agree on.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::ffmpeg::BadEngine;
use crate::model::{Destination, Engine, Rule};
use crate::report::{Diagnostic, Report, quoted};
use crate::source::Span;
use crate::value::{self, BadRule};
use crate::view::View;

pub(super) fn check(root: &View<'_>, needs_listen: bool, report: &mut Report) {
    Rules { report }.root(root, needs_listen);
}

struct Rules<'a> {
    report: &'a mut Report,
}

/// Sockets of one kind may not meet; TCP and UDP may.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Transport {
    Tcp,
    Udp,
}

/// An endpoint somebody listens on. Those of one `shared` group are one listener if they are equal.
struct Listener {
    transport: Transport,
    address: SocketAddr,
    path: String,
    span: Option<Span>,
    shared: &'static str,
}

impl Rules<'_> {
    fn error(&mut self, span: impl Into<Option<Span>>, message: impl Into<String>, help: &str) {
        self.report.add(Diagnostic::error(span, message).help(help));
    }

    fn warning(&mut self, span: impl Into<Option<Span>>, message: impl Into<String>, help: &str) {
        self.report.add(Diagnostic::warning(span, message).help(help));
    }

    fn root(&mut self, root: &View<'_>, needs_listen: bool) {
        if root.is_on("is_full") {
            self.error(at(root, "is_full"), "this file only lists directives; it is not meant to be run", "");
        }
        if root.list("listen").is_empty() {
            let span = root.given("listen").map_or(Span::default(), |listen| listen.name.span);
            if needs_listen {
                self.error(span, "`listen` is required", "add `listen 1935;`");
            } else {
                self.warning(None, "there is no RTMP endpoint", "set `SRS_LISTEN`");
            }
        }
        // SRS refuses it too; without the hint at the default nobody understands why.
        if root.is_on("asprocess") && root.is_on("daemon") {
            let message = "`asprocess` needs a parent, a daemon has none";
            self.error(at(root, "asprocess"), message, "add `daemon off;` (`daemon` is on by default)");
        }
        self.https(root);
        self.auth(root);
        self.listeners(root);
        for caster in root.blocks("stream_caster") {
            self.stream_caster(&caster);
        }
        self.vhosts(root);
    }

    /// TLS listeners come beside plain ones, and both HTTP services share both ports or none.
    fn https(&mut self, root: &View<'_>) {
        let (api, server) = (root.block("http_api"), root.block("http_server"));
        let (api_tls, server_tls) = (api.block("https"), server.block("https"));
        for (plain, tls, name) in [(&api, &api_tls, "http_api"), (&server, &server_tls, "http_server")] {
            if tls.is_on("enabled") && !plain.is_on("enabled") {
                let message = format!("`{name}.https` needs `{name}` to be enabled too");
                self.error(at(tls, "enabled"), message, "");
            }
        }
        if api_tls.is_on("enabled") && server_tls.is_on("enabled") {
            let equal = |a: &View<'_>, b: &View<'_>| endpoint(a, "listen") == endpoint(b, "listen");
            // Where the plain port is shared, that of `http_server` is the default of the API's TLS port.
            let tls_equal = api_tls.given("listen").is_none() || equal(&api_tls, &server_tls);
            if equal(&api, &server) && !tls_equal {
                let message =
                    "`http_api` and `http_server` share a port, so their `https` must share one too";
                self.error(at(&api_tls, "listen"), message, "");
            } else if !equal(&api, &server) && equal(&api_tls, &server_tls) {
                let message =
                    "the `https` of `http_api` and `http_server` share a port, so the plain ones must too";
                self.error(at(&api_tls, "listen"), message, "");
            }
        }
    }

    /// Empty credentials would be everybody's.
    fn auth(&mut self, root: &View<'_>) {
        let auth = root.block("http_api").block("auth");
        if auth.is_on("enabled") && (auth.text("username").is_empty() || auth.text("password").is_empty()) {
            let message = "`auth` without a user name and a password lets nobody in";
            self.warning(at(&auth, "enabled"), message, "add `username` and `password`");
        }
    }

    /// Every socket is listened on once. SRS would open both and spread connections at random.
    fn listeners(&mut self, root: &View<'_>) {
        let mut taken: HashMap<(Transport, SocketAddr), Listener> = HashMap::new();
        for listener in listeners(root) {
            let key = (listener.transport, listener.address);
            match taken.get(&key) {
                Some(first) if first.shared.is_empty() || first.shared != listener.shared => {
                    let message = format!("{} is listened on already, by `{}`", listener.address, first.path);
                    self.error(listener.span, message, "");
                }
                Some(_) => {}
                None => {
                    taken.insert(key, listener);
                }
            }
        }
    }

    fn stream_caster(&mut self, caster: &View<'_>) {
        if caster.is_on("enabled") {
            for name in ["caster", "listen", "output"] {
                if caster.text(name).is_empty() {
                    let message = format!("a `stream_caster` that is enabled needs `{name}`");
                    self.error(at(caster, name), message, "");
                }
            }
            let output = caster.text("output");
            if !output.is_empty() && !["rtmp://", "rtmps://"].iter().any(|schema| output.starts_with(schema))
            {
                let message = "`output` is an RTMP URL, such as rtmp://127.0.0.1/live/livestream";
                self.error(at(caster, "output"), message, "");
            }
        }
    }

    fn vhosts(&mut self, root: &View<'_>) {
        let mut names = HashSet::new();
        let mut mounts: HashSet<(&str, String)> = HashSet::new();
        for vhost in root.blocks("vhost") {
            let name = vhost.head();
            if !names.insert(name) {
                let message = format!("the vhost {} was given before: the first one counts", quoted(name));
                self.warning(vhost.directive().map(|vhost| vhost.value_span()), message, "");
                continue;
            }
            self.cluster(&vhost.block("cluster"));
            self.remux(&vhost);
            self.processes(&vhost);
            self.access(&vhost);
            self.callbacks(&vhost.block("http_hooks"));
            self.forward(&vhost.block("forward"));
            let publish = vhost.block("publish");
            if vhost.block("forward").is_on("enabled") && publish.number("kickoff_for_idle") > 0.0 {
                let message = "`kickoff_for_idle` would drop publishers whose streams are only forwarded";
                self.error(
                    at(&publish, "kickoff_for_idle"),
                    message,
                    "turn off one of `kickoff_for_idle` and `forward`",
                );
            }
            for kind in ["http_static", "http_remux"] {
                let block = vhost.block(kind);
                let mount = block.text("mount").replace("[vhost]", name);
                if vhost.is_on("enabled") && block.is_on("enabled") && !mounts.insert((kind, mount)) {
                    let message = format!("another vhost has the same `{kind}.mount`");
                    // SRS does not start with two equal static mounts; equal remux mounts meet only per
                    // stream.
                    match kind {
                        "http_static" => self.error(at(&block, "mount"), message, "begin it with `[vhost]`"),
                        _ => self.warning(at(&block, "mount"), message, "begin it with `[vhost]`"),
                    }
                }
            }
        }
    }

    fn cluster(&mut self, cluster: &View<'_>) {
        if cluster.word("mode") == "remote" && cluster.list("origin").is_empty() {
            self.warning(at(cluster, "mode"), "an edge without `origin` has no streams", "");
        }
        if cluster.is_on("origin_cluster") && cluster.list("coworkers").is_empty() {
            self.error(at(cluster, "origin_cluster"), "`origin_cluster` needs `coworkers`", "");
        }
        for name in ["origin", "coworkers"] {
            for word in cluster.given(name).map_or(&[][..], |directive| &directive.args) {
                if word.text.contains('/') || Destination::parse(&word.text).is_err() {
                    let message = format!("{} is no server", quoted(&word.text));
                    self.error(word.span, message, "write `host` or `host:port`");
                }
            }
        }
    }

    fn remux(&mut self, vhost: &View<'_>) {
        if let Some(second) = vhost.blocks("http_remux").nth(1) {
            let span = second.directive().map(|remux| remux.name.span);
            self.error(span, "a vhost has one `http_remux` at most", "");
        }
        let remux = vhost.block("http_remux");
        if !remux.is_on("enabled") {
            return;
        }
        let mount = remux.text("mount");
        if ![".flv", ".ts", ".mp3", ".aac"].iter().any(|ending| mount.ends_with(ending)) {
            let message = format!("{} ends in no known format", quoted(mount));
            self.warning(at(&remux, "mount"), message, "end it in `.flv`, `.ts`, `.mp3` or `.aac`");
        }
        if mount.ends_with(".ts") && vhost.block("hls").is_on("enabled") {
            let message = "live TS and the segments of HLS cannot be told apart";
            self.error(at(&remux, "mount"), message, "use two vhosts, or another format");
        }
    }

    /// A rule nobody can read would let in, or keep out, who was meant.
    fn access(&mut self, vhost: &View<'_>) {
        let security = vhost.block("security");
        for name in ["deny", "allow"] {
            for words in security.each(name) {
                if let Err(error) = Rule::parse(&words.texts()) {
                    let place = match error {
                        BadRule::Action => words.args.first(),
                        BadRule::Nobody => None,
                        BadRule::Address | BadRule::Prefix(_) => words.args.get(1),
                    };
                    let message = match place {
                        Some(word) => format!("{} in `{name}`: {error}", quoted(&word.text)),
                        None => format!("`{name}`: {error}"),
                    };
                    let span = place.map_or(words.name.span, |word| word.span);
                    let help = "write for instance `publish all`, `play 192.0.2.1` or `play 10.0.0.0/8`";
                    self.error(span, message, help);
                } else if let Some(surplus) = words.args.get(2) {
                    let message = format!("{}: a rule is about one address or range", quoted(&surplus.text));
                    self.error(surplus.span, message, "write another line for it");
                }
            }
        }
        let any = security.each("deny").chain(security.each("allow")).next().is_some();
        if security.is_on("enabled") && !any {
            self.warning(at(&security, "enabled"), "`security` without a rule refuses everybody", "");
        }
    }

    fn callbacks(&mut self, hooks: &View<'_>) {
        if !hooks.is_on("enabled") {
            return;
        }
        for name in ["on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop"] {
            self.callable(hooks, name);
        }
    }

    fn callable(&mut self, block: &View<'_>, name: &str) {
        for word in block.given(name).map_or(&[][..], |directive| &directive.args) {
            let rest = word.text.strip_prefix("http://").or_else(|| word.text.strip_prefix("https://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#', ':'])) {
                let message = format!("{} is no URL that can be called", quoted(&word.text));
                self.error(word.span, message, "write `http://host[:port]/path` or `https://…`");
            }
        }
    }

    fn forward(&mut self, forward: &View<'_>) {
        if !forward.is_on("enabled") {
            return;
        }
        self.callable(forward, "backend");
        for word in forward.given("destination").map_or(&[][..], |directive| &directive.args) {
            if let Err(error) = Destination::parse(&word.text) {
                let message = format!("{} is no destination: {error}", quoted(&word.text));
                self.error(word.span, message, "write `host`, `host:port` or `rtmp://host/app/stream`");
            }
        }
        if forward.list("destination").is_empty() && forward.text("backend").is_empty() {
            let message = "`forward` without a `destination` or `backend` sends nothing";
            self.warning(at(forward, "enabled"), message, "");
        }
    }

    fn processes(&mut self, vhost: &View<'_>) {
        let mut ids = HashSet::new();
        for ingest in vhost.blocks("ingest") {
            if !ids.insert(ingest.head()) {
                let message = format!("the ingest {} was given before in this vhost", quoted(ingest.head()));
                self.error(ingest.directive().map(|ingest| ingest.value_span()), message, "");
            }
            self.program(&ingest, "ingest");
        }
        for transcode in vhost.blocks("transcode") {
            self.program(&transcode, "transcode");
        }
    }

    /// SRS does not start with an enabled `ingest` of no program, input or output, and an engine's process ends
    /// at once without output. What else an engine lacks is a warning: it is left out, and all else runs.
    fn program(&mut self, block: &View<'_>, kind: &str) {
        if !block.is_on("enabled") {
            return;
        }
        if block.text("ffmpeg").is_empty() {
            let message = format!("`{kind}` needs `ffmpeg`");
            match kind {
                "ingest" => self.error(at(block, "ffmpeg"), message, "name the program"),
                _ => self.warning(at(block, "ffmpeg"), message, "name the program"),
            }
        }
        if kind == "ingest" {
            if block.block("input").text("url").is_empty() {
                let input = block.given("input").map(|input| input.name.span);
                self.error(
                    input.or_else(|| at(block, "input")),
                    "`ingest` needs the `url` of its `input`",
                    "",
                );
            }
            if block.blocks("engine").next().is_none() {
                let help = "write `engine { output rtmp://127.0.0.1:[port]/live/livestream; }`";
                self.error(
                    at(block, "engine"),
                    "`ingest` needs an `engine` that says where the stream goes",
                    help,
                );
            }
        }
        for engine in block.blocks("engine") {
            let used = engine.is_on("enabled");
            if (kind == "ingest" || used) && engine.text("output").is_empty() {
                self.error(at(&engine, "output"), "`engine` needs `output`", "");
            } else if used && let Err(bad) = Engine::read(&engine).check() {
                // Without both codecs an ingest copies, as in SRS.
                let copies = matches!(bad, BadEngine::Vcodec | BadEngine::Acodec);
                let instead = if kind == "ingest" { "it copies" } else { "it is left out" };
                if !(kind == "ingest" && copies) {
                    self.warning(
                        at(&engine, "enabled"),
                        format!("this `engine` cannot run, {instead}: {bad}"),
                        "",
                    );
                }
            }
        }
    }
}

/// Where a directive stands; the block that should hold it if it does not.
fn at(view: &View<'_>, name: &str) -> Option<Span> {
    let given = view.given(name).map(|directive| directive.value_span());
    given.or_else(|| view.directive().map(|block| block.name.span))
}

/// A wrong endpoint was reported with its directive; here it is as good as none.
fn endpoint(view: &View<'_>, name: &str) -> Option<SocketAddr> {
    value::endpoint(view.text(name)).ok()
}

/// All endpoints that will be listened on, RTMP first.
fn listeners(root: &View<'_>) -> Vec<Listener> {
    use Transport::{Tcp, Udp};
    let mut found = Vec::new();
    if let Some(listen) = root.given("listen") {
        found.extend(listen.args.iter().filter_map(|arg| {
            let address = value::endpoint(&arg.text).ok()?;
            Some(Listener {
                transport: Tcp,
                address,
                path: "listen".into(),
                span: Some(arg.span),
                shared: "",
            })
        }));
    }
    let mut block = |path: &str, transport, shared| {
        let view = path.split('.').fold(*root, |view, name| view.block(name));
        if !view.is_on("enabled") {
            return;
        }
        let given = view.given("listen").map_or(&[][..], |listen| &listen.args);
        let count = if view.row("listen").takes_many() { usize::MAX } else { 1 };
        for (index, text) in view.list("listen").into_iter().enumerate().take(count) {
            let Ok(address) = value::endpoint(text) else { continue };
            let span = given.get(index).map(|word| word.span).or_else(|| at(&view, "listen"));
            found.push(Listener { transport, address, path: format!("{path}.listen"), span, shared });
        }
    };
    block("http_api", Tcp, "plain");
    block("http_server", Tcp, "plain");
    block("http_server.https", Tcp, "tls");
    if root.block("http_api").block("https").given("listen").is_some() {
        block("http_api.https", Tcp, "tls");
    }
    block("exporter", Tcp, "");
    block("srt_server", Udp, "");
    block("rtc_server", Udp, "");
    if root.block("rtc_server").is_on("enabled") {
        block("rtc_server.tcp", Tcp, "");
    }
    for caster in root.blocks("stream_caster").filter(|caster| caster.is_on("enabled")) {
        let transport = if caster.text("caster") == "mpegts_over_udp" { Udp } else { Tcp };
        if let Some(address) = endpoint(&caster, "listen") {
            let span = at(&caster, "listen");
            found.push(Listener {
                transport,
                address,
                path: "stream_caster.listen".into(),
                span,
                shared: "",
            });
        }
    }
    found
}
