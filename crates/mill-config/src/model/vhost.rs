//! A virtual host.

use super::{
    Bandcheck, Cluster, Dash, Dvr, Exec, Forward, Hds, Hls, HttpHooks, HttpRemux, HttpStatic, Ingest, Play,
    Publish, Refer, Security, Transcode,
};

super::block! {
    /// `vhost`.
    pub struct Vhost(
        /// Name clients find it by; [`DEFAULT_VHOST`](super::DEFAULT_VHOST) for the one of all other names.
        name
    ) {
        /// Off: its clients are refused.
        enabled: bool = "enabled",
        /// Size of outgoing RTMP chunks in bytes, 128 to 65536; its own, or else the global one.
        chunk_size: u32 = "chunk_size",
        /// Send each message at once instead of in batches.
        min_latency: bool = "min_latency",
        /// Acknowledge input each time this many bytes have come; 0 to leave it to the peer.
        in_ack_size: u32 = "in_ack_size",
        /// Window Ack Size in bytes told to the peer; 0 to tell none.
        out_ack_size: u32 = "out_ack_size",
        /// How players are served.
        play: Play = "play",
        /// How publishers are served.
        publish: Publish = "publish",
        /// Which pages clients may come from.
        refer: Refer = "refer",
        /// Which addresses clients may come from.
        security: Security = "security",
        /// Bandwidth tests instead of streams.
        bandcheck: Bandcheck = "bandcheck",
        /// Files over HTTP.
        http_static: HttpStatic = "http_static",
        /// Live streams over HTTP.
        http_remux: HttpRemux = "http_remux",
        /// Callbacks to a web server.
        http_hooks: HttpHooks = "http_hooks",
        /// MPEG-DASH.
        dash: Dash = "dash",
        /// Adobe HTTP Dynamic Streaming.
        hds: Hds = "hds",
        /// Edge or origin.
        cluster: Cluster = "cluster",
        /// Recording.
        dvr: Dvr = "dvr",
        /// HTTP Live Streaming.
        hls: Hls = "hls",
        /// Programs for each published stream.
        exec: Exec = "exec",
        /// Programs that bring streams.
        ingest: Vec<Ingest> = "ingest",
        /// Programs that recode streams.
        transcode: Vec<Transcode> = "transcode",
        /// Copies to other servers.
        forward: Forward = "forward",
    }
}
