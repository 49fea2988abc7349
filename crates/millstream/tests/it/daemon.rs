//! In the background: the command returns when the server serves, with its failure if it does not, and nothing
//! of the terminal is kept. The pid file is written, locked, and guards against a second server.

use crate::harness::daemon::Daemon;
use crate::harness::ffmpeg::{probe, publish_both};
use crate::harness::process::{Finished, Process};
use crate::harness::server::{Folder, Ports, binary};
use crate::harness::{SOON, wait_until};
use rustix::process::Signal;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with a configuration that says nothing about `daemon`, `pid` and the log, as most do.
struct Place {
    dir: Folder,
    port: u16,
}

impl Place {
    fn new(lines: &str) -> Self {
        let (dir, port) = (Folder::new(), Ports::free().rtmp);
        let text = format!("listen 127.0.0.1:{port};\n{lines}\nvhost __defaultVhost__ {{}}\n");
        std::fs::write(dir.path().join("srs.conf"), text).unwrap();
        Self { dir, port }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut command = binary();
        command.current_dir(self.dir.path()).args(["-c", "srs.conf"]);
        command
    }

    #[track_caller]
    fn launch(&self) -> Daemon {
        self.try_launch().unwrap_or_else(|launcher| panic!("{}: {}", launcher.status, launcher.text()))
    }

    fn try_launch(&self) -> Result<Daemon, Finished> {
        Daemon::launch(&mut self.command(), &self.file("objs/srs.pid"))
    }

    fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }
}

#[track_caller]
fn refused(launched: Result<Daemon, Finished>) -> Finished {
    match launched {
        Ok(daemon) => panic!("the launcher reports success for process {}", daemon.pid()),
        Err(launcher) => launcher,
    }
}

#[test]
fn a_configuration_that_says_nothing_makes_a_daemon_that_serves() {
    let place = Place::new("");
    let daemon = place.launch();
    // At once, not soon: the launcher has waited for it.
    assert!(place.answers() && daemon.alive());
    // Decimal, and nothing else: scripts read it.
    assert_eq!(place.read("objs/srs.pid"), daemon.pid().to_string());
    let url = format!("rtmp://127.0.0.1:{}/live/s", place.port);
    let _encoder = publish_both(&url);
    probe(&url, 50).assert_sound();
    wait_until("the log names the stream", SOON, || place.read("objs/srs.log").contains("live/s"));

    daemon.end();
    assert!(!place.file("objs/srs.pid").exists(), "the pid file is left");
    assert!(place.read("objs/srs.log").contains("terminated"));
}

#[test]
fn it_keeps_nothing_of_who_started_it() {
    let place = Place::new("");
    // `launch` reads the launcher's output to its end, which comes only if the daemon has let go of it.
    let daemon = place.launch();
    for number in 0..3 {
        let open = std::fs::read_link(format!("/proc/{}/fd/{number}", daemon.pid())).unwrap();
        assert_eq!(open, Path::new("/dev/null"), "descriptor {number}");
    }
    let stat = daemon.stat().unwrap();
    let (session, terminal) = (&stat[3], &stat[4]);
    assert_eq!(*session, daemon.pid().to_string(), "no session of its own");
    assert_eq!(terminal, "0", "it has a terminal");
    // The signal of a terminal that is closed, to the group of whoever started it, does not reach it.
    assert_ne!(stat[2], std::process::id().to_string());
}

#[test]
fn the_launcher_fails_as_the_daemon_does() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = Place::new("");
    std::fs::write(place.file("srs.conf"), format!("listen 127.0.0.1:{port};")).unwrap();
    let launcher = refused(place.try_launch());
    assert_eq!(launcher.status.code(), Some(234));
    assert!(launcher.stderr().contains(&port.to_string()), "{}", launcher.text());
    assert!(place.read("objs/srs.log").contains("cannot listen"), "{}", place.read("objs/srs.log"));
    assert!(!place.file("objs/srs.pid").exists());

    for (line, code, word) in [
        ("pid /proc/no/such.pid;", 10, "/proc/no/such.pid"),
        ("srs_log_file /proc/no/such.log;", 255, "/proc/no/such.log"),
        ("work_dir ./no/such/folder;", 255, "no/such/folder"),
        ("nonsense on;", 255, "nonsense"),
    ] {
        let place = Place::new(line);
        let launcher = refused(place.try_launch());
        assert_eq!(launcher.status.code(), Some(code), "{line}: {}", launcher.text());
        assert!(launcher.stderr().contains(word), "{line}: {}", launcher.text());
        assert!(!place.answers());
    }
}

