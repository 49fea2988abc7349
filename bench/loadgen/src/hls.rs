//! Viewers of HLS: each asks for the playlist again and again over one connection, and for every segment it
//! has not seen. What is in the segments is thrown away.

use crate::sys::{self, Poller};
use crate::util::{now_ns, quantile, Args, Json, Target};
use std::os::fd::{AsRawFd, OwnedFd};

/// What a viewer waits for.
enum State {
    /// The time to ask for the playlist.
    Pause(u64),
    /// A playlist; its bytes so far, head included.
    Playlist(Vec<u8>),
    /// A segment: the head so far, or the bytes that are to come.
    SegmentHead(Vec<u8>),
    Segment(usize),
}

struct Viewer {
    fd: OwnedFd,
    /// Path and query of the playlist.
    playlist: String,
    /// The newest segment it has asked for.
    seen: String,
    asked: u64,
    state: State,
}

#[derive(Default)]
struct Totals {
    bytes: u64,
    playlists: u64,
    segments: u64,
    failed: u64,
    playlist_ms: Vec<f64>,
    segment_ms: Vec<f64>,
}

pub fn main(a: &Args) -> Result<(), String> {
    let target = Target::parse(&a.need("url")?)?;
    let clients: usize = a.num("clients", 1)?;
    let seconds: f64 = a.num("seconds", 10.0)?;
    let warmup: f64 = a.num("warmup", 3.0)?;
    let every = (a.num("every-ms", 1000.0)? * 1e6) as u64;
    let pids = a.pids()?;
    sys::raise_nofile(clients as u64 + 200);
    let addr = target.addr()?;
    let mut poll = Poller::new().map_err(|e| e.to_string())?;
    let mut buf = vec![0u8; 1 << 20];
    let mut viewers = vec![];
    let t0 = now_ns();
    for i in 0..clients {
        let fd = sys::connect(addr, 0, Some(i as u32)).map_err(|e| e.to_string())?;
        poll.add(fd.as_raw_fd(), sys::IN, i as u64).map_err(|e| e.to_string())?;
        // Spread over the time between two looks.
        let begin = t0 + every * i as u64 / clients as u64 + 20_000_000;
        let state = State::Pause(begin);
        viewers.push(Viewer { fd, playlist: target.path.clone(), seen: String::new(), asked: 0, state });
    }
    let from = t0 + (warmup * 1e9) as u64;
    let end = from + (seconds * 1e9) as u64;
    let me = [std::process::id() as i32];
    let mut totals = Totals::default();
    let mut begun = None;
    loop {
        let now = now_ns();
        if now >= end {
            break;
        }
        if begun.is_none() && now >= from {
            begun = Some((sys::usage(&pids), sys::usage(&me), sys::host(), now));
            totals = Totals::default();
        }
        for v in &mut viewers {
            if matches!(v.state, State::Pause(due) if due <= now) {
                v.ask(&target, v.playlist.clone())?;
                v.state = State::Playlist(vec![]);
            }
        }
        let n = poll.wait(5).map_err(|e| e.to_string())?;
        for e in 0..n {
            let v = &mut viewers[poll.event(e).0 as usize];
            let got = match sys::recv(v.fd.as_raw_fd(), &mut buf) {
                Ok(0) => return Err("closed by server".into()),
                Ok(got) => got,
                Err(e) if sys::would_block(&e) => continue,
                Err(e) => return Err(e.to_string()),
            };
            totals.bytes += got as u64;
            v.take(&target, &buf[..got], every, &mut totals)?;
        }
    }
    let (u0, m0, h0, since) = begun.ok_or("the warm-up is longer than the run")?;
    let took = (now_ns() - since) as f64 / 1e9;
    let cpu = sys::usage(&pids).since(&u0).cpu();
    let own = sys::usage(&me).since(&m0).cpu();
    let gbits = totals.bytes as f64 * 8.0 / 1e9;
    let j = Json::new()
        .str("test", "hls")
        .int("clients", clients)
        .num("seconds", took)
        .num("gbits", gbits)
        .num("playlists_per_s", totals.playlists as f64 / took)
        .num("segments_per_s", totals.segments as f64 / took)
        .num("failed", totals.failed as f64)
        .num("server_cpu_s", cpu)
        .num("cpu_s_per_gbit", cpu / gbits)
        .num("playlist_ms_p50", quantile(&mut totals.playlist_ms, 0.5))
        .num("playlist_ms_p99", quantile(&mut totals.playlist_ms, 0.99))
        .num("segment_ms_p99", quantile(&mut totals.segment_ms, 0.99))
        .num("loadgen_cpu_s", own)
        .num("other_cpu", (sys::host().busy_s - h0.busy_s - cpu - own) / took);
    println!("{}", j.end());
    Ok(())
}

