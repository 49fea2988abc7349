//! The real binary on free ports with a written-out SRS configuration.

use super::process::Process;
use super::{SOON, pause, wait_until};
use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// What a test writes into the configuration beside ports, log and HTTP-FLV, which every one needs.
#[derive(Clone, Default)]
pub(crate) struct Conf {
    global: String,
    vhost: String,
    vhosts: String,
    no_default: bool,
    remux: Option<String>,
}

impl Conf {
    /// Lines inside the default vhost.
    pub(crate) fn vhost(lines: &str) -> Self {
        Self { vhost: lines.into(), ..Self::default() }
    }

    /// Another `http_remux` of the default vhost: a mount with this ending, and more lines.
    pub(crate) fn mounting(ending: &str, lines: &str) -> Self {
        let remux = format!("enabled on; mount [vhost]/[app]/[stream].{ending}; {lines}");
        Self { remux: Some(remux), ..Self::default() }
    }

    /// More lines inside the default vhost.
    pub(crate) fn and_vhost(mut self, lines: &str) -> Self {
        self.vhost += lines;
        self
    }

    /// Lines at the top level.
    pub(crate) fn global(mut self, lines: &str) -> Self {
        self.global += lines;
        self
    }

    /// Whole vhosts beside the default one.
    pub(crate) fn vhosts(mut self, blocks: &str) -> Self {
        self.vhosts += blocks;
        self
    }

    /// Only the vhosts of [`Conf::vhosts`].
    pub(crate) fn without_default_vhost(mut self) -> Self {
        self.no_default = true;
        self
    }

    /// The text of the file.
    pub(crate) fn text(&self, ports: Ports, dir: &Path) -> String {
        let Ports { rtmp, http, api } = ports;
        let (dir, Self { global, vhost, vhosts, no_default, remux }) = (dir.display(), self);
        let remux = remux.as_deref().unwrap_or("enabled on; mount [vhost]/[app]/[stream].flv;");
        let default = match no_default {
            true => String::new(),
            false => format!(
                "vhost __defaultVhost__ {{
    http_remux {{ {remux} }}
    {vhost}
}}"
            ),
        };
        format!(
            "listen 127.0.0.1:{rtmp};
max_connections 1500;
daemon off;
auto_reload_for_docker off;
pid \"{dir}/srs.pid\";
srs_log_tank console;
srs_log_level trace;
http_api {{ enabled on; listen 127.0.0.1:{api}; }}
http_server {{ enabled on; listen 127.0.0.1:{http}; dir \"{dir}/html\"; }}
{global}
{default}
{vhosts}
"
        )
    }
}

/// Where the configurations lie that are shipped.
pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf")
}

/// The text of one of them with its ports moved.
pub(crate) fn moved(text: &str, ports: Ports) -> String {
    let mut text = text.to_owned();
    for (usual, port) in [(1935, ports.rtmp), (8080, ports.http), (1985, ports.api)] {
        text = text.replace(&format!("[::]:{usual}"), &format!("[::1]:{port}"));
        text = text.replace(&format!(" {usual}"), &format!(" 127.0.0.1:{port}"));
    }
    text
}

/// Where one server listens.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) rtmp: u16,
    pub(crate) http: u16,
    pub(crate) api: u16,
}

impl Ports {
    /// Three ports that nobody listens on and no other test of this process is given.
    ///
    /// Below the range from which the kernel takes the local ports of outgoing connections, so that no
    /// client of another test can sit on one of them; another process might, hence [`Server::start`] tries
    /// again.
    pub(crate) fn free() -> Self {
        let [rtmp, http, api] = [free_port(), free_port(), free_port()];
        Self { rtmp, http, api }
    }
}

pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    // Two test processes side by side begin far from each other.
    let offset = std::process::id().wrapping_mul(61);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + offset.wrapping_add(step) % COUNT) as u16;
        // Servers share ports on purpose, so that a port is in use would go unnoticed between two test
        // processes. The UDP port of that number says whose it is, as long as this process lives. It comes first:
        // not even for a moment may anybody listen on a port that is another one's.
        if let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        {
            CLAIMS.lock().expect("no holder panics").push(claim);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// A UDP port that nobody listens on, outside the range of [`free_port`]; there the TCP port of that number says whose
/// it is.
pub(crate) fn free_udp_port() -> u16 {
    const FIRST: u32 = 24_000;
    const COUNT: u32 = 8_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static CLAIMS: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());
    let offset = std::process::id().wrapping_mul(61);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + offset.wrapping_add(step) % COUNT) as u16;
        if let Ok(claim) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        {
            CLAIMS.lock().expect("no holder panics").push(claim);
            return port;
        }
    }
    panic!("no free UDP port between {FIRST} and {}", FIRST + COUNT);
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    process: Process,
    ports: Ports,
    // After the process: the folder goes when nobody works in it any more.
    dir: Folder,
}

