//! What the server knows anyway, read when somebody asks.
//!
//! Taking it costs a pass over clients and streams, under locks that no frame waits for longer than for
//! any newcomer. Figures of the process come from `/proc`, read beside the tasks that serve sockets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use mill_hub::StreamId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use rustix::process::{Resource, getrlimit};

use crate::clients::Protocol;
use crate::identity;
use crate::session::Context;

/// Streams that get series of their own: the oldest ones. The others are in the sums, and their number is
/// `millstream_streams_unlabelled`.
pub(super) const MAX_STREAMS: usize = 200;

/// A stream whose vhost, app and name together are longer gets no series of its own.
const MAX_NAME: usize = 256;

/// One reading.
pub(super) struct Scrape {
    ctx: Arc<Context>,
    process: Process,
    streams: Vec<Stream>,
    unlabelled: usize,
    publishers: [usize; Protocol::ALL.len()],
    viewers: [usize; Protocol::ALL.len()],
    lanes: usize,
    lane_bytes: usize,
}

struct Stream {
    id: StreamId,
    live: bool,
    viewers: usize,
    received: u64,
    sent: u64,
    received_kbps: f64,
    sent_kbps: f64,
    frames: u64,
    audio_frames: u64,
    keyframes: u64,
    keyframe_interval: u64,
    fps: f64,
    skips: u64,
}

#[derive(Default)]
struct Process {
    rss_kb: u64,
    open_files: usize,
    /// Seconds since 1970.
    built: u64,
}

impl Scrape {
    pub(super) async fn take(ctx: &Arc<Context>) -> Self {
        let process = tokio::task::spawn_blocking(Process::read).await.unwrap_or_default();
        ctx.clients.settle();
        let (mut publishers, mut viewers) = ([0; Protocol::ALL.len()], [0; Protocol::ALL.len()]);
        for client in ctx.clients.all() {
            let counts = if client.kind.publishes() { &mut publishers } else { &mut viewers };
            counts[client.kind.protocol() as usize] += 1;
        }
        let (mut lanes, mut lane_bytes) = (0, 0);
        for stream in ctx.hub.streams() {
            let (more_lanes, more_bytes) = stream.held();
            (lanes, lane_bytes) = (lanes + more_lanes, lane_bytes + more_bytes);
        }
        let mut entries = ctx.clients.streams();
        let all = entries.len();
        entries.retain(|entry| {
            let id = &entry.stream;
            id.vhost.len() + id.app.len() + id.name.len() <= MAX_NAME
        });
        entries.sort_by_key(|entry| entry.since);
        entries.truncate(MAX_STREAMS);
        let streams: Vec<Stream> = entries.iter().map(|entry| Stream::read(ctx, entry)).collect();
        let unlabelled = all - streams.len();
        Self { ctx: ctx.clone(), process, streams, unlabelled, publishers, viewers, lanes, lane_bytes }
    }
}

impl Stream {
    fn read(ctx: &Context, entry: &crate::clients::StreamEntry) -> Self {
        let live = ctx.hub.find(&entry.stream);
        let count = |read: fn(&mill_hub::Counters) -> &std::sync::atomic::AtomicU64| {
            live.as_ref().map_or(0, |stream| read(stream.counters()).load(Ordering::Relaxed))
        };
        let (bytes, kbps) = (entry.account.bytes(), entry.account.kbps());
        Self {
            id: entry.stream.clone(),
            live: live.as_ref().is_some_and(|stream| stream.is_live()),
            viewers: live.as_ref().map_or(0, |stream| stream.viewers()),
            received: bytes.received,
            sent: bytes.sent,
            received_kbps: kbps.received,
            sent_kbps: kbps.sent,
            frames: count(|counters| &counters.frames),
            audio_frames: count(|counters| &counters.audio_frames),
            keyframes: count(|counters| &counters.keyframes),
            keyframe_interval: count(|counters| &counters.keyframe_interval),
            fps: entry.frame_rate.video(),
            skips: count(|counters| &counters.skips),
        }
    }

    fn labels(&self) -> Labels<'_> {
        vec![("vhost", &self.id.vhost), ("app", &self.id.app), ("stream", &self.id.name)]
    }
}

impl Process {
    fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let built = std::env::current_exe().and_then(std::fs::metadata).and_then(|file| file.modified());
        Self {
            rss_kb: rss.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0),
            open_files: open_files(),
            built: built.map_or(0, seconds),
        }
    }
}

