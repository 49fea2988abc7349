//! A report about this server, posted to a management server in intervals (`heartbeat`).
//!
//! One task reads the configuration in force at each step, so a reload acts at once; nothing else waits for
//! it. The answer is ignored. That reports do not arrive is said once, and once that they do again.
//!
//! Bounded: one report at a time, [`TIMEOUT`] for each.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mill_config::model::{Heartbeat, Snapshot};
use reqwest::Client;
use reqwest::redirect::Policy;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::api::Data;
use crate::api::answer::to_json;
use crate::api::system::{Summaries, summaries_of};
use crate::session::Context;
use crate::{identity, log, system};

/// A report that was not taken by then has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// The body, in the words of SRS 3 and, behind them, of SRS 6.
#[derive(Serialize)]
struct Report<'a> {
    device_id: &'a str,
    ip: &'a str,
    server: &'a str,
    service: &'a str,
    pid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summaries: Option<Data<Summaries>>,
    #[serde(flatten)]
    ports: Ports,
}

/// What is listened on.
#[derive(Serialize, Default, Debug, PartialEq)]
struct Ports {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rtmp: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    http: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    api: Vec<String>,
}

impl Ports {
    fn of(config: &Snapshot) -> Self {
        let texts =
            |on: bool, all: &[SocketAddr]| all.iter().filter(|_| on).map(ToString::to_string).collect();
        let (http, api) = (&config.http_server, &config.http_api);
        Self {
            rtmp: texts(true, &config.global.listen),
            http: texts(http.enabled, &http.listen),
            api: texts(api.enabled, &api.listen),
        }
    }
}

/// Reports for as long as it is run.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut sender = Sender::default();
    ctx.system.looked().await;
    let mut last: Option<Instant> = None;
    loop {
        let config = ctx.config.load_full();
        let conf = &config.heartbeat;
        let now = Instant::now();
        // Whole seconds, as in SRS.
        let interval = Duration::from_secs(conf.interval.as_secs().max(1));
        if !conf.enabled {
            last = None;
        } else if last.is_none_or(|last| now >= last + interval) {
            last = Some(now);
            let ip = own_ip(config.stats.network).await;
            sender.send(conf, report(&ctx, &config, &ip)).await;
        }
        let next = last.map_or(now + LOOK, |last| (last + interval).min(now + LOOK));
        sleep_until(next).await;
    }
}

fn report(ctx: &Context, config: &Snapshot, ip: &str) -> Vec<u8> {
    let conf = &config.heartbeat;
    to_json(&Report {
        device_id: &conf.device_id,
        ip,
        server: &ctx.identity.server,
        service: &ctx.identity.service,
        pid: &ctx.identity.pid,
        summaries: conf.summaries.then(|| Data { data: summaries_of(ctx) }),
        ports: if conf.ports { Ports::of(config) } else { Ports::default() },
    })
}

/// The address to report: what the environment says, else that number of the list, beginning anew at its end.
async fn own_ip(number: u32) -> String {
    if let Some(ip) = std::env::var("SRS_DEVICE_IP").ok().filter(|ip| !ip.is_empty()) {
        return ip;
    }
    let found = tokio::task::spawn_blocking(system::addresses).await;
    let addresses = found.ok().and_then(Result::ok).unwrap_or_default();
    let at = (number as usize).checked_rem(addresses.len());
    at.and_then(|at| addresses.get(at)).map(ToString::to_string).unwrap_or_default()
}

#[derive(Default)]
struct Sender {
    /// The client, and whether it knows TLS.
    client: Option<(Client, bool)>,
    failing: bool,
}

impl Sender {
    async fn send(&mut self, conf: &Heartbeat, body: Vec<u8>) {
        match self.post(&conf.url, body).await {
            Ok(()) if self.failing => {
                self.failing = false;
                info!("heartbeat: reports arrive again at {}", log::Redacted(&conf.url));
            }
            Ok(()) => {}
            Err(_) if self.failing => {}
            Err(e) => {
                self.failing = true;
                warn!("heartbeat: cannot report to {}: {e}", log::Redacted(&conf.url));
            }
        }
    }

    async fn post(&mut self, url: &str, body: Vec<u8>) -> Result<(), String> {
        let client = self.client(url).await?;
        let request = client.post(url).header("Content-Type", "application/json").body(body);
        // The URL may hold a token.
        let response = request.send().await.map_err(|e| in_words(&e.without_url()))?;
        if response.status().is_client_error() || response.status().is_server_error() {
            return Err(format!("the server answers {}", response.status()));
        }
        Ok(())
    }

    /// A client for that URL. Only one that needs to reads the certificates of this machine, from disk.
    async fn client(&mut self, url: &str) -> Result<Client, String> {
        let tls = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        if let Some((client, knows_tls)) = &self.client
            && *knows_tls == tls
        {
            return Ok(client.clone());
        }
        let build = move || {
            let builder = Client::builder()
                .user_agent(identity::SERVER)
                .redirect(Policy::none())
                .pool_max_idle_per_host(0)
                .timeout(TIMEOUT);
            if tls { builder } else { builder.tls_certs_only([]) }.build()
        };
        let built = tokio::task::spawn_blocking(build).await.map_err(|e| e.to_string())?;
        let client = built.map_err(|e| in_words(&e))?;
        self.client = Some((client.clone(), tls));
        Ok(client)
    }
}

/// An error with its causes: the outermost alone says little.
fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        words += &format!(": {e}");
        cause = e.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_services_that_are_on() {
        let ports = |text: &str| {
            let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
            Ports::of(&mill_config::load(Some(("t", text.as_bytes())), [], &mut no_files).unwrap().snapshot)
        };
        let all = ports(
            "listen 1935 [::]:1936; http_api { enabled on; } http_server { enabled on; listen 127.0.0.1:80; }",
        );
        assert_eq!(all.rtmp, ["0.0.0.0:1935", "[::]:1936"]);
        assert_eq!((all.http, all.api), (vec!["127.0.0.1:80".to_owned()], vec!["0.0.0.0:1985".to_owned()]));
        assert_eq!(ports("listen 1;"), Ports { rtmp: vec!["0.0.0.0:1".into()], ..Ports::default() });
    }
}
