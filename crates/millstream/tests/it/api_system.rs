//! The system resources of the API, field by field against what SRS 3.0 answers.

use crate::harness::client::Publisher;
use crate::harness::http::Http;
use crate::harness::media::{FlvViewer, Viewer, avc, avc_header};
use crate::harness::server::{Conf, Server};
use crate::harness::{SOON, wait_until};
use serde_json::Value;

const SUMMARIES: &str = r#"{"ok":true,"now_ms":1795384322054,"self":{"version":"3.0.170","pid":17858,"ppid":1,"argv":"./objs/srs -c conf/srs.conf","cwd":"/usr/local/srs","mem_kbyte":10176,"mem_percent":0.00,"cpu_percent":0.01,"srs_uptime":46},"system":{"cpu_percent":0.45,"disk_read_KBps":44,"disk_write_KBps":276,"disk_busy_percent":0.00,"mem_ram_kbyte":24684084,"mem_ram_percent":0.04,"mem_swap_kbyte":0,"mem_swap_percent":0.00,"cpus":2,"cpus_online":2,"uptime":4137.64,"ilde_time":3660.07,"load_1m":1.47,"load_5m":1.19,"load_15m":1.57,"net_sample_time":1795384322054,"net_recv_bytes":0,"net_send_bytes":0,"net_recvi_bytes":60117994505,"net_sendi_bytes":59277915376,"srs_sample_time":1795384322054,"srs_recv_bytes":2449412,"srs_send_bytes":2366024,"conn_sys":3167,"conn_sys_et":18,"conn_sys_tw":441,"conn_sys_udp":0,"conn_srs":2}}"#;

/// Fields of a resource and what they are: `i` a whole number, `f` one with two decimals, `b` a truth, `t` text.
const RESOURCES: [(&str, &str); 6] = [
    (
        "rusages",
        "ok:b sample_time:i ru_utime:i ru_stime:i ru_maxrss:i ru_ixrss:i ru_idrss:i ru_isrss:i ru_minflt:i ru_majflt:i \
         ru_nswap:i ru_inblock:i ru_oublock:i ru_msgsnd:i ru_msgrcv:i ru_nsignals:i ru_nvcsw:i ru_nivcsw:i",
    ),
    (
        "self_proc_stats",
        "ok:b sample_time:i percent:f pid:i comm:t state:t ppid:i pgrp:i session:i tty_nr:i tpgid:i flags:i minflt:i \
         cminflt:i majflt:i cmajflt:i utime:i stime:i cutime:i cstime:i priority:i nice:i num_threads:i itrealvalue:i \
         starttime:i vsize:i rss:i rsslim:i startcode:i endcode:i startstack:i kstkesp:i kstkeip:i signal:i blocked:i \
         sigignore:i sigcatch:i wchan:i nswap:i cnswap:i exit_signal:i processor:i rt_priority:i policy:i \
         delayacct_blkio_ticks:i guest_time:i cguest_time:i",
    ),
    (
        "system_proc_stats",
        "ok:b sample_time:i percent:f user:i nice:i sys:i idle:i iowait:i irq:i softirq:i steal:i guest:i",
    ),
    (
        "meminfos",
        "ok:b sample_time:i percent_ram:f percent_swap:f MemActive:i RealInUse:i NotInUse:i MemTotal:i MemFree:i \
         Buffers:i Cached:i SwapTotal:i SwapFree:i",
    ),
    ("authors", "license:t contributors:t"),
    (
        "features",
        "options:t options2:t build:t build2:i features.ssl:b features.hls:b features.hds:b features.callback:b \
         features.api:b features.httpd:b features.dvr:b features.transcode:b features.ingest:b features.stat:b \
         features.caster:b features.complex_send:b features.tcp_nodelay:b features.so_sendbuf:b features.mr:b",
    ),
];

#[track_caller]
fn text(server: &Server, resource: &str) -> String {
    let mut body = Http::get(server.api_addr(), &format!("/api/v1/{resource}"));
    assert_eq!((body.head.status, body.head.header("content-type")), (200, Some("application/json")));
    String::from_utf8(body.read_to_end(SOON)).unwrap()
}

