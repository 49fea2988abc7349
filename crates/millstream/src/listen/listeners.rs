//! What is listened on: one socket for each address the configuration names, and the service behind it.
//!
//! A change of the set has two steps. [`Listeners::prepare`] binds what is new, which may fail and then has
//! changed nothing; [`Listeners::commit`] starts to accept there and closes what nobody wants any more.
//! Connections that were accepted stay, whatever becomes of the socket they came by; datagrams have none, so their
//! senders go with their socket. An address that goes from one service to another keeps its socket.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::slice::from_ref;
use std::sync::Arc;

use mill_config::model::{CasterProtocol, Snapshot};
use tokio::net::{TcpListener, UdpSocket};
use tracing::info;

use crate::ingress::{self, Entrance};
use crate::listen;
use crate::session::http::Door;
use crate::session::{Context, http, rtmp};
use crate::tasks::Tasks;

/// What answers on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Rtmp,
    Http(Door),
    Https(Door),
    Caster(CasterProtocol),
}

/// Sockets of TCP and of UDP do not meet, whatever their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Tcp(SocketAddr),
    Udp(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
        }
    }
}

#[derive(Clone)]
enum Socket {
    Tcp(Arc<TcpListener>),
    Udp(Arc<UdpSocket>),
}

impl Socket {
    fn number(&self) -> i32 {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Udp(socket) => socket.as_raw_fd(),
        }
    }
}

impl Service {
    /// SRS's name for it in its log.
    fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "RTMP",
            Self::Http(Door::Api) => "HTTP-API",
            Self::Http(Door::Delivery) => "HTTP-Server",
            Self::Http(Door::Both) => "HTTP-API and HTTP-Server",
            Self::Http(Door::Exporter) | Self::Https(Door::Exporter) => "Exporter",
            Self::Https(Door::Api) => "HTTPS-API",
            Self::Https(Door::Delivery) => "HTTPS-Server",
            Self::Https(Door::Both) => "HTTPS-API and HTTPS-Server",
            Self::Caster(CasterProtocol::MpegTs) => "MPEG-TS over UDP",
            Self::Caster(CasterProtocol::Rtsp) => "RTSP",
            Self::Caster(CasterProtocol::Flv) => "FLV over HTTP POST",
            Self::Caster(CasterProtocol::Gb28181) => "GB28181",
        }
    }
}

/// The addresses and services a configuration asks for. Its check has made sure that they do not collide.
fn wanted(conf: &Snapshot) -> BTreeMap<Place, Service> {
    let (api, delivery) = (&conf.http_api, &conf.http_server);
    let mut wanted = BTreeMap::new();
    let plain = doors((api.enabled, &api.listen), (delivery.enabled, &delivery.listen));
    wanted.extend(plain.into_iter().map(|(address, door)| (Place::Tcp(address), Service::Http(door))));
    let (api, delivery) = (&api.https, &delivery.https);
    let tls = doors((api.enabled, from_ref(&api.listen)), (delivery.enabled, from_ref(&delivery.listen)));
    wanted.extend(tls.into_iter().map(|(address, door)| (Place::Tcp(address), Service::Https(door))));
    if conf.exporter.enabled {
        wanted.insert(Place::Tcp(conf.exporter.listen), Service::Http(Door::Exporter));
    }
    for caster in conf.stream_casters.iter().filter(|caster| ingress::speaks(caster.protocol)) {
        let place = if caster.protocol.is_udp() { Place::Udp } else { Place::Tcp };
        wanted.insert(place(caster.listen), Service::Caster(caster.protocol));
    }
    wanted.extend(conf.global.listen.iter().map(|&address| (Place::Tcp(address), Service::Rtmp)));
    wanted
}

/// The doors of API and delivery server, each with whether it is there. At the same address they are one.
fn doors(api: (bool, &[SocketAddr]), delivery: (bool, &[SocketAddr])) -> BTreeMap<SocketAddr, Door> {
    let addresses =
        |(there, addresses): (bool, &[SocketAddr])| if there { addresses.to_vec() } else { vec![] };
    let mut doors = BTreeMap::from_iter(addresses(api).into_iter().map(|address| (address, Door::Api)));
    for address in addresses(delivery) {
        let door = if doors.contains_key(&address) { Door::Both } else { Door::Delivery };
        doors.insert(address, door);
    }
    doors
}

/// All listeners of a server.
#[derive(Default)]
pub(crate) struct Listeners(BTreeMap<Place, Open>);

struct Open {
    service: Service,
    socket: Socket,
    /// The task that accepts, or takes datagrams.
    task: u64,
}

/// The listeners of a configuration that is not in force yet. Dropping it closes what was bound for it.
pub(crate) struct Prepared {
    wanted: BTreeMap<Place, Service>,
    bound: BTreeMap<Place, Socket>,
}