/// Linux tells the number as the size of the folder since 6.2; before that the entries must be counted, of
/// which one is the count's own.
fn open_files() -> usize {
    const FILES: &str = "/proc/self/fd";
    let size = std::fs::metadata(FILES).map_or(0, |folder| folder.len());
    if size > 0 {
        return usize::try_from(size).unwrap_or(usize::MAX);
    }
    std::fs::read_dir(FILES).map_or(0, |files| files.count().saturating_sub(1))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

/// The page being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                family.encode_counter::<Labels<'_>, _, u64>(&value, None)?;
            } else {
                family.encode_family(&labels)?.encode_counter::<Labels<'_>, _, u64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn gauge<'a, V: prometheus_client::encoding::EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                family.encode_gauge(&value)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

/// A metric that every stream has: the end of its name, its help, its value.
type Column<V> = (&'static str, &'static str, fn(&Stream) -> V);

/// The one row of a metric without labels.
fn one<'a, V>(value: V) -> [(Labels<'a>, V); 1] {
    [(Labels::new(), value)]
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.srs(&mut page)?;
        self.process(&mut page)?;
        self.server(&mut page)?;
        self.streams(&mut page)
    }
}

impl Scrape {
    /// What SRS's exporter has, by its names.
    fn srs(&self, page: &mut Page<'_>) -> fmt::Result {
        let uname = rustix::system::uname();
        let texts = [uname.sysname(), uname.nodename(), uname.release(), uname.version(), uname.machine()]
            .map(|text| text.to_string_lossy());
        let names = ["sysname", "nodename", "release", "version", "machine"];
        let labels = names.into_iter().zip(texts.iter().map(|text| &**text)).collect();
        page.gauge("srs_node_uname_info", "The system the server runs on.", [(labels, 1u64)])?;

        let config = self.ctx.config.load();
        let identity = &self.ctx.identity;
        let built = jiff::Timestamp::from_second(self.process.built.try_into().unwrap_or(0));
        let built = built.map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default();
        let major = identity::SRS_VERSION.split('.').next().unwrap_or("");
        let mut labels = vec![
            ("server", identity.server.as_str()),
            ("service", &identity.service),
            ("pid", &identity.pid),
            ("build_date", &built),
            ("major", major),
            ("version", identity::SRS_VERSION),
            ("code", identity::SERVER),
        ];
        let exporter = &config.exporter;
        let wanted = [("label", &exporter.label), ("tag", &exporter.tag)];
        labels.extend(
            wanted.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (*name, text.as_str())),
        );
        page.gauge("srs_build_info", "The server, and whose interfaces it speaks.", [(labels, 1u64)])?;

