//! What `/proc` says, and what follows from two looks at it.
//!
//! The crate `procfs` reads the files; here are the few it does not know, and the arithmetic. Shares are
//! fractions: 0.45 is 45 %, and for the process 1.00 is one core.

use std::collections::HashSet;
use std::fmt::Display;

use if_addrs::Interface;
use mill_config::model::Stats;
use procfs::process::Stat;
use procfs::{Current, CurrentSI, DiskStats, KernelStats, LoadAverage, Meminfo, Uptime};
use tracing::warn;

use super::address;

/// Everything that was seen, each group at its own time; a group is `None` until it has been.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) process: Option<Process>,
    pub(crate) usage: Option<Usage>,
    pub(crate) cpu: Option<Cpu>,
    pub(crate) sockets: Option<Sockets>,
    pub(crate) own: Own,
    pub(crate) memory: Option<Memory>,
    pub(crate) disk: Option<Disk>,
    pub(crate) load: Option<Load>,
    pub(crate) network: Option<Network>,
    /// Processors there are, and those in use.
    pub(crate) cpus: usize,
    pub(crate) cpus_online: usize,
}

/// This process, from `/proc/self/stat`.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// When it was looked at, in milliseconds since 1970; the same in all groups.
    pub(crate) time: u64,
    /// Cores it used since the look before.
    pub(crate) share: f64,
    pub(crate) stat: Stat,
}

/// This process, in the terms of getrusage(2).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) time: u64,
    /// Peak of resident memory in kilobytes.
    pub(crate) max_rss: u64,
    /// Blocks of 512 bytes read from and written to disks.
    pub(crate) blocks_in: u64,
    pub(crate) blocks_out: u64,
    /// Context switches of the threads that are there.
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
}

/// All processors together, in ticks since the machine was started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) time: u64,
    /// Part of their time they were busy since the look before.
    pub(crate) share: f64,
    pub(crate) user: u64,
    pub(crate) nice: u64,
    pub(crate) system: u64,
    pub(crate) idle: u64,
    pub(crate) iowait: u64,
    pub(crate) irq: u64,
    pub(crate) softirq: u64,
    pub(crate) steal: u64,
    pub(crate) guest: u64,
}

/// Sockets of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// TCP, those in time-wait included.
    pub(crate) tcp: u64,
    pub(crate) established: u64,
    pub(crate) time_wait: u64,
    pub(crate) udp: u64,
}

/// The server's own clients, and their bytes since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// In milliseconds since 1970: that of the whole look.
    pub(crate) time: u64,
    /// Clients there are now.
    pub(crate) clients: usize,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Memory in kilobytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) time: u64,
    pub(crate) total: u64,
    pub(crate) free: u64,
    pub(crate) buffers: u64,
    pub(crate) cached: u64,
    pub(crate) swap_total: u64,
    pub(crate) swap_free: u64,
}

/// Disks, since the look before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Disk {
    /// Kilobytes a second.
    pub(crate) read: u64,
    pub(crate) written: u64,
    /// Part of the time the busiest of them was at work.
    pub(crate) busy: f64,
}

/// How long and how hard the machine has been running.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) averages: [f64; 3],
    /// Seconds.
    pub(crate) uptime: f64,
    pub(crate) idle: f64,
}

/// Bytes over the machine's interfaces since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) time: u64,
    /// Over interfaces with a public address.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Over those with private ones and the loopback.
    pub(crate) received_inside: u64,
    pub(crate) sent_inside: u64,
}

impl Cpu {
    fn total(&self) -> u64 {
        // The time of guests is part of that of users.
        self.user + self.nice + self.system + self.idle + self.iowait + self.irq + self.softirq + self.steal
    }
}

impl Memory {
    /// Not free.
    pub(crate) fn active(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// Used by programs: what the kernel would not give back on demand.
    pub(crate) fn in_use(&self) -> u64 {
        self.active().saturating_sub(self.buffers + self.cached)
    }

    pub(crate) fn not_in_use(&self) -> u64 {
        self.total.saturating_sub(self.in_use())
    }

    pub(crate) fn share(&self) -> f64 {
        part(self.in_use() as f64, self.total as f64)
    }

    pub(crate) fn swap_share(&self) -> f64 {
        part(self.swap_total.saturating_sub(self.swap_free) as f64, self.swap_total as f64)
    }
}

/// `0` of nothing.
pub(crate) fn part(of: f64, whole: f64) -> f64 {
    if whole > 0.0 { of / whole } else { 0.0 }
}

/// Looks at `/proc` and remembers what the next look is compared with.
#[derive(Default)]
pub(super) struct Sampler {
    round: u64,
    figures: Figures,
    disks: Option<Counters>,
    /// The disks last asked for.
    chosen: Vec<String>,
    /// What could not be read, and was said.
    missing: HashSet<&'static str>,
}

/// Disk counters at a time.
#[derive(Debug, Clone)]
struct Counters {
    time: u64,
    /// Kilobytes.
    read: u64,
    written: u64,
    /// Milliseconds at work, of each disk.
    busy: Vec<(String, u64)>,
}

impl Sampler {
    /// One look at everything that is due, at the time of `own`.
    pub(super) fn look(&mut self, stats: &Stats, own: Own) -> Figures {
        let now = own.time;
        if !stats.enabled {
            *self = Self::default();
            self.figures.own = own;
            return self.figures.clone();
        }
        if self.chosen != stats.disk {
            self.chosen.clone_from(&stats.disk);
            self.disks = None;
        }
        self.figures.own = own;
        self.process(now);
        if self.round.is_multiple_of(2) {
            self.memory(now);
            self.disk(now);
        }
        if self.round.is_multiple_of(3) {
            self.load();
            self.network(now);
        }
        self.round += 1;
        self.figures.clone()
    }