impl Server {
    /// With SRS's defaults and HTTP-FLV.
    #[track_caller]
    pub(crate) fn plain() -> Self {
        Self::start(&Conf::default())
    }

    /// With this configuration; returns when all ports answer.
    #[track_caller]
    pub(crate) fn start(conf: &Conf) -> Self {
        let server = Self::start_with(|command, ports, dir| {
            let file = dir.join("srs.conf");
            std::fs::write(&file, conf.text(ports, dir)).expect("the configuration can be written");
            command.arg("-c").arg(file);
        });
        await_port(server.api_addr());
        server
    }

    /// With arguments and environment of the caller's choice.
    #[track_caller]
    pub(crate) fn start_with(prepare: impl Fn(&mut Command, Ports, &Path)) -> Self {
        let mut said = String::new();
        for _ in 0..5 {
            let dir = Folder::new();
            let ports = Ports::free();
            let mut command = binary();
            command.current_dir(dir.path());
            prepare(&mut command, ports, dir.path());
            let mut process = Process::start(&mut command);
            if ready(&mut process, ports) {
                return Self { process, ports, dir };
            }
            said = process.said();
            if !said.contains("in use") {
                break;
            }
        }
        panic!("the server did not come up. It said:\n{said}");
    }

    /// With this text, which listens for RTMP at that port and for nothing else.
    #[track_caller]
    pub(crate) fn listening(rtmp: u16, text: &str) -> Self {
        let ports = Ports { rtmp, ..Ports::free() };
        let server = Self::start_on(ports, |command, dir| {
            let (http, api) = (ports.http, ports.api);
            let more = format!(
                "max_connections 1000; daemon off; srs_log_tank console; pid ./srs.pid;
                http_server {{ enabled on; listen 127.0.0.1:{http}; }} http_api {{ enabled on; listen 127.0.0.1:{api}; }}"
            );
            std::fs::write(dir.join("srs.conf"), format!("{text}{more}\n")).expect("it can be written");
            command.args(["-c", "srs.conf"]);
        });
        await_port(server.api_addr());
        server
    }

    #[track_caller]
    fn start_on(ports: Ports, prepare: impl Fn(&mut Command, &Path)) -> Self {
        let dir = Folder::new();
        let mut command = binary();
        command.current_dir(dir.path());
        prepare(&mut command, dir.path());
        let mut process = Process::start(&mut command);
        assert!(ready(&mut process, ports), "the server did not come up. It said:\n{}", process.said());
        Self { process, ports, dir }
    }

    /// With a file of another one that has ended, on its ports.
    #[track_caller]
    pub(crate) fn again(text: &str, ports: Ports) -> Self {
        let dir = Folder::new();
        let file = dir.path().join("srs.conf");
        std::fs::write(&file, text).expect("the configuration can be written");
        let mut process = Process::start(binary().current_dir(dir.path()).arg("-c").arg(file));
        assert!(ready(&mut process, ports), "the server did not come up. It said:\n{}", process.said());
        Self { process, ports, dir }
    }

    /// With one of the configurations in `conf/`, as it is but for its ports and what `change` does.
    #[track_caller]
    pub(crate) fn example(name: &str, change: impl Fn(String) -> String) -> Self {
        let file = shipped().join(name);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Self::start_with(|command, ports, dir| {
            let http = ports.http;
            let mut text = moved(&change(text.clone()), ports);
            if !text.contains("http_server") {
                // The harness waits for it.
                text += &format!("\nhttp_server {{ enabled on; listen 127.0.0.1:{http}; }}\n");
            }
            std::fs::write(dir.join("srs.conf"), text).expect("the configuration can be written");
            command.args(["-c", "srs.conf"]);
        })
    }

    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    /// Where RTMP is spoken.
    pub(crate) fn rtmp_addr(&self) -> SocketAddr {
        local(self.ports.rtmp)
    }

    /// Where streams are delivered over HTTP.
    pub(crate) fn http_addr(&self) -> SocketAddr {
        local(self.ports.http)
    }