impl Listeners {
    /// Binds what `conf` wants and is not open yet. `inherited` gives the socket for an address that somebody
    /// has bound for us, if there is one.
    ///
    /// # Errors
    /// If an address is in use or not ours.
    pub(crate) fn prepare(
        &self,
        conf: &Snapshot,
        mut inherited: impl FnMut(SocketAddr) -> Option<std::net::TcpListener>,
    ) -> io::Result<Prepared> {
        let wanted = wanted(conf);
        let mut bound = BTreeMap::new();
        for &place in wanted.keys().filter(|place| !self.0.contains_key(place)) {
            let socket = match place {
                Place::Tcp(address) => Socket::Tcp(Arc::new(match inherited(address) {
                    Some(socket) => TcpListener::from_std(socket)?,
                    None => listen::bind(address)?,
                })),
                Place::Udp(address) => Socket::Udp(Arc::new(listen::bind_udp(address)?)),
            };
            bound.insert(place, socket);
        }
        Ok(Prepared { wanted, bound })
    }

    /// Listens on exactly what was prepared.
    pub(crate) fn commit(&mut self, prepared: Prepared, tasks: &Tasks, context: &Arc<Context>) {
        let Prepared { wanted, mut bound } = prepared;
        let mut before = std::mem::take(&mut self.0);
        for (place, service) in wanted {
            let (socket, open) = match (before.remove(&place), bound.remove(&place)) {
                (Some(open), _) if open.service == service => {
                    self.0.insert(place, open);
                    continue;
                }
                (Some(open), _) => (open.socket.clone(), Some(open)),
                (None, Some(socket)) => (socket, None),
                // Whatever is wanted is open or was bound.
                (None, None) => continue,
            };
            if let Some(open) = open {
                tasks.cut(open.task);
            }
            info!("{} listen at {place}, fd={}", service.name(), socket.number());
            let task = tasks.next_id();
            serve(place, socket.clone(), service, task, tasks, context);
            self.0.insert(place, Open { service, socket, task });
        }
        close(before, tasks);
    }

    /// Listens on nothing any more.
    pub(crate) fn close(&mut self, tasks: &Tasks) {
        close(std::mem::take(&mut self.0), tasks);
    }
}

fn close(listeners: BTreeMap<Place, Open>, tasks: &Tasks) {
    for (place, open) in listeners {
        tasks.cut(open.task);
        info!("{} close listener at {place}", open.service.name());
    }
}

fn serve(place: Place, socket: Socket, service: Service, id: u64, tasks: &Tasks, context: &Arc<Context>) {
    let (connections, context) = (context.connections.clone(), context.clone());
    let (Place::Tcp(address) | Place::Udp(address)) = place;
    let socket = match (socket, service) {
        (Socket::Tcp(socket), _) => socket,
        (Socket::Udp(socket), Service::Caster(protocol)) => {
            let entrance = Entrance { protocol, address };
            return tasks.spawn(id, ingress::receive(context, entrance, socket));
        }
        // Only casters are wanted there.
        (Socket::Udp(_), _) => return,
    };
    match service {
        Service::Rtmp => {
            let serve = move |cid, socket, peer| rtmp::serve(context.clone(), cid, socket, peer);
            tasks.spawn(id, listen::accept(socket, tasks.clone(), connections, serve));
        }
        Service::Http(door) => {
            let serve = move |cid, socket, peer| http::serve(context.clone(), cid, door, socket, peer);
            tasks.spawn(id, listen::accept(socket, tasks.clone(), connections, serve));
        }
        Service::Https(door) => {
            let serve = move |cid, socket, peer| http::serve_tls(context.clone(), cid, door, socket, peer);
            tasks.spawn(id, listen::accept(socket, tasks.clone(), connections, serve));
        }
        Service::Caster(protocol) => {
            let entrance = Entrance { protocol, address };
            let serve = move |_, socket, peer| ingress::serve(context.clone(), entrance, socket, peer);
            tasks.spawn(id, listen::accept(socket, tasks.clone(), connections, serve));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut no_files = |_: &str| Err(io::ErrorKind::NotFound.into());
        let conf = mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap().snapshot;
        let shown = wanted(&conf).into_iter().map(|(place, service)| format!("{} {place}", service.name()));
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn one_socket_for_each_address() {
        check(
            "listen 1935 [::]:1935 127.0.0.1:1936; http_api { enabled on; listen 1985 [::1]:1985; } http_server { enabled on; }",
            &[
                "RTMP tcp://0.0.0.0:1935",
                "HTTP-API tcp://0.0.0.0:1985",
                "HTTP-Server tcp://0.0.0.0:8080",
                "RTMP tcp://127.0.0.1:1936",
                "RTMP tcp://[::]:1935",
                "HTTP-API tcp://[::1]:1985",
            ],
        );
        check("listen 1; http_api { listen 1985; } http_server { listen 8080; }", &["RTMP tcp://0.0.0.0:1"]);
    }

    #[test]
    fn both_http_services_on_one_address() {
        let shared = "http_api { enabled on; listen 8080 1985; } http_server { enabled on; listen 8080; }";
        check(
            &format!("listen 1; {shared}"),
            &[
                "RTMP tcp://0.0.0.0:1",
                "HTTP-API tcp://0.0.0.0:1985",
                "HTTP-API and HTTP-Server tcp://0.0.0.0:8080",
            ],
        );
    }
}
