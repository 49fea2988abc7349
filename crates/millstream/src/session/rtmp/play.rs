//! An RTMP peer that plays.
//!
//! A shard of the fan-out writes the stream to the peer's socket; the peer's own task stays to read it:
//! acknowledgements, pings, pause. Whatever must be answered is mixed in between two messages.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_config::model::Vhost;
use mill_hub::Watch;
use mill_rtmp::command::{Play, code};
use mill_rtmp::session::server::Event;
use mill_rtmp::url;
use tracing::info;

use super::{Connection, End, Waited};
use crate::clients::Kind;
use crate::fanout::{Ended, Seat};
use crate::relay::coworkers::{self, Registry};
use crate::relay::edge::Supply;
use crate::session::admit::{self, Playing, Refusal};
use crate::wire::RtmpChunks;

/// Serves a play from the request to its end. `Ok`: the peer may ask for something else.
pub(super) async fn run(peer: &mut Connection, request: Play) -> Result<(), End> {
    let asked = match peer.request(&request.stream_name, Kind::Play) {
        Ok(asked) => asked,
        Err(end) => {
            peer.rtmp.reject_play(code::PLAY_FAILED, &end.to_string());
            return Err(peer.close(end).await);
        }
    };
    let param = asked.param.clone();
    let Playing { vhost, watch, supply, presence } = match peer.admit(asked, admit::play).await? {
        Ok(playing) => playing,
        Err(refusal) => return Err(peer.refuse_play(refusal).await),
    };
    peer.rtmp.accept_play();
    if coworkers::wanted(&vhost, watch.stream()) {
        return elsewhere(peer, &vhost, watch, &param).await;
    }
    let pace = admit::pace(&vhost);
    info!(
        "source url={}, is_edge={}",
        admit::stream_url(watch.stream().id()),
        u8::from(vhost.cluster.is_edge())
    );
    info!(
        "start play smi={}ms, mw_sleep={}, mw_enabled=1, realtime={}, tcp_nodelay=1",
        pace.shortest.as_millis(),
        pace.longest.as_millis(),
        u8::from(vhost.min_latency)
    );
    let lane = watch.stream().lane(Arc::new(RtmpChunks { chunk_size: peer.rtmp.chunk_size() }));
    let greeting = peer.rtmp.take_output();
    let writer = peer.socket.writer().map_err(End::Gone)?;
    let seat = peer.ctx.fanout.join(lane, writer, greeting, pace, peer.peer.traffic.clone());
    drop(vhost);
    // SRS takes the duration of play as milliseconds of what was sent; live, that is the time gone by.
    let until =
        (request.duration > 0.0).then(|| Instant::now() + Duration::from_millis(request.duration as u64));
    let end = follow(peer, &seat, &supply, until).await;
    info!("play ended, sent={}, skips={}", peer.peer.traffic.sent(), seat.skips());
    drop(presence);
    if let Err(End::Lost) = end {
        // Once the shard has let go of it, the socket is ours.
        if seat.leave().await == Ended::Parted {
            peer.rtmp.reject_play(code::PLAY_STREAM_NOT_FOUND, &End::Lost.to_string());
            return Err(peer.close(End::Lost).await);
        }
        return end;
    }
    end?;
    match seat.leave().await {
        Ended::Parted => Ok(()),
        _ => Err(End::NotReading),
    }
}

/// Sends a player to the origin that has the stream, or away.
async fn elsewhere(peer: &mut Connection, vhost: &Vhost, watch: Watch, param: &str) -> Result<(), End> {
    let stream = watch.stream().id().clone();
    // Who is sent away must not be counted while it is looked for.
    drop(watch);
    let host = url::resolve(&peer.peer.tc_url, "").map(|target| target.host).unwrap_or_default();
    let ctx = peer.ctx.clone();
    let found = tokio::select! {
        found = ctx.coworkers.find(vhost, &stream, &host) => found,
        _ = peer.socket.gone() => return Err(End::Gone(io::ErrorKind::UnexpectedEof.into())),
    };
    let Some(origin) = found else { return Err(peer.refuse_play(Refusal::Nowhere).await) };
    let tc_url = format!("rtmp://{}/{}", origin.rtmp, stream.app);
    info!("rtmp: redirect to {tc_url}/{}", stream.name);
    peer.rtmp.redirect(Instant::now(), &tc_url, &format!("{tc_url}/{}{param}", stream.name));
    // The client has some time to go by itself.
    loop {
        while let Some(event) = peer.poll()? {
            if event == Event::Closed {
                return Err(peer.close(End::Redirected).await);
            }
        }
        let deadline = peer.rtmp.deadline();
        if peer.wait(deadline, None).await? == Waited::Tick {
            peer.rtmp.handle_timeout(Instant::now())?;
        }
    }
}

/// Reads the peer until it stops playing, or something ends the play.
async fn follow(
    peer: &mut Connection,
    seat: &Seat,
    supply: &Supply,
    until: Option<Instant>,
) -> Result<(), End> {
    let mut lost = std::pin::pin!(supply.lost());
    loop {
        while let Some(event) = peer.poll()? {
            match event {
                Event::Pause(paused) => {
                    // The notice of a pause goes out before delivery stops.
                    seat.send(&peer.rtmp.take_output()).map_err(|_| End::NotReading)?;
                    seat.pause(paused);
                }
                Event::StopPlay => return Ok(()),
                _ => {}
            }
        }
        let output = peer.rtmp.take_output();
        if !output.is_empty() {
            seat.send(&output).map_err(|_| End::NotReading)?;
            continue;
        }
        if peer.input.is_empty() {
            // A player seldom says anything: hold no buffer for it.
            peer.input = bytes::BytesMut::new();
        }
        let alarm = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = peer.socket.read(&mut peer.input) => peer.took(read.map_err(End::Gone)?)?,
            ended = seat.ended() => {
                let error = if ended == Ended::Stream { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::BrokenPipe };
                return Err(End::Gone(error.into()));
            }
            () = &mut lost => return Err(End::Lost),
            () = alarm => return Err(End::DurationOver),
        }
    }
}