#[test]
fn a_second_server_is_refused_and_a_stale_file_is_not() {
    let place = Place::new("");
    std::fs::create_dir(place.file("objs")).unwrap();
    // A process that certainly runs, and is no server.
    std::fs::write(place.file("objs/srs.pid"), std::process::id().to_string()).unwrap();
    let first = place.launch();
    assert_ne!(first.pid() as u32, std::process::id());

    // In the background, in the foreground, and on another port.
    let foreground = || Process::run(place.command().env("SRS_DAEMON", "off"), SOON);
    let elsewhere = || {
        let port = Ports::free().rtmp;
        Process::run(place.command().env("SRS_DAEMON", "off").env("SRS_LISTEN", port.to_string()), SOON)
    };
    for done in [refused(place.try_launch()), foreground(), elsewhere()] {
        assert_eq!(done.status.code(), Some(11), "{}", done.text());
        assert!(done.stderr().contains("already running"), "{}", done.text());
        assert!(done.stderr().contains(&first.pid().to_string()), "{}", done.text());
    }
    assert_eq!(place.read("objs/srs.pid"), first.pid().to_string());
    assert!(first.alive() && place.answers());

    // One that was killed leaves its file, which stops nobody.
    first.signal(Signal::KILL);
    wait_until("it is gone", SOON, || !first.alive());
    assert_eq!(place.read("objs/srs.pid"), first.pid().to_string());
    let second = place.launch();
    assert_ne!(second.pid(), first.pid());
    assert_eq!(place.read("objs/srs.pid"), second.pid().to_string());
}

#[test]
fn relative_paths_follow_the_working_directory() {
    let place = Place::new("work_dir ./var;\npid run/x.pid;\nsrs_log_file log/x.log;");
    std::fs::create_dir(place.file("var")).unwrap();
    let launched = Daemon::launch(&mut place.command(), &place.file("var/run/x.pid"));
    let daemon = launched.unwrap_or_else(|launcher| panic!("{}", launcher.text()));
    let cwd = std::fs::read_link(format!("/proc/{}/cwd", daemon.pid())).unwrap();
    assert_eq!(cwd, place.file("var").canonicalize().unwrap());
    wait_until("the log is there", SOON, || place.read("var/log/x.log").contains("listen at"));
    assert!(!place.file("objs").exists());
    daemon.end();
    assert!(!place.file("var/run/x.pid").exists());
}

#[test]
fn in_a_container_it_stays_in_the_foreground() {
    for lines in ["in_docker on;", "in_docker on;\ndaemon on;"] {
        let place = Place::new(lines);
        let mut server = Process::start(&mut place.command());
        wait_until("it serves", SOON, || place.answers());
        assert!(server.alive());
        assert_eq!(place.read("objs/srs.pid"), server.pid().to_string());
        // And the log is where containers have it.
        wait_until("the log is on the console", SOON, || server.said().contains("listen at"));
        assert!(!place.file("objs/srs.log").exists());
    }
    // Unless that is switched off.
    let place = Place::new("in_docker on;\ndisable_daemon_for_docker off;");
    let pid_file = place.file("objs/srs.pid");
    let launched = Daemon::launch_as_is(&mut place.command(), &pid_file);
    assert!(launched.is_ok_and(|daemon| daemon.alive()));
}

#[test]
fn a_log_for_the_console_goes_on_to_where_the_launchers_output_went() {
    let place = Place::new("srs_log_tank console;");
    let out = std::fs::File::create(place.file("out")).unwrap();
    let mut command = place.command();
    command.env("SRS_DISABLE_DAEMON_FOR_DOCKER", "off").stdin(Stdio::null()).stdout(out);
    let status = command.status().unwrap();
    let daemon = Daemon::of(&place.file("objs/srs.pid"));
    assert!(status.success());
    daemon.end();
    assert!(place.read("out").contains("listen at") && place.read("out").contains("terminated"));
}

#[test]
fn it_ends_with_its_parent_if_asked() {
    let place = Place::new("daemon off;\nasprocess on;\nsrs_log_tank file;");
    // The shell is the parent; it leaves when its input ends.
    let mut shell = Command::new("sh");
    shell.current_dir(place.dir.path()).args(["-c", "\"$@\" & read _", "sh"]);
    shell.arg(binary().get_program()).args(["-c", "srs.conf"]);
    let mut parent = shell.stdin(Stdio::piped()).spawn().unwrap();
    wait_until("it serves", SOON, || place.answers());
    let server = Daemon::of(&place.file("objs/srs.pid"));
    assert_eq!(server.stat().unwrap()[1], parent.id().to_string());
    drop(parent.stdin.take());
    assert!(parent.wait().is_ok());
    wait_until("it has ended too", SOON, || !server.alive());
    assert!(place.read("objs/srs.log").contains("the parent process is gone"));
    assert!(!place.file("objs/srs.pid").exists());
}

#[test]
fn asprocess_excludes_a_daemon() {
    // `daemon` is on by default, which the message has to say.
    let place = Place::new("asprocess on;");
    let launcher = refused(place.try_launch());
    assert_eq!(launcher.status.code(), Some(255));
    assert!(launcher.stderr().contains("daemon off"), "{}", launcher.text());
}
