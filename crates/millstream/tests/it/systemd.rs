//! The service manager: told what happens, and its sockets used.

use crate::harness::http::Raw;
use crate::harness::process::Process;
use crate::harness::server::{Conf, Folder, Ports, Server, binary};
use crate::harness::{SOON, wait_until};
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where a manager listens.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("millstream-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, name: format!("@{name}") }
    }

    #[track_caller]
    fn hears(&self) -> String {
        let mut buffer = [0; 200];
        let len = self.socket.recv(&mut buffer).expect("the manager hears something");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    /// The next message that is not a sign of life.
    #[track_caller]
    fn hears_of_state(&self) -> String {
        loop {
            match self.hears() {
                life if life == "WATCHDOG=1" => {}
                state => return state,
            }
        }
    }
}

fn server_of(manager: &Manager, watchdog: Option<Duration>) -> Server {
    Server::start_with(|command, ports, dir| {
        std::fs::write(dir.join("srs.conf"), Conf::default().text(ports, dir)).unwrap();
        command.args(["-c", "srs.conf"]).env("NOTIFY_SOCKET", &manager.name);
        if let Some(limit) = watchdog {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
    })
}

#[test]
fn the_manager_is_told_of_start_reload_and_end() {
    let manager = Manager::new();
    let mut server = server_of(&manager, None);
    assert_eq!(manager.hears(), "READY=1");
    server.signal(Signal::HUP);
    let reloading = manager.hears();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_default();
    assert!(micros.parse::<u64>().is_ok_and(|micros| micros > 0), "{reloading}");
    assert_eq!(manager.hears(), "READY=1");
    server.signal(Signal::TERM);
    assert_eq!(manager.hears(), "STOPPING=1");
    assert!(server.wait(SOON).is_some());
}

#[test]
fn the_watchdog_is_fed() {
    let manager = Manager::new();
    let server = server_of(&manager, Some(Duration::from_millis(200)));
    let (mut ready, mut alive) = (false, 0);
    while alive < 5 || !ready {
        match manager.hears().as_str() {
            "READY=1" => ready = true,
            "WATCHDOG=1" => alive += 1,
            other => panic!("{other}"),
        }
    }
    server.signal(Signal::TERM);
    assert_eq!(manager.hears_of_state(), "STOPPING=1");
}

#[test]
fn a_server_that_cannot_start_is_never_ready() {
    let manager = Manager::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = Folder::new();
    let text =
        format!("listen {}; daemon off; pid x.pid; srs_log_tank console;", taken.local_addr().unwrap());
    std::fs::write(dir.path().join("srs.conf"), text).unwrap();
    let mut command = binary();
    command.current_dir(dir.path()).args(["-c", "srs.conf"]).env("NOTIFY_SOCKET", &manager.name);
    assert_eq!(Process::run(&mut command, SOON).status.code(), Some(234));
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 10]).is_err());
}

/// Runs the program as systemd does: its own process id and the sockets in the environment. The first socket
/// comes as standard input, the second is a copy of it.
const AS_SYSTEMD: &str = "exec 3<&0 4<&0 </dev/null; \
    LISTEN_PID=$$ LISTEN_FDS=$1 SYSTEMD_EXEC_PID=$$; export LISTEN_PID LISTEN_FDS SYSTEMD_EXEC_PID; \
    shift; exec \"$@\"";

#[test]
fn a_socket_of_the_manager_is_used_and_its_early_client_served() {
    let manager = Manager::new();
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ours.local_addr().unwrap();
    let stays_open = ours.try_clone().unwrap();
    let mut early = Raw::connect(address);
    early.send(b"\x03");

    let dir = Folder::new();
    // Nothing says `daemon off`: the manager waits for the process it has started.
    let text = format!("listen {address}; srs_log_tank console; disable_daemon_for_docker off;");
    std::fs::write(dir.path().join("srs.conf"), text).unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", AS_SYSTEMD, "sh", "2"]).arg(binary().get_program()).args(["-c", "srs.conf"]);
    command.current_dir(dir.path()).env("NOTIFY_SOCKET", &manager.name);
    let mut server = Process::start_with_input(&mut command, Stdio::from(OwnedFd::from(ours)));
    // It could not bind that address itself, as it is taken: by us.
    assert_eq!(manager.hears(), "READY=1", "{}", server.said());
    assert!(server.alive());
    let line = format!("RTMP listen at tcp://{address}");
    wait_until("it says where it listens", SOON, || server.said().contains(&line));
    // The second was asked for by nobody.
    wait_until("the surplus is told", SOON, || server.said().contains("nothing is configured to listen at"));
    wait_until("the early client is accepted", SOON, || server.said().contains("RTMP client ip="));
    drop(stays_open);
}

#[test]
fn sockets_for_somebody_else_are_left_alone() {
    let (dir, port) = (Folder::new(), Ports::free().rtmp);
    let text = format!("listen 127.0.0.1:{port}; daemon off; srs_log_tank console;");
    std::fs::write(dir.path().join("srs.conf"), text).unwrap();
    let mut command = binary();
    command.current_dir(dir.path()).args(["-c", "srs.conf"]).env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let server = Process::start(&mut command);
    wait_until("it serves", SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert!(!server.said().contains("socket activation"), "{}", server.said());
}
