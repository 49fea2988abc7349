//! `/api/v1/summaries`, `rusages`, `self_proc_stats`, `system_proc_stats` and `meminfos`: the figures of
//! [`crate::system`] in SRS's words. What has not been seen yet is zero, and its `ok` is false.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked, Data};
use crate::identity;
use crate::session::Context;
use crate::system::{self, Figures, part};

/// What `/api/v1/summaries` and the heartbeat say.
#[derive(Serialize, ToSchema)]
pub(crate) struct Summaries {
    ok: bool,
    now_ms: u64,
    #[serde(rename = "self")]
    own: Own,
    system: Machine,
}

#[derive(Serialize, ToSchema)]
struct Own {
    version: &'static str,
    pid: u32,
    ppid: i32,
    argv: String,
    cwd: String,
    mem_kbyte: u64,
    mem_percent: f64,
    cpu_percent: f64,
    srs_uptime: u64,
}

#[derive(Serialize, ToSchema)]
#[expect(non_snake_case, reason = "SRS's names")]
struct Machine {
    cpu_percent: f64,
    disk_read_KBps: u64,
    disk_write_KBps: u64,
    disk_busy_percent: f64,
    mem_ram_kbyte: u64,
    mem_ram_percent: f64,
    mem_swap_kbyte: u64,
    mem_swap_percent: f64,
    cpus: usize,
    cpus_online: usize,
    uptime: f64,
    ilde_time: f64,
    load_1m: f64,
    load_5m: f64,
    load_15m: f64,
    net_sample_time: u64,
    net_recv_bytes: u64,
    net_send_bytes: u64,
    net_recvi_bytes: u64,
    net_sendi_bytes: u64,
    srs_sample_time: u64,
    srs_recv_bytes: u64,
    srs_send_bytes: u64,
    conn_sys: u64,
    conn_sys_et: u64,
    conn_sys_tw: u64,
    conn_sys_udp: u64,
    conn_srs: usize,
}

/// The newest figures in SRS's words.
pub(crate) fn summaries_of(ctx: &Context) -> Summaries {
    let figures = ctx.system.figures();
    let Figures { process, usage, cpu, sockets, memory, disk, load, network, .. } = &*figures;
    let (usage, sockets) = (usage.unwrap_or_default(), sockets.unwrap_or_default());
    let (memory, disk) = (memory.unwrap_or_default(), disk.unwrap_or_default());
    let (load, network) = (load.unwrap_or_default(), network.unwrap_or_default());
    let all = [process.is_some(), cpu.is_some(), figures.memory.is_some(), figures.load.is_some()];
    Summaries {
        ok: all.into_iter().all(|seen| seen),
        now_ms: system::now_ms(),
        own: Own {
            version: identity::SRS_VERSION,
            pid: std::process::id(),
            ppid: process.as_ref().map_or(0, |p| p.stat.ppid),
            argv: ctx.system.argv.clone(),
            cwd: ctx.system.cwd.clone(),
            mem_kbyte: usage.max_rss,
            mem_percent: part(usage.max_rss as f64, memory.total as f64),
            cpu_percent: process.as_ref().map_or(0.0, |p| p.share),
            srs_uptime: ctx.system.started.elapsed().as_secs(),
        },
        system: Machine {
            cpu_percent: cpu.map_or(0.0, |cpu| cpu.share),
            disk_read_KBps: disk.read,
            disk_write_KBps: disk.written,
            disk_busy_percent: disk.busy,
            mem_ram_kbyte: memory.total,
            mem_ram_percent: memory.share(),
            mem_swap_kbyte: memory.swap_total,
            mem_swap_percent: memory.swap_share(),
            cpus: figures.cpus,
            cpus_online: figures.cpus_online,
            uptime: load.uptime,
            ilde_time: load.idle,
            load_1m: load.averages[0],
            load_5m: load.averages[1],
            load_15m: load.averages[2],
            net_sample_time: network.time,
            net_recv_bytes: network.received,
            net_send_bytes: network.sent,
            net_recvi_bytes: network.received_inside,
            net_sendi_bytes: network.sent_inside,
            srs_sample_time: figures.own.time,
            srs_recv_bytes: figures.own.received,
            srs_send_bytes: figures.own.sent,
            conn_sys: sockets.tcp,
            conn_sys_et: sockets.established,
            conn_sys_tw: sockets.time_wait,
            conn_sys_udp: sockets.udp,
            conn_srs: figures.own.clients,
        },
    }
}

