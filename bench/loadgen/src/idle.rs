//! A server left alone: what it uses with nobody there, or with connections on which nothing happens.

use crate::sys::{self, Poller};
use crate::util::{indexed, now_ns, sleep_ms, Args, Json, Target};
use std::os::fd::{AsRawFd, OwnedFd};

/// Opens the connections, sends one GET on each and waits for the beginning of each answer.
fn settle(url: &str, n: usize) -> Result<(Vec<OwnedFd>, usize), String> {
    sys::raise_nofile(n as u64 + 200);
    let mut poll = Poller::new().map_err(|e| e.to_string())?;
    let mut fds = vec![];
    let mut answered = 0;
    let mut buf = [0u8; 4096];
    for i in 0..n {
        let t = Target::parse(&indexed(url, i, false))?;
        let fd = sys::connect(t.addr()?, 0, None).map_err(|e| e.to_string())?;
        let get = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", t.path, t.host);
        // On loopback a connection stands at once, or a moment later when the backlog is full.
        let mut sent = sys::send(fd.as_raw_fd(), get.as_bytes());
        for _ in 0..1000 {
            if sent.is_ok() {
                break;
            }
            sleep_ms(1);
            sent = sys::send(fd.as_raw_fd(), get.as_bytes());
        }
        sent.map_err(|e| format!("connection {i}: {e}"))?;
        poll.add(fd.as_raw_fd(), sys::IN, i as u64).map_err(|e| e.to_string())?;
        fds.push(fd);
    }
    let mut heard = vec![false; n];
    for _ in 0..100 {
        let ready = poll.wait(100).map_err(|e| e.to_string())?;
        for e in 0..ready {
            let i = poll.event(e).0 as usize;
            if sys::recv(fds[i].as_raw_fd(), &mut buf).is_ok_and(|n| n > 0) && !heard[i] {
                heard[i] = true;
                answered += 1;
            }
        }
        if answered == n {
            break;
        }
    }
    Ok((fds, answered))
}

/// Connections that the server has not closed.
fn alive(fds: &[OwnedFd]) -> usize {
    let mut buf = [0u8; 4096];
    fds.iter()
        .filter(|fd| match sys::recv(fd.as_raw_fd(), &mut buf) {
            Ok(n) => n > 0,
            Err(e) => sys::would_block(&e),
        })
        .count()
}

pub fn main(a: &Args) -> Result<(), String> {
    let pids = a.pids()?;
    let seconds: f64 = a.num("seconds", 10.0)?;
    let connections: usize = a.num("connections", 0)?;
    let before = sys::usage(&pids);
    let (fds, answered) = match connections {
        0 => (vec![], 0),
        n => settle(&a.need("url")?, n)?,
    };
    sleep_ms((a.num("warmup", 1.0)? * 1000.0) as u64);
    let (t0, u0) = (now_ns(), sys::usage(&pids));
    sleep_ms((seconds * 1000.0) as u64);
    let took = (now_ns() - t0) as f64 / 1e9;
    let u1 = sys::usage(&pids);
    let cpu = u1.since(&u0).cpu();
    let mut j = Json::new()
        .str("test", "idle")
        .num("seconds", took)
        .num("server_cpu_s", cpu)
        .num("cpu_pct", cpu / took * 100.0)
        .num("rss_mb", u1.rss_kb / 1024.0);
    if connections > 0 {
        j = j
            .int("connections", connections)
            .int("answered", answered)
            .int("alive", alive(&fds))
            .num("rss_kb_per_client", (u1.rss_kb - before.rss_kb) / connections as f64);
    }
    println!("{}", j.end());
    Ok(())
}
