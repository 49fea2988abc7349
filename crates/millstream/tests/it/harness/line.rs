//! A line to a server that is longer than the loopback: bytes arrive later than they were sent, by a delay that
//! varies, in order. It can hang: then nothing is taken on either side, and nobody is told.
//!
//! Two threads a connection and direction; what is on its way is bounded by [`ON_ITS_WAY`] blocks.

use super::{Noise, pause};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Blocks between reading and writing.
const ON_ITS_WAY: usize = 64;

/// Bytes the kernel may hold for us, so that a line that hangs is soon full.
const KERNEL: usize = 32 << 10;

/// Ends with this value, and all its connections with it.
pub(crate) struct Line {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    to: SocketAddr,
    delay: Duration,
    /// On top of it, at most.
    jitter: Duration,
    hangs: AtomicBool,
    ended: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Line {
    /// A line to that server, `delay` and up to `jitter` more each way.
    pub(crate) fn to(to: SocketAddr, delay: Duration, jitter: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let _ = SockRef::from(&listener).set_recv_buffer_size(KERNEL);
        let address = listener.local_addr().expect("a listener has an address");
        let (hangs, ended, sockets) = (AtomicBool::new(false), AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { to, delay, jitter, hangs, ended, sockets });
        let serving = shared.clone();
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                serving.connect(socket);
            }
        });
        Self { shared, address }
    }

    /// For a configuration.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Nothing is taken or given any more, or it is again.
    pub(crate) fn hang(&self, hangs: bool) {
        self.shared.hangs.store(hangs, Ordering::Relaxed);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for socket in self.shared.sockets.lock().expect("no holder panics").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, near: TcpStream) {
        // Who cannot be reached looks to the other side as if it had closed at once.
        let Ok(far) = TcpStream::connect(self.to) else { return };
        for socket in [&near, &far] {
            let _ = socket.set_nodelay(true);
            let copy = socket.try_clone().expect("a socket can be cloned");
            self.sockets.lock().expect("no holder panics").push(copy);
        }
        let copy = |socket: &TcpStream| socket.try_clone().expect("a socket can be cloned");
        for (seed, from, to) in [(1, copy(&near), copy(&far)), (2, far, near)] {
            let (send, receive) = sync_channel(ON_ITS_WAY);
            let (reading, writing) = (self.clone(), self.clone());
            std::thread::spawn(move || reading.read(from, &send, seed));
            std::thread::spawn(move || writing.write(to, &receive));
        }
    }

    fn read(&self, mut from: TcpStream, send: &SyncSender<(Instant, Vec<u8>)>, seed: u64) {
        let mut noise = Noise::new(seed);
        let mut block = [0; 16 << 10];
        loop {
            self.wait_while_it_hangs();
            let Ok(n @ 1..) = from.read(&mut block) else { return };
            let jitter = self.jitter.mul_f64((noise.next() >> 40) as f64 / f64::from(1 << 24));
            if send.send((Instant::now() + self.delay + jitter, block[..n].to_vec())).is_err() {
                return;
            }
        }
    }

    fn write(&self, mut to: TcpStream, receive: &Receiver<(Instant, Vec<u8>)>) {
        while let Ok((due, bytes)) = receive.recv() {
            while Instant::now() < due {
                pause();
            }
            self.wait_while_it_hangs();
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }

    fn wait_while_it_hangs(&self) {
        while self.hangs.load(Ordering::Relaxed) && !self.ended.load(Ordering::Relaxed) {
            pause();
        }
    }
}
