//! Ends, order and bounds, without the rest of the server.

use std::net::Ipv4Addr;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mill_config::model::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clients::{Clients, Kind};
use crate::identity::Identity;
use crate::tasks::Tasks;

const SOON: Duration = Duration::from_secs(20);

fn config(url: &str) -> Snapshot {
    let text = format!(
        "listen 1935; vhost v {{ http_hooks {{ enabled on; on_close {url}; on_unpublish {url}; on_stop {url}; }} }}"
    );
    let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap().snapshot
}

fn peer(id: u64) -> Peer {
    let nothing: Arc<str> = Arc::default();
    let (ip, traffic) = (Ipv4Addr::LOCALHOST.into(), Arc::default());
    Peer { id, ip, tc_url: nothing.clone(), page_url: nothing.clone(), swf_url: nothing, traffic }
}

fn stream(name: &str) -> StreamId {
    StreamId { vhost: "v".into(), app: "live".into(), name: name.into() }
}

/// A callback server that says yes and gives `action client_id` of each call, until it is dropped.
async fn listen(listener: TcpListener, heard: &parking_lot::Mutex<Vec<String>>) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => connections.push(answer(accepted.unwrap().0, heard)),
            Some(()) = connections.next(), if !connections.is_empty() => {}
        }
    }
}

async fn answer(mut socket: TcpStream, heard: &parking_lot::Mutex<Vec<String>>) {
    let mut request = Vec::new();
    while socket.read_buf(&mut request).await.is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((_, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| body.ends_with('}')) {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            heard.lock().push(format!("{} {}", body["action"].as_str().unwrap(), body["client_id"]));
            request.clear();
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0").await.unwrap();
        }
    }
}

#[tokio::test]
async fn who_is_cut_is_told_of_once_and_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(&format!("http://{}/", listener.local_addr().unwrap()));
    let (hooks, tasks, clients) = (Hooks::new(1), Tasks::new(0), Clients::new(Arc::new(Identity::new(1, 0))));
    let vhost = config.vhost("v").unwrap().clone();
    for (id, kind, action) in [(1, Kind::FmlePublish, Action::Publish), (2, Kind::Play, Action::Play)] {
        let peer = peer(id);
        let goodbye =
            Goodbye { hooks: hooks.clone(), peer: peer.clone(), vhost: vhost.clone(), stream: stream("s") };
        let stream = stream("s");
        let subject = Subject { peer: &peer, stream: &stream, param: "" };
        let farewell = hooks.begin(&vhost, action, &subject).await.unwrap();
        let presence = clients.enter(peer, kind, stream).bids(farewell);
        let (started, start) = tokio::sync::oneshot::channel();
        tasks.spawn(id, async move {
            let _goodbye = goodbye;
            let _presence = presence;
            let _ = started.send(());
            std::future::pending::<()>().await;
        });
        start.await.unwrap();
    }
    assert_eq!(hooks.stats().waiting, 0);
    for (id, waiting) in [(1, 2), (2, 4)] {
        assert!(tasks.cut(id));
        let told = async {
            while hooks.stats().waiting < waiting {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, told).await.unwrap();
        assert!(!tasks.cut(id), "it has gone");
    }
    assert!(clients.all().is_empty());
    let heard = parking_lot::Mutex::default();
    tokio::select! {
        () = hooks.flush(SOON) => {}
        () = listen(listener, &heard) => {}
    }
    assert_eq!(*heard.lock(), ["on_unpublish 1", "on_close 1", "on_stop 2", "on_close 2"]);
    let stats = hooks.stats();
    assert_eq!((stats.calls, stats.waiting, stats.lost), (4, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_runs_dry_again_and_again_keeps_its_order() {
    const EVENTS: u64 = 300;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(&format!("http://{}/", listener.local_addr().unwrap()));
    let (hooks, vhost) = (Hooks::new(1), config.vhost("v").unwrap().clone());
    let adding = hooks.clone();
    let added = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        for n in 0..EVENTS {
            let body = format!(r#"{{"action":"on_stop","client_id":{n}}}"#);
            adding.tell(&vhost, Action::Stop, &"v/live/s".into(), &body.into());
            // The next comes as the line runs dry.
            while adding.stats().waiting > n % 3 {
                std::thread::yield_now();
                assert!(begun.elapsed() < SOON, "{}", adding.stats());
            }
        }
    });
    let heard = parking_lot::Mutex::default();
    let all = async {
        tokio::select! {
            () = hooks.clone().run() => {}
            () = listen(listener, &heard) => {}
            added = added => added.unwrap(),
        }
    };
    tokio::time::timeout(SOON, all).await.unwrap();
    let expected: Vec<String> = (0..heard.lock().len()).map(|n| format!("on_stop {n}")).collect();
    assert_eq!(*heard.lock(), expected);
    assert!(heard.lock().len() as u64 >= EVENTS - 3, "the last few may be on their way");
    let stats = hooks.stats();
    assert_eq!((stats.lost, stats.retries, stats.calls >= EVENTS - 3), (0, 0, true), "{stats}");
}

#[tokio::test]
async fn what_is_cancelled_is_not_told() {
    let config = config("http://127.0.0.1:1/");
    let (hooks, vhost) = (Hooks::new(1), config.vhost("v").unwrap());
    let (peer, stream) = (peer(1), stream("s"));
    let subject = Subject { peer: &peer, stream: &stream, param: "" };
    let mut farewell = hooks.begin(vhost, Action::Publish, &subject).await.unwrap().unwrap();
    farewell.cancel();
    drop(farewell);
    assert_eq!(hooks.stats().waiting, 0);
}

#[test]
fn what_waits_is_bounded_and_loss_is_counted() {
    let config = config("http://127.0.0.1:1/");
    let (hooks, vhost) = (Hooks::new(1), config.vhost("v").unwrap());
    let body = Bytes::from(vec![b' '; 100_000]);
    let mut last = 0;
    // 16 MiB for a stream, 64 MiB for all.
    for (streams, most) in [(1, 167), (4, 668), (10, 671)] {
        for n in 0..streams * 1000 {
            hooks.tell(vhost, Action::Stop, &format!("v/live/s{}", n % streams).into(), &body);
        }
        let stats = hooks.stats();
        assert!(stats.waiting > last && stats.waiting <= most, "{stats}");
        assert!(stats.lost > 0);
        last = stats.waiting;
    }
}

#[tokio::test]
async fn a_line_that_is_through_leaves_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(&format!("http://{}/", listener.local_addr().unwrap()));
    let (hooks, vhost) = (Hooks::new(1), config.vhost("v").unwrap());
    for n in 0..100 {
        let body = format!(r#"{{"action":"on_stop","client_id":{n}}}"#);
        hooks.tell(vhost, Action::Stop, &"v/live/s".into(), &body.into());
    }
    let heard = parking_lot::Mutex::default();
    tokio::select! {
        () = hooks.flush(SOON) => {}
        () = listen(listener, &heard) => {}
    }
    let expected: Vec<String> = (0..100).map(|n| format!("on_stop {n}")).collect();
    assert_eq!(*heard.lock(), expected);
    assert!(hooks.queue.is_empty());
}