/// The object under `data`, and the rest of the envelope.
#[track_caller]
fn data(server: &Server, resource: &str) -> Value {
    let text = text(server, resource);
    let mut whole: Value = serde_json::from_str(&text).unwrap();
    assert!(text.starts_with(r#"{"code":0,"server":"vid-"#), "{text}");
    whole["data"].take()
}

/// Names in their order, with `.` for what is inside, and types.
fn shape(prefix: &str, value: &Value, out: &mut Vec<String>) {
    for (name, value) in value.as_object().unwrap() {
        let kind = match value {
            Value::Object(_) => {
                shape(&format!("{prefix}{name}."), value, out);
                continue;
            }
            Value::Bool(_) => 'b',
            Value::String(_) => 't',
            Value::Number(n) if n.is_f64() => 'f',
            Value::Number(_) => 'i',
            _ => '?',
        };
        out.push(format!("{prefix}{name}:{kind}"));
    }
}

fn shape_of(value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    shape("", value, &mut out);
    out
}

/// Waits until the server has looked at the machine.
#[track_caller]
fn sampled(server: &Server) {
    wait_until("figures", SOON, || data(server, "summaries")["ok"] == true);
}

#[test]
fn summaries_have_the_shape_of_srs() {
    let server = Server::plain();
    sampled(&server);
    let expected = shape_of(&serde_json::from_str(SUMMARIES).unwrap());
    assert_eq!(expected.len(), 39);
    assert_eq!(shape_of(&data(&server, "summaries")), expected);
    let text = text(&server, "summaries");
    let at = text.find("\"mem_ram_percent\":").unwrap() + "\"mem_ram_percent\":".len();
    assert_eq!(text[at..].find(',').unwrap(), "0.04".len(), "two decimals: {}", &text[at..at + 8]);
}

#[test]
fn the_other_resources_have_theirs() {
    let server = Server::plain();
    sampled(&server);
    for (resource, expected) in RESOURCES {
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(shape_of(&data(&server, resource)), expected, "{resource}");
    }
}

#[test]
fn figures_are_those_of_this_machine_and_this_process() {
    let server = Server::start(
        &Conf::vhost("publish { normal_timeout 60000; }")
            .global("stats { network 0; disk sda vda nvme0n1; }"),
    );
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &avc_header());
    for n in 0..50 {
        publisher.send(9, 40 * n, &avc(n == 0, n, 20_000));
    }
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    viewer.until_serial(49);

    let mut seen = Value::Null;
    wait_until("both clients and their bytes are counted", SOON, || {
        seen = data(&server, "summaries");
        let system = &seen["system"];
        system["conn_srs"] == 2 && system["srs_send_bytes"].as_u64() > Some(1_000_000)
    });
    let (own, system) = (&seen["self"], &seen["system"]);
    let number = |value: &Value| value.as_f64().unwrap();
    let within = |name: &str, value: &Value, from: f64, to: f64| {
        assert!((from..=to).contains(&number(value)), "{name} is {value}, not from {from} to {to}");
    };
    assert_eq!(own["pid"], server.pid());
    assert_eq!(own["ppid"], std::process::id());
    assert_eq!(own["version"], "3.0.170");
    assert!(own["argv"].as_str().unwrap().ends_with("srs.conf"), "{own}");
    assert_eq!(own["cwd"].as_str().unwrap(), server.dir().canonicalize().unwrap().to_str().unwrap());
    within("mem_kbyte", &own["mem_kbyte"], 2_000.0, 2_000_000.0);
    within("cpu_percent", &own["cpu_percent"], 0.0, 64.0);
    within("srs_uptime", &own["srs_uptime"], 0.0, 120.0);
    within("srs_recv_bytes", &system["srs_recv_bytes"], 1_000_000.0, 2_000_000.0);
    within("srs_send_bytes", &system["srs_send_bytes"], 1_000_000.0, 2_000_000.0);
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    within("cpus", &system["cpus"], cpus, 4096.0);
    for share in ["cpu_percent", "disk_busy_percent", "mem_ram_percent", "mem_swap_percent"] {
        within(share, &system[share], 0.0, 1.0);
    }
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap();
    within("mem_ram_kbyte", &system["mem_ram_kbyte"], total, total);
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    within("uptime", &system["uptime"], uptime - 120.0, uptime);
    // The server listens on three ports at least, and two clients with both ends on this machine.
    within("conn_sys", &system["conn_sys"], 7.0, 1e6);
    within("conn_sys_et", &system["conn_sys_et"], 4.0, 1e6);
    within("net_recvi_bytes", &system["net_recvi_bytes"], 1_000_000.0, 1e18);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as f64;
    within("now_ms", &seen["now_ms"], now - 60_000.0, now);
    within("srs_sample_time", &system["srs_sample_time"], now - 60_000.0, now);

    // Who has left still counts.
    drop((publisher, viewer));
    wait_until("both have gone", SOON, || {
        seen = data(&server, "summaries");
        seen["system"]["conn_srs"] == 0
    });
    within("srs_send_bytes", &seen["system"]["srs_send_bytes"], 1_000_000.0, 3_000_000.0);

    let stat = data(&server, "self_proc_stats");
    assert_eq!((&stat["pid"], &stat["comm"]), (&server.pid().into(), &"(millstream)".into()));
    within("rss", &stat["rss"], 500.0, 1e6);
    within("num_threads", &stat["num_threads"], 2.0, 1000.0);
    within("user", &data(&server, "system_proc_stats")["user"], 1.0, 1e15);
    let memory = data(&server, "meminfos");
    assert_eq!(number(&memory["MemActive"]), total - number(&memory["MemFree"]));
    within("ru_maxrss", &data(&server, "rusages")["ru_maxrss"], 2_000.0, 2_000_000.0);
}

#[test]
fn stats_off_looks_at_nothing() {
    let server = Server::start(&Conf::default().global("stats { enabled off; }"));
    let _publisher = Publisher::start(&server, "live/s");
    wait_until("own figures are there anyhow", SOON, || {
        data(&server, "summaries")["system"]["conn_srs"] == 1
    });
    assert_eq!(data(&server, "summaries")["ok"], false);
    assert_eq!(data(&server, "meminfos")["MemTotal"], 0);
}

#[test]
fn answers_for_those_who_test_a_client() {
    let server = Server::plain();
    let request = "GET /api/v1/tests/requests?a=%20b HTTP/1.1\r\nHost: h.example\r\nX-Mark: m\r\nCookie: secret=1\r\n\r\n";
    let mut body = Http::request(server.api_addr(), request);
    let whole: Value = serde_json::from_slice(&body.read_to_end(SOON)).unwrap();
    let data = &whole["data"];
    assert_eq!(data["uri"], "http://h.example/api/v1/tests/requests?a=%20b");
    assert_eq!((&data["path"], &data["METHOD"]), (&"/api/v1/tests/requests".into(), &"GET".into()));
    let headers = &data["headers"];
    assert_eq!((&headers["x-mark"], &headers["cookie"]), (&"m".into(), &"***".into()));
    for name in ["sigature", "version", "link", "time"] {
        assert!(headers[name].is_string(), "{name}");
    }
    assert_eq!(text(&server, "tests/errors"), r#"{"code":100}"#);
    let body = Http::get(server.api_addr(), "/api/v1/tests/redirects");
    assert_eq!((body.head.status, body.head.header("location")), (301, Some("/api/v1/tests/errors")));
}

#[test]
pub(crate) fn what_is_looked_at_changes_under_way() {
    let server = Server::start(&Conf::default().global("stats { enabled off; }"));
    let total = || data(&server, "meminfos")["MemTotal"].as_u64().unwrap();
    assert_eq!(total(), 0);
    server.reload(&Conf::default().global("stats { enabled on; }"));
    wait_until("figures come", SOON, || total() > 0);
    server.reload(&Conf::default().global("stats { enabled off; }"));
    wait_until("figures go", SOON, || total() == 0);
}