    /// Where the API answers.
    pub(crate) fn api_addr(&self) -> SocketAddr {
        local(self.ports.api)
    }

    /// `rtmp://…/` and the given rest.
    pub(crate) fn rtmp(&self, path: &str) -> String {
        format!("rtmp://127.0.0.1:{}/{path}", self.ports.rtmp)
    }

    /// `http://…/` and the given rest.
    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.ports.http)
    }

    /// Where it works; removed with the server.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.said()
    }

    pub(crate) fn alive(&mut self) -> bool {
        self.process.alive()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Writes another configuration over the one it was started with.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.dir().join("srs.conf"), text).expect("the configuration can be written");
    }

    /// Gives it another configuration by SIGHUP; a refusal is a failure of the test.
    #[track_caller]
    pub(crate) fn reload(&self, conf: &Conf) {
        let lines = self.try_reload(&conf.text(self.ports, self.dir()));
        assert!(lines.contains("reload config success."), "{lines}");
    }

    /// The same with any text; gives what it has logged about it.
    #[track_caller]
    pub(crate) fn try_reload(&self, text: &str) -> String {
        self.write(text);
        self.reload_file()
    }

    /// Makes it read its file again; gives what it has logged since.
    #[track_caller]
    pub(crate) fn reload_file(&self) -> String {
        let before = self.log().len();
        // Lines are written a little after they are said: what is older may still come.
        let since = || {
            let log = self.log();
            let new = log.get(before..).unwrap_or_default();
            new.split_once("reload config, signo=1").map(|(_, since)| since.to_string()).unwrap_or_default()
        };
        self.signal(Signal::HUP);
        wait_until("the reload has ended", SOON, || {
            let log = since();
            log.contains("reload config success.") || log.contains("reload config failed")
        });
        since()
    }

    /// Ends it as a crash does.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(SOON).expect("a killed process ends");
    }

    /// Starts it anew where it was, with what is in its file.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.process = Process::start(binary().current_dir(self.dir.path()).args(["-c", "srs.conf"]));
        let ports = self.ports;
        assert!(ready(&mut self.process, ports), "it did not come up again: {}", self.process.said());
        await_port(self.api_addr());
    }

    /// Starts it anew and ends it as a crash does, so soon that it may not have come far.
    pub(crate) fn start_and_kill(&mut self, after: Duration) {
        self.process = Process::start(binary().current_dir(self.dir.path()).args(["-c", "srs.conf"]));
        let begun = Instant::now();
        while begun.elapsed() < after {
            pause();
        }
        self.kill();
    }

    /// Its exit status, if it ends within the deadline.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        self.process.wait(deadline)
    }

    /// Resident memory in kilobytes.
    pub(crate) fn rss_kb(&self) -> u64 {
        let file = format!("/proc/{}/status", self.process.pid());
        let status = std::fs::read_to_string(&file).expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is there");
        line.trim().trim_end_matches(" kB").parse().expect("VmRSS is a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.process.end();
            let log = self.log();
            // The end is what explains a failure; a long run's beginning would bury it.
            let skipped = log.lines().count().saturating_sub(60);
            let tail: Vec<&str> = log.lines().skip(skipped).collect();
            #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
            {
                eprintln!("--- the server's last lines ---\n{}\n---", tail.join("\n"));
            }
        }
    }
}

/// The program under test, not started yet.
pub(crate) fn binary() -> Command {
    raise_open_files();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    // Settings of the machine must not reach the server under test.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SRS_") {
            command.env_remove(name);
        }
    }
    command
}

/// Some tests hold hundreds of connections, and the usual soft limit is 1024. Children inherit it.
fn raise_open_files() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        let _ = setrlimit(Resource::Nofile, limit);
    });
}

/// Waits until somebody listens there.
#[track_caller]
pub(crate) fn await_port(addr: SocketAddr) {
    super::wait_until(&format!("{addr} answers"), SOON, || TcpStream::connect(addr).is_ok());
}

/// A port of this machine's loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Whether all ports answer before the process ends or the deadline passes.
fn ready(process: &mut Process, ports: Ports) -> bool {
    let end = Instant::now() + SOON;
    while Instant::now() < end && process.alive() {
        if [ports.rtmp, ports.http].iter().all(|port| TcpStream::connect(local(*port)).is_ok()) {
            return true;
        }
        pause();
    }
    false
}

/// A folder for one test, removed with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a folder can be made below target");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