impl Viewer {
    fn ask(&mut self, target: &Target, path: String) -> Result<(), String> {
        let get = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", target.host);
        self.asked = now_ns();
        match sys::send(self.fd.as_raw_fd(), get.as_bytes()) {
            Ok(n) if n == get.len() => Ok(()),
            Ok(_) => Err("a request was not taken whole".into()),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Takes what has come.
    fn take(&mut self, target: &Target, bytes: &[u8], every: u64, totals: &mut Totals) -> Result<(), String> {
        let again = State::Pause(self.asked + every);
        match &mut self.state {
            State::Pause(_) => return Err("an answer that nobody asked for".into()),
            State::Playlist(all) => {
                all.extend_from_slice(bytes);
                let Some((ok, head, len)) = head_of(all)? else { return Ok(()) };
                if all.len() < head + len {
                    return Ok(());
                }
                totals.playlist_ms.push((now_ns() - self.asked) as f64 / 1e6);
                let text = String::from_utf8_lossy(&all[head..]).into_owned();
                totals.playlists += 1;
                let newest = text.lines().rev().find(|line| !line.is_empty() && !line.starts_with('#'));
                let Some(uri) = newest.filter(|_| ok) else {
                    totals.failed += 1;
                    self.state = again;
                    return Ok(());
                };
                let path = match uri.rsplit_once("://") {
                    Some((_, rest)) => rest[rest.find('/').unwrap_or(rest.len())..].to_string(),
                    None if uri.starts_with('/') => uri.to_string(),
                    None => {
                        let folder = self.playlist.split('?').next().unwrap_or("");
                        format!("{}/{uri}", folder.rsplit_once('/').map_or("", |(folder, _)| folder))
                    }
                };
                if text.contains("#EXT-X-STREAM-INF") {
                    // The real one stands behind it.
                    self.playlist = path;
                    self.state = State::Pause(0);
                } else if path == self.seen {
                    self.state = again;
                } else {
                    self.seen = path.clone();
                    self.state = State::SegmentHead(vec![]);
                    self.ask(target, path)?;
                }
            }
            State::SegmentHead(all) => {
                all.extend_from_slice(bytes);
                let Some((ok, head, len)) = head_of(all)? else { return Ok(()) };
                totals.failed += u64::from(!ok);
                self.state = State::Segment((head + len).saturating_sub(all.len()));
                self.finish(0, every, totals);
            }
            State::Segment(_) => self.finish(bytes.len(), every, totals),
        }
        Ok(())
    }

    fn finish(&mut self, got: usize, every: u64, totals: &mut Totals) {
        let State::Segment(left) = &mut self.state else { return };
        *left = left.saturating_sub(got);
        if *left == 0 {
            totals.segments += 1;
            totals.segment_ms.push((now_ns() - self.asked) as f64 / 1e6);
            self.state = State::Pause(self.asked + every);
        }
    }
}

/// Whether the answer is a good one, and the lengths of its head and its body.
fn head_of(bytes: &[u8]) -> Result<Option<(bool, usize, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let len = len.ok_or_else(|| format!("an answer without a length: {head}"))?;
    Ok(Some((head.starts_with("http/1.1 200"), end + 4, len)))
}
