//! Local ports for datagrams: an even one for RTP and the next for RTCP (RFC 3550, 11), out of the range an entrance
//! has. Binding is the whole book-keeping: a pair that is open is taken, whoever has it, and dropping it gives it back.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// What the kernel may keep until we come to it, in bytes: a keyframe arrives in one burst.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Errors a socket may give in one turn: they are about datagrams of ours that did not arrive.
const MAX_ERRORS: usize = 4;

/// Two sockets, for one track.
#[derive(Debug)]
pub(super) struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// The port of RTP.
    pub(super) port: u16,
    /// Where our reports go.
    reports: SocketAddr,
}

/// A datagram that has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram {
    /// RTCP, not RTP.
    pub(super) control: bool,
    pub(super) len: usize,
}

impl Pair {
    /// The first free pair from `start` on, around the range; `None` if all are taken. `range` may be empty.
    pub(super) fn bind(ip: IpAddr, range: Range<u32>, start: u32, reports: SocketAddr) -> Option<Self> {
        let first = range.start.max(2).next_multiple_of(2);
        let pairs = range.end.min(1 << 16).saturating_sub(first) / 2;
        let ports = (0..pairs).map(|n| first + 2 * ((start % pairs + n) % pairs));
        ports.filter_map(|port| u16::try_from(port).ok()).find_map(|port| {
            let (rtp, rtcp) = (open(ip, port).ok()?, open(ip, port + 1).ok()?);
            Some(Self { rtp, rtcp, port, reports })
        })
    }

    /// The next datagram from the peer; others are dropped here.
    pub(super) fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Datagram> {
        for (socket, control) in [(&self.rtcp, true), (&self.rtp, false)] {
            let receive = |cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>| socket.poll_recv_from(cx, buffer);
            if let Poll::Ready(len) = poll_from(self.reports.ip(), receive, cx, buffer) {
                return Poll::Ready(Datagram { control, len });
            }
        }
        Poll::Pending
    }

    /// Sends a report; one that does not fit in now is left out, the next comes soon.
    pub(super) fn report(&self, bytes: &[u8]) {
        let _ = self.rtcp.try_send_to(bytes, self.reports);
    }
}

/// The length of the next datagram from `peer` that a socket gives.
fn poll_from(
    peer: IpAddr,
    mut receive: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>>,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<usize> {
    let mut errors = 0;
    while errors < MAX_ERRORS {
        let mut buffer = ReadBuf::new(buffer);
        match receive(cx, &mut buffer) {
            Poll::Ready(Ok(from)) if from.ip().to_canonical() == peer => {
                return Poll::Ready(buffer.filled().len());
            }
            // Somebody else's. The budget of the runtime ends a flood of them.
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => errors += 1,
            Poll::Pending => return Poll::Pending,
        }
    }
    // The socket has not promised to wake anybody; others get a turn before it is asked again.
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn open(ip: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel gives what its limit allows.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const REPORTS: SocketAddr = SocketAddr::new(IP, 9);

    fn bind(range: Range<u32>, start: u32) -> Option<Pair> {
        Pair::bind(IP, range, start, REPORTS)
    }

    #[tokio::test]
    async fn pairs_are_taken_until_there_are_none() {
        // A place in the middle of nowhere, where three pairs are free.
        let begin = (20_001..30_000).step_by(6).find(|&begin| {
            let pairs: Vec<_> = (0..3).map_while(|n| bind(begin + 2 * n..begin + 2 * n + 3, 0)).collect();
            pairs.len() == 3
        });
        let begin = begin.unwrap();
        let range = begin..begin + 7;
        let pairs: Vec<_> = (0..3).map(|_| bind(range.clone(), 1).unwrap()).collect();
        let ports: Vec<_> = pairs.iter().map(|pair| u32::from(pair.port)).collect();
        assert_eq!(ports, [begin + 3, begin + 5, begin + 1], "even ones, from the second on");
        assert!(bind(range.clone(), 0).is_none());
        drop(pairs);
        assert!(bind(range, 0).is_some());
    }

    #[test]
    fn whoever_waits_is_woken_whatever_the_socket_says() {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let ask = |answer: fn() -> Poll<io::Result<SocketAddr>>, times: usize| {
            let woken = Arc::new(Woken(AtomicBool::new(false)));
            let waker = woken.clone().into();
            let mut answers = vec![answer; times];
            let receive = |_: &mut Context<'_>, buffer: &mut ReadBuf<'_>| {
                buffer.put_slice(b"hello");
                answers.pop().map_or(Poll::Pending, |answer| answer())
            };
            let polled = poll_from(IP, receive, &mut Context::from_waker(&waker), &mut [0; 10]);
            (polled, woken.0.load(Ordering::Relaxed), answers.len())
        };
        let error = || Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        let own = || Poll::Ready(Ok(REPORTS));
        let other = || Poll::Ready(Ok("192.0.2.1:9".parse().unwrap()));
        assert_eq!(ask(own, 1), (Poll::Ready(5), false, 0));
        assert_eq!(ask(other, 9), (Poll::Pending, false, 0), "the socket wakes when it has said Pending");
        assert_eq!(ask(error, MAX_ERRORS - 1), (Poll::Pending, false, 0));
        assert_eq!(ask(error, 10), (Poll::Pending, true, 10 - MAX_ERRORS), "and we when it has not");
    }

    #[tokio::test]
    async fn ranges_without_room() {
        for (start, end) in [(0, 0), (5, 5), (6000, 6001), (6001, 6002), (7000, 6000), (65_535, 65_536)] {
            assert!(bind(start..end, 7).is_none(), "{start} to {end}");
        }
    }
}
