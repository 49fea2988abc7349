//! Ways in for other protocols than RTMP: the `stream_caster` blocks.
//!
//! A caster turns what comes into frames and publishes them by RTMP to its `output`, usually this very server, as
//! SRS does: so a stream takes the ordinary road (vhost, callbacks, recording), and may just as well go to another
//! server. Listeners belong to [`crate::listen::listeners`]: a reload opens, closes and moves them as all others. What else a
//! block says is looked up by the address of its listener when a sender is new, so that a reload is for those who
//! come: [`Entrance::settings`].
//!
//! - [`mpegts`]: transport streams in datagrams.
//! - [`flv`]: FLV as the body of an HTTP POST.
//! - [`rtsp`]: cameras and encoders that push by RTSP.
//! - [`output`]: the URL to publish to, out of its template.

mod figures;
mod flv;
mod mpegts;
mod output;
mod rtsp;

use std::net::SocketAddr;
use std::sync::Arc;

use mill_config::model::{CasterProtocol, StreamCaster};
use tokio::net::{TcpStream, UdpSocket};

pub(crate) use self::figures::Figures;
use crate::session::Context;

/// Whether a protocol is spoken here; the others are not listened for.
pub(crate) fn speaks(protocol: CasterProtocol) -> bool {
    match protocol {
        CasterProtocol::MpegTs | CasterProtocol::Flv | CasterProtocol::Rtsp => true,
        CasterProtocol::Gb28181 => false,
    }
}

/// One that is listened at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entrance {
    pub(crate) protocol: CasterProtocol,
    /// As configured.
    pub(crate) address: SocketAddr,
}

impl Entrance {
    /// Its block in the configuration in force; `None` if a reload has just closed it.
    pub(crate) fn settings(self, ctx: &Context) -> Option<StreamCaster> {
        let config = ctx.config.load();
        let is_ours =
            |caster: &&StreamCaster| caster.protocol == self.protocol && caster.listen == self.address;
        config.stream_casters.iter().find(is_ours).cloned()
    }
}

/// Serves one connection to its end. Who does not speak over connections closes them.
pub(crate) async fn serve(ctx: Arc<Context>, entrance: Entrance, socket: TcpStream, peer: SocketAddr) {
    match entrance.protocol {
        CasterProtocol::Flv => flv::serve(ctx, entrance, socket, peer).await,
        CasterProtocol::Rtsp => rtsp::serve(ctx, entrance, socket, peer).await,
        CasterProtocol::MpegTs | CasterProtocol::Gb28181 => {}
    }
}

/// Takes datagrams for as long as it is run.
pub(crate) async fn receive(ctx: Arc<Context>, entrance: Entrance, socket: Arc<UdpSocket>) {
    mpegts::receive(ctx, entrance, socket).await;
}