        let (total, clients) = (self.ctx.clients.total().bytes(), &self.ctx.clients);
        let cpu = self.ctx.usage.cpu() * 100.0;
        page.gauge("srs_cpu_percent", "Processor time used; 100 is one core.", one(cpu))?;
        page.gauge("srs_memory", "Resident memory in KB.", one(self.process.rss_kb))?;
        page.counter("srs_send_bytes", "Bytes sent to clients.", one(total.sent))?;
        page.counter("srs_receive_bytes", "Bytes received from clients.", one(total.received))?;
        page.gauge("srs_streams", "Streams that have a client.", one(self.streams.len() + self.unlabelled))?;
        let now: usize = self.publishers.iter().chain(&self.viewers).sum();
        page.gauge("srs_clients", "Publishers and viewers.", one(now))?;
        let ever = Protocol::ALL.iter().map(|&protocol| {
            let totals = clients.protocol(protocol);
            totals.publishers.load(Ordering::Relaxed) + totals.viewers.load(Ordering::Relaxed)
        });
        page.counter("srs_clients", "Publishers and viewers since the start.", one(ever.sum::<u64>()))
    }

    /// What every process has, by the names all exporters use.
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let open = self.process.open_files;
        page.gauge("process_open_fds", "Open files and sockets.", one(open))?;
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(0);
        page.gauge("process_max_fds", "The most files and sockets it may have open.", one(limit))?;
        let memory = self.process.rss_kb * 1024;
        page.gauge("process_resident_memory_bytes", "Resident memory.", one(memory))?;
        let started = seconds(SystemTime::now()).saturating_sub(self.ctx.usage.uptime().as_secs());
        page.gauge("process_start_time_seconds", "When it was started, since 1970.", one(started))
    }

    /// The whole server, and each protocol.
    fn server(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = vec![("version", identity::VERSION)];
        page.gauge("millstream_build_info", "The server's own version.", [(version, 1u64)])?;
        let connections = &self.ctx.connections;
        page.gauge("millstream_connections", "Open connections of all kinds.", one(connections.open()))?;
        let limit = connections.limit();
        page.gauge("millstream_connections_limit", "max_connections.", one(limit))?;
        let refused = connections.refused();
        page.counter("millstream_connections_refused", "Connections beyond max_connections.", one(refused))?;

        let label = |protocol: Protocol| ("protocol", protocol.name());
        let clients = Protocol::ALL.iter().flat_map(|&p| {
            let (publishers, viewers) = (self.publishers[p as usize], self.viewers[p as usize]);
            [
                (vec![label(p), ("role", "publisher")], publishers),
                (vec![label(p), ("role", "viewer")], viewers),
            ]
        });
        page.gauge("millstream_clients", "Clients by protocol and role.", clients)?;
        let of = |p: Protocol| self.ctx.clients.protocol(p);
        let ever = Protocol::ALL.iter().flat_map(|&p| {
            let (publishers, viewers) = (&of(p).publishers, &of(p).viewers);
            [
                (vec![label(p), ("role", "publisher")], publishers.load(Ordering::Relaxed)),
                (vec![label(p), ("role", "viewer")], viewers.load(Ordering::Relaxed)),
            ]
        });
        page.counter("millstream_clients_admitted", "Clients let in since the start.", ever)?;
        let sent = Protocol::ALL.iter().map(|&p| (vec![label(p)], of(p).account.bytes().sent));
        page.counter("millstream_send_bytes", "Bytes sent to clients.", sent)?;
        let received = Protocol::ALL.iter().map(|&p| (vec![label(p)], of(p).account.bytes().received));
        page.counter("millstream_receive_bytes", "Bytes received from clients.", received)?;

        let hooks = self.ctx.hooks.stats();
        let accepted = hooks.calls.saturating_sub(hooks.refusals + hooks.failures);
        let results = [("accepted", accepted), ("refused", hooks.refusals), ("unanswered", hooks.failures)];
        let calls = results.map(|(result, calls)| (vec![("result", result)], calls));
        page.counter("millstream_callbacks", "Calls of callback servers by result.", calls)?;
        page.counter("millstream_callback_retries", "Callbacks made again.", one(hooks.retries))?;
        page.counter("millstream_callbacks_lost", "Events given up.", one(hooks.lost))?;
        page.gauge("millstream_callbacks_waiting", "Events that wait for their server.", one(hooks.waiting))?;

        let skips = [(vec![("reason", "lagged")], self.ctx.hub.skips())];
        page.counter("millstream_viewer_skips", "Times a viewer missed part of its stream.", skips)?;
        page.gauge("millstream_lanes", "Wire formats in which streams are held.", one(self.lanes))?;
        page.gauge("millstream_lane_bytes", "Bytes held for viewers.", one(self.lane_bytes))?;
        let unlabelled = one(self.unlabelled);
        page.gauge("millstream_streams_unlabelled", "Streams without series of their own.", unlabelled)
    }

    /// Each stream, up to [`MAX_STREAMS`].
    fn streams(&self, page: &mut Page<'_>) -> fmt::Result {
        let counters: [Column<u64>; 6] = [
            ("receive_bytes", "Bytes received from clients of the stream.", |s| s.received),
            ("send_bytes", "Bytes sent to clients of the stream.", |s| s.sent),
            ("video_frames", "Video frames received.", |s| s.frames),
            ("audio_frames", "Audio frames received.", |s| s.audio_frames),
            ("keyframes", "Keyframes received.", |s| s.keyframes),
            ("skips", "Times a viewer fell behind and was moved on.", |s| s.skips),
        ];
        for (name, help, value) in counters {
            let rows = self.streams.iter().map(|stream| (stream.labels(), value(stream)));
            page.counter(&format!("millstream_stream_{name}"), help, rows)?;
        }
        let gauges: [Column<f64>; 6] = [
            ("live", "1 while somebody publishes it.", |s| f64::from(u8::from(s.live))),
            ("viewers", "Viewers.", |s| s.viewers as f64),
            ("receive_bits_per_second", "Received over the last 30 s.", |s| s.received_kbps * 1000.0),
            ("send_bits_per_second", "Sent over the last 30 s.", |s| s.sent_kbps * 1000.0),
            ("frames_per_second", "Video frames received over the last 3 s.", |s| s.fps),
            ("keyframe_interval_seconds", "Between the last two keyframes.", |s| {
                s.keyframe_interval as f64 / 1000.0
            }),
        ];
        for (name, help, value) in gauges {
            let rows = self.streams.iter().map(|stream| (stream.labels(), value(stream)));
            page.gauge(&format!("millstream_stream_{name}"), help, rows)?;
        }
        Ok(())
    }
}