pub(super) fn summaries(asked: &Asked<'_>) -> Answer {
    Answer::ok(asked.ctx, &Data { data: summaries_of(asked.ctx) })
}

#[derive(Serialize, Default, ToSchema)]
pub(super) struct Rusages {
    ok: bool,
    sample_time: u64,
    ru_utime: u64,
    ru_stime: u64,
    ru_maxrss: u64,
    ru_ixrss: u64,
    ru_idrss: u64,
    ru_isrss: u64,
    ru_minflt: u64,
    ru_majflt: u64,
    ru_nswap: u64,
    ru_inblock: u64,
    ru_oublock: u64,
    ru_msgsnd: u64,
    ru_msgrcv: u64,
    ru_nsignals: u64,
    ru_nvcsw: u64,
    ru_nivcsw: u64,
}

pub(super) fn rusages(asked: &Asked<'_>) -> Answer {
    let figures = asked.ctx.system.figures();
    let data = match (&figures.process, &figures.usage) {
        (Some(process), Some(usage)) => Rusages {
            ok: true,
            sample_time: usage.time,
            ru_utime: process.stat.utime / procfs::ticks_per_second(),
            ru_stime: process.stat.stime / procfs::ticks_per_second(),
            ru_maxrss: usage.max_rss,
            ru_minflt: process.stat.minflt,
            ru_majflt: process.stat.majflt,
            ru_inblock: usage.blocks_in,
            ru_oublock: usage.blocks_out,
            ru_nvcsw: usage.voluntary,
            ru_nivcsw: usage.involuntary,
            // Linux does not count the others; getrusage(2) gives zero there too.
            ..Rusages::default()
        },
        _ => Rusages::default(),
    };
    Answer::ok(asked.ctx, &Data { data })
}

#[derive(Serialize, Default, ToSchema)]
pub(super) struct SelfProcStats {
    ok: bool,
    sample_time: u64,
    percent: f64,
    pid: i32,
    comm: String,
    state: String,
    ppid: i32,
    pgrp: i32,
    session: i32,
    tty_nr: i32,
    tpgid: i32,
    flags: u32,
    minflt: u64,
    cminflt: u64,
    majflt: u64,
    cmajflt: u64,
    utime: u64,
    stime: u64,
    cutime: i64,
    cstime: i64,
    priority: i64,
    nice: i64,
    num_threads: i64,
    itrealvalue: i64,
    starttime: u64,
    vsize: u64,
    rss: u64,
    rsslim: u64,
    startcode: u64,
    endcode: u64,
    startstack: u64,
    kstkesp: u64,
    kstkeip: u64,
    signal: u64,
    blocked: u64,
    sigignore: u64,
    sigcatch: u64,
    wchan: u64,
    nswap: u64,
    cnswap: u64,
    exit_signal: i32,
    processor: i32,
    rt_priority: u32,
    policy: u32,
    delayacct_blkio_ticks: u64,
    guest_time: u64,
    cguest_time: i64,
}

