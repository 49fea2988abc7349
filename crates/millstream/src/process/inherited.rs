//! Listening sockets that somebody opened for us: systemd's socket activation.
//!
//! They come as descriptors from 3 on, announced by `LISTEN_FDS` and `LISTEN_PID`. Each is used for the
//! configured address it is bound to; one that nobody configured is closed, with a warning. The same form can
//! hand the sockets of a running server to its successor, which is why `LISTEN_PID` may be absent.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use tracing::warn;

/// Whether sockets were announced for this very process.
pub(super) fn announced() -> bool {
    let pid = std::env::var("LISTEN_PID").ok();
    pid.is_some_and(|pid| pid.parse() == Ok(std::process::id()))
}

/// The sockets not used yet.
pub(crate) struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
    /// What was handed over and is of no use.
    useless: Vec<io::Error>,
}

impl Inherited {
    /// Takes what the environment announces, and the announcement: our children shall not believe it. To be
    /// called before any thread is started or file opened.
    pub(crate) fn from_environment() -> Self {
        let mut handed = ListenFd::from_env();
        let mut inherited = Self { sockets: Vec::new(), useless: Vec::new() };
        for place in 0..handed.len() {
            match usable(&mut handed, place) {
                Ok(Some(socket)) => inherited.sockets.push(socket),
                Ok(None) => {}
                Err(e) => inherited.useless.push(e),
            }
        }
        inherited
    }

    /// The socket for this address. One for all of IPv6 that takes IPv4 too, as systemd makes them for a bare
    /// port, will do for all of IPv4.
    pub(crate) fn take(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let covers = |at: SocketAddr| {
            let everywhere = at.ip().is_unspecified() && wanted.ip().is_unspecified();
            everywhere && at.is_ipv6() && wanted.is_ipv4() && at.port() == wanted.port()
        };
        let place = self.sockets.iter().position(|(at, _)| *at == wanted);
        let place = place.or_else(|| self.sockets.iter().position(|(at, _)| covers(*at)))?;
        Some(self.sockets.swap_remove(place).1)
    }

    /// Closes what nobody took, and says so.
    pub(crate) fn close_rest(self) {
        for error in &self.useless {
            warn!("socket activation: a descriptor is of no use: {error}");
        }
        for (address, _) in &self.sockets {
            warn!("socket activation: nothing is configured to listen at {address}; the socket is closed");
        }
    }
}

/// The listening TCP socket at this place.
fn usable(handed: &mut ListenFd, place: usize) -> io::Result<Option<(SocketAddr, TcpListener)>> {
    let Some(listener) = handed.take_tcp_listener(place)? else { return Ok(None) };
    if !socket_acceptconn(&listener)? {
        return Err(io::Error::other("a socket that does not listen"));
    }
    listener.set_nonblocking(true)?;
    Ok(Some((listener.local_addr()?, listener)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_serves_the_address_it_is_bound_to() {
        let listener = |at: &str| (at.parse().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let sockets = vec![listener("[::]:1935"), listener("127.0.0.1:80"), listener("0.0.0.0:1936")];
        let mut inherited = Inherited { sockets, useless: Vec::new() };
        let mut takes = |at: &str| inherited.take(at.parse().unwrap()).is_some();
        assert!(!takes("127.0.0.1:1935") && !takes("[::]:1936") && !takes("0.0.0.0:80"));
        assert!(takes("127.0.0.1:80") && !takes("127.0.0.1:80"));
        assert!(takes("0.0.0.0:1936"));
        assert!(takes("0.0.0.0:1935") && !takes("[::]:1935"));
        inherited.close_rest();
    }
}