    /// What was read; the first time it could not be, that is said.
    fn found<T, E: Display>(&mut self, what: &'static str, read: Result<T, E>) -> Option<T> {
        match read {
            Ok(value) => {
                self.missing.remove(what);
                Some(value)
            }
            Err(e) => {
                if self.missing.insert(what) {
                    warn!("figures of the system: {what}: {e}");
                }
                None
            }
        }
    }

    fn process(&mut self, now: u64) {
        let stat = procfs::process::Process::myself().and_then(|me| me.stat());
        self.figures.process = self.found("/proc/self/stat", stat).map(|stat| {
            let before = self.figures.process.as_ref().map(|p| (p.time, p.stat.utime + p.stat.stime));
            let share = cores(before, (now, stat.utime + stat.stime), procfs::ticks_per_second());
            Process { time: now, share, stat }
        });
        self.figures.usage = self.found("/proc/self", usage(now));
        if let Some(kernel) = self.found("/proc/stat", KernelStats::current()) {
            let t = kernel.total;
            let seen = Cpu {
                time: now,
                share: 0.0,
                user: t.user,
                nice: t.nice,
                system: t.system,
                idle: t.idle,
                iowait: t.iowait.unwrap_or(0),
                irq: t.irq.unwrap_or(0),
                softirq: t.softirq.unwrap_or(0),
                steal: t.steal.unwrap_or(0),
                guest: t.guest.unwrap_or(0),
            };
            let share = self.figures.cpu.map_or(0.0, |before| busy(&before, &seen));
            self.figures.cpu = Some(Cpu { share, ..seen });
            self.figures.cpus_online = kernel.cpu_time.len();
            let present = std::fs::read_to_string("/sys/devices/system/cpu/present");
            let present = self.found("/sys/devices/system/cpu/present", present);
            let present = present.and_then(|text| count_ranges(&text));
            self.figures.cpus = present.unwrap_or(self.figures.cpus_online);
        }
        let sockets = sockets();
        self.figures.sockets = self.found("/proc/net", sockets);
    }

    fn memory(&mut self, now: u64) {
        self.figures.memory =
            self.found("/proc/meminfo", Meminfo::current()).map(|info| to_memory(now, &info));
    }

    fn disk(&mut self, now: u64) {
        let Some(seen) = self.found("/proc/diskstats", DiskStats::current()) else { return };
        let total = if self.chosen.is_empty() {
            self.found("/proc/vmstat", procfs::vmstat()).map(|counters| {
                let kilobytes = |name: &str| counters.get(name).map_or(0, |n| n.unsigned_abs());
                (kilobytes("pgpgin"), kilobytes("pgpgout"))
            })
        } else {
            None
        };
        let counters = count_disks(now, seen, &self.chosen, total);
        self.figures.disk =
            Some(self.disks.as_ref().map_or(Disk::default(), |before| rates(before, &counters)));
        self.disks = Some(counters);
    }

    fn load(&mut self) {
        let averages = self.found("/proc/loadavg", LoadAverage::current());
        let uptime = self.found("/proc/uptime", Uptime::current());
        if let (Some(load), Some(Uptime { uptime, idle, .. })) = (averages, uptime) {
            let averages = [load.one, load.five, load.fifteen].map(f64::from);
            self.figures.load = Some(Load { averages, uptime, idle });
        }
    }

