//! `token_traverse`: the origin decides who may connect to an edge.
//!
//! The origin hears the client's own connect, with its parameters, page and arguments. The first origin of the list
//! that can be reached is the one whose answer counts, as in SRS; viewers over HTTP are asked for too, with their
//! parameters in the tcUrl. Bounded: [`CONNECT`] an origin, [`ANSWER`] for the answer.

use std::time::Duration;

use mill_config::model::{Protocol, Vhost};
use mill_rtmp::command::{Connect, Enhanced};
use tracing::{info, warn};

use super::super::client::knock;
use super::super::dial::Dialer;
use super::origins;
use crate::clients::Peer;
use crate::session::admit::{Refusal, Request};

/// SRS's time to reach an origin.
const CONNECT: Duration = Duration::from_secs(3);

/// SRS's time for the answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Asks for a client that wants to play or publish.
pub(crate) async fn ask(
    dialer: &Dialer,
    vhost: &Vhost,
    peer: &Peer,
    request: &Request,
) -> Result<(), Refusal> {
    for text in &vhost.cluster.origins {
        let Ok(server) = origins::parse(text, Protocol::Rtmp) else { continue };
        let transport = match dialer.connect(&server, std::path::Path::new(""), CONNECT).await {
            Ok(transport) => transport,
            Err(e) => {
                warn!("edge token traverse: {server}: {e}");
                continue;
            }
        };
        let answer = knock(dialer, transport, connect(peer, request), ANSWER).await;
        return match answer {
            Ok(()) => {
                info!("edge token auth ok, server={server}");
                Ok(())
            }
            Err(e) => {
                warn!("edge token traverse: {server}: {e}");
                Err(Refusal::Origin)
            }
        };
    }
    Err(Refusal::Origin)
}

fn connect(peer: &Peer, request: &Request) -> Connect {
    // An HTTP client has its parameters at the stream.
    let param = if request.kind.connects() { "" } else { &*request.param };
    Connect {
        tc_url: format!("{}{param}", peer.tc_url),
        app: format!("{}{param}", request.app),
        page_url: peer.page_url.to_string(),
        swf_url: peer.swf_url.to_string(),
        flash_ver: "WIN 15,0,0,239".to_owned(),
        object_encoding: 0.0,
        args: request.args.as_deref().cloned(),
        enhanced: Enhanced::default(),
    }
}