pub(super) fn self_proc_stats(asked: &Asked<'_>) -> Answer {
    let figures = asked.ctx.system.figures();
    let data = figures.process.as_ref().map_or_else(SelfProcStats::default, |process| {
        let s = &process.stat;
        SelfProcStats {
            ok: true,
            sample_time: process.time,
            percent: process.share,
            pid: s.pid,
            comm: format!("({})", s.comm),
            state: s.state.to_string(),
            ppid: s.ppid,
            pgrp: s.pgrp,
            session: s.session,
            tty_nr: s.tty_nr,
            tpgid: s.tpgid,
            flags: s.flags,
            minflt: s.minflt,
            cminflt: s.cminflt,
            majflt: s.majflt,
            cmajflt: s.cmajflt,
            utime: s.utime,
            stime: s.stime,
            cutime: s.cutime,
            cstime: s.cstime,
            priority: s.priority,
            nice: s.nice,
            num_threads: s.num_threads,
            itrealvalue: s.itrealvalue,
            starttime: s.starttime,
            vsize: s.vsize,
            rss: s.rss,
            rsslim: s.rsslim,
            startcode: s.startcode,
            endcode: s.endcode,
            startstack: s.startstack,
            kstkesp: s.kstkesp,
            kstkeip: s.kstkeip,
            signal: s.signal,
            blocked: s.blocked,
            sigignore: s.sigignore,
            sigcatch: s.sigcatch,
            wchan: s.wchan,
            nswap: s.nswap,
            cnswap: s.cnswap,
            exit_signal: s.exit_signal.unwrap_or(0),
            processor: s.processor.unwrap_or(0),
            rt_priority: s.rt_priority.unwrap_or(0),
            policy: s.policy.unwrap_or(0),
            delayacct_blkio_ticks: s.delayacct_blkio_ticks.unwrap_or(0),
            guest_time: s.guest_time.unwrap_or(0),
            cguest_time: s.cguest_time.unwrap_or(0),
        }
    });
    Answer::ok(asked.ctx, &Data { data })
}

#[derive(Serialize, ToSchema)]
pub(super) struct SystemProcStats {
    ok: bool,
    sample_time: u64,
    percent: f64,
    user: u64,
    nice: u64,
    sys: u64,
    idle: u64,
    iowait: u64,
    irq: u64,
    softirq: u64,
    steal: u64,
    guest: u64,
}

pub(super) fn system_proc_stats(asked: &Asked<'_>) -> Answer {
    let seen = asked.ctx.system.figures().cpu;
    let cpu = seen.unwrap_or_default();
    let data = SystemProcStats {
        ok: seen.is_some(),
        sample_time: cpu.time,
        percent: cpu.share,
        user: cpu.user,
        nice: cpu.nice,
        sys: cpu.system,
        idle: cpu.idle,
        iowait: cpu.iowait,
        irq: cpu.irq,
        softirq: cpu.softirq,
        steal: cpu.steal,
        guest: cpu.guest,
    };
    Answer::ok(asked.ctx, &Data { data })
}

#[derive(Serialize, ToSchema)]
#[expect(non_snake_case, reason = "SRS's names")]
pub(super) struct Meminfos {
    ok: bool,
    sample_time: u64,
    percent_ram: f64,
    percent_swap: f64,
    MemActive: u64,
    RealInUse: u64,
    NotInUse: u64,
    MemTotal: u64,
    MemFree: u64,
    Buffers: u64,
    Cached: u64,
    SwapTotal: u64,
    SwapFree: u64,
}

pub(super) fn meminfos(asked: &Asked<'_>) -> Answer {
    let seen = asked.ctx.system.figures().memory;
    let memory = seen.unwrap_or_default();
    let data = Meminfos {
        ok: seen.is_some(),
        sample_time: memory.time,
        percent_ram: memory.share(),
        percent_swap: memory.swap_share(),
        MemActive: memory.active(),
        RealInUse: memory.in_use(),
        NotInUse: memory.not_in_use(),
        MemTotal: memory.total,
        MemFree: memory.free,
        Buffers: memory.buffers,
        Cached: memory.cached,
        SwapTotal: memory.swap_total,
        SwapFree: memory.swap_free,
    };
    Answer::ok(asked.ctx, &Data { data })
}