    fn network(&mut self, now: u64) {
        let interfaces = self.found("network interfaces", if_addrs::get_if_addrs()).unwrap_or_default();
        if let Some(devices) = self.found("/proc/net/dev", procfs::net::dev_status()) {
            let bytes = devices.into_values().map(|d| (d.name, d.recv_bytes, d.sent_bytes));
            self.figures.network = Some(sum_network(now, bytes, &interfaces));
        }
    }
}

/// Cores used between two looks, each its time in milliseconds and processor time in ticks.
fn cores(before: Option<(u64, u64)>, now: (u64, u64), ticks_per_second: u64) -> f64 {
    let Some(before) = before else { return 0.0 };
    let used = now.1.saturating_sub(before.1) as f64 / ticks_per_second as f64;
    part(used, now.0.saturating_sub(before.0) as f64 / 1000.0)
}

/// Part of the time the processors were busy between two looks; waiting for a disk is not work.
fn busy(before: &Cpu, now: &Cpu) -> f64 {
    let idle = |cpu: &Cpu| cpu.idle + cpu.iowait;
    let passed = now.total().saturating_sub(before.total());
    let rested = idle(now).saturating_sub(idle(before)).min(passed);
    part((passed - rested) as f64, passed as f64)
}

fn usage(now: u64) -> procfs::ProcResult<Usage> {
    let me = procfs::process::Process::myself()?;
    let mut usage = Usage { time: now, max_rss: me.status()?.vmhwm.unwrap_or(0), ..Usage::default() };
    // Some containers forbid it.
    if let Ok(io) = me.io() {
        usage.blocks_in = io.read_bytes / 512;
        usage.blocks_out = io.write_bytes / 512;
    }
    // A thread may end while we look.
    for status in me.tasks()?.flatten().filter_map(|task| task.status().ok()) {
        usage.voluntary += status.voluntary_ctxt_switches.unwrap_or(0);
        usage.involuntary += status.nonvoluntary_ctxt_switches.unwrap_or(0);
    }
    Ok(usage)
}

fn to_memory(time: u64, info: &Meminfo) -> Memory {
    Memory {
        time,
        total: info.mem_total / 1024,
        free: info.mem_free / 1024,
        buffers: info.buffers / 1024,
        cached: info.cached / 1024,
        swap_total: info.swap_total / 1024,
        swap_free: info.swap_free / 1024,
    }
}

/// Counts sockets without listing them: with many thousands that would take the kernel's locks for long.
fn sockets() -> Result<Sockets, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    // Absent without IPv6.
    let v6 = read("/proc/net/sockstat6").unwrap_or_default();
    let established = procfs::net::snmp().map_err(|e| e.to_string())?.tcp_curr_estab;
    Ok(count_sockets(&read("/proc/net/sockstat")?, &v6, established))
}

fn count_sockets(v4: &str, v6: &str, established: u64) -> Sockets {
    let value = |text: &str, line: &str, name: &str| {
        let words = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))?;
        let mut words = words.split_whitespace();
        words.find(|word| *word == name)?;
        words.next()?.parse::<u64>().ok()
    };
    let used = |text: &str, line: &str| value(text, line, "inuse").unwrap_or(0);
    // The count of those in time-wait is that of both families.
    let time_wait = value(v4, "TCP", "tw").unwrap_or(0);
    Sockets {
        tcp: used(v4, "TCP") + used(v6, "TCP6") + time_wait,
        established,
        time_wait,
        udp: used(v4, "UDP") + used(v6, "UDP6"),
    }
}

/// Processors in a text such as `0-3,8`.
fn count_ranges(text: &str) -> Option<usize> {
    let mut count = 0;
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        count += last.checked_sub(first)? + 1;
    }
    Some(count)
}

/// Adds up the `chosen` disks, or takes the machine's `total` in kilobytes.
fn count_disks(time: u64, seen: DiskStats, chosen: &[String], total: Option<(u64, u64)>) -> Counters {
    let mut counters = Counters { time, read: 0, written: 0, busy: Vec::new() };
    for disk in seen.0 {
        if !chosen.is_empty() && !chosen.contains(&disk.name) {
            continue;
        }
        // Sectors of 512 bytes, whatever the disk's own are.
        counters.read += disk.sectors_read / 2;
        counters.written += disk.sectors_written / 2;
        counters.busy.push((disk.name, disk.time_in_progress));
    }
    if let Some((read, written)) = total {
        (counters.read, counters.written) = (read, written);
    }
    counters
}

fn rates(before: &Counters, now: &Counters) -> Disk {
    let passed = now.time.saturating_sub(before.time);
    let rate = |before: u64, now: u64| (now.saturating_sub(before) * 1000).checked_div(passed).unwrap_or(0);
    let busiest = now.busy.iter().filter_map(|(name, busy)| {
        let (_, before) = before.busy.iter().find(|(n, _)| n == name)?;
        Some(busy.saturating_sub(*before))
    });
    Disk {
        read: rate(before.read, now.read),
        written: rate(before.written, now.written),
        busy: part(busiest.max().unwrap_or(0) as f64, passed as f64).min(1.0),
    }
}

/// Adds up devices, each with the bytes it received and sent. Those without an address carry bytes that
/// are counted elsewhere, as the ports of a bridge do.
fn sum_network(
    time: u64,
    devices: impl Iterator<Item = (String, u64, u64)>,
    interfaces: &[Interface],
) -> Network {
    let has = |name: &str, public: bool| {
        interfaces.iter().any(|i| i.name == name && address::is_public(i.ip()) == public)
    };
    let mut sum = Network { time, ..Network::default() };
    for (name, received, sent) in devices {
        let (public, private) = (has(&name, true), has(&name, false));
        if public {
            sum.received += received;
            sum.sent += sent;
        } else if private {
            sum.received_inside += received;
            sum.sent_inside += sent;
        }
    }
    sum
}

#[cfg(test)]
mod tests;
