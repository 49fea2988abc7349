//! HLS on real disks that are full, or that hang: memory serves, `hls_on_error` decides, and the disk gets it all when it
//! can.

use crate::harness::client::Publisher;
use crate::harness::disk::Disk;
use crate::harness::http::Http;
use crate::harness::media::{FlvViewer, Viewer, avc};
use crate::harness::playlist::Playlist;
use crate::harness::server::{Conf, Folder, Server};
use crate::harness::{PATIENCE, SOON, wait_until};
use crate::hls::show;
use std::time::Duration;

const LIST: &str = "/live/s.m3u8";

fn hls(more: &str) -> Conf {
    Conf::vhost("publish { normal_timeout 60000; }").and_vhost(&format!(
        "hls {{ enabled on; hls_fragment 1; hls_window 600; hls_path ./html; hls_ctx off; {more} }}"
    ))
}

/// All that is in the list can be had.
#[track_caller]
fn assert_served(server: &Server, list: &Playlist) {
    for segment in &list.segments {
        let mut answer = Http::get(server.http_addr(), &format!("/live/{}", segment.uri));
        assert_eq!(answer.head.status, 200, "{segment:?}");
        assert!(answer.read_to_end(SOON).len() > 188, "{segment:?}");
    }
}

/// The disk has the list that viewers have, and what is in it.
#[track_caller]
fn await_disk(server: &Server) {
    wait_until("the disk has it all", PATIENCE, || {
        let list = Playlist::get(server, LIST).unwrap();
        let text = std::fs::read_to_string(server.dir().join("html/live/s.m3u8")).unwrap_or_default();
        let has = |uri: &str| server.dir().join("html/live").join(uri).is_file();
        text.starts_with("#EXTM3U")
            && Playlist::read(&text) == list
            && list.segments.iter().all(|segment| has(&segment.uri))
    });
}

/// Each policy, and in each case viewers go on.
#[test]
fn a_disk_that_fills_up() {
    for policy in ["continue", "ignore", "disconnect"] {
        let server = Server::start(&hls(&format!("hls_on_error {policy};")));
        let Some(disk) = Disk::of_memory(&server.dir().join("html"), "2m") else { return };
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.headers(0);
        show(&mut publisher, 0, 3000);
        let mut viewer = FlvViewer::open(&server, "/live/s.flv");
        let before = Playlist::wait(&server, LIST, "segments", |list| list.next() >= 2);
        await_disk(&server);
        let ballast = disk.fill();
        if policy == "disconnect" {
            let mut at = 3000;
            wait_until("the publisher is dropped", PATIENCE, || {
                at += 40;
                publisher.try_send(9, at, &avc(true, at, 100));
                publisher.is_closed(Duration::from_millis(20))
            });
        } else {
            show(&mut publisher, 3000, 6000);
        }
        wait_until("it says what is wrong", SOON, || server.log().contains("No space left"));
        let full = Playlist::wait(&server, LIST, "memory serves", |list| list.next() >= 3);
        full.assert_follows(&before);
        assert_served(&server, &full);
        match policy {
            "continue" => {
                show(&mut publisher, 6000, 9000);
                viewer.find("viewers notice nothing", |tag| tag.timestamp >= 8900);
                let later = Playlist::wait(&server, LIST, "it goes on in memory", |list| list.next() >= 8);
                later.assert_follows(&full);
                assert_served(&server, &later);
            }
            "ignore" => {
                wait_until("HLS is given up", SOON, || server.log().contains("hls_on_error ignore"));
                show(&mut publisher, 6000, 9000);
                viewer.find("viewers notice nothing", |tag| tag.timestamp >= 8900);
                assert!(Playlist::get(&server, LIST).unwrap().next() <= 6, "the rest has no HLS");
            }
            _ => assert!(server.log().contains("hls_on_error disconnect")),
        }
        drop(ballast);
        if policy != "continue" {
            // The next publish has HLS again, and goes on.
            drop(publisher);
            publisher = Publisher::start(&server, "live/s");
            publisher.headers(0);
            show(&mut publisher, 0, 3000);
            let list = Playlist::wait(&server, LIST, "it goes on", |list| list.next() >= full.next() + 2);
            list.assert_follows(&full);
        }
        await_disk(&server);
        assert!(server.log().contains("the disk takes files again"));
    }
}

#[test]
fn a_disk_that_hangs() {
    let work = Folder::new();
    let server = Server::start(&hls("hls_on_error disconnect;"));
    let Some(disk) = Disk::of_file(&work.path().join("image"), &server.dir().join("html")) else { return };
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 3000);
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    let mut last = Playlist::wait(&server, LIST, "segments", |list| list.next() >= 2);
    await_disk(&server);
    let hanging = disk.hang();
    for round in 1..4 {
        show(&mut publisher, round * 3000, (round + 1) * 3000);
        let list = Playlist::wait(&server, LIST, "memory goes on", |list| list.next() >= last.next() + 3);
        list.assert_follows(&last);
        assert_served(&server, &list);
        last = list;
    }
    viewer.find("viewers notice nothing", |tag| tag.timestamp >= 11_900);
    // Nor does somebody who begins meanwhile.
    let mut other = Publisher::start(&server, "live/other");
    other.headers(0);
    show(&mut other, 0, 3000);
    Playlist::wait(&server, "/live/other.m3u8", "memory serves it too", |list| list.next() >= 2);
    let written = std::fs::read_to_string(server.dir().join("html/live/s.m3u8")).unwrap();
    assert!(Playlist::read(&written).next() < last.next(), "the disk did hang");
    drop(hanging);
    await_disk(&server);
    publisher.unpublish();
    assert!(!server.log().contains("has not taken a file"), "waiting is no failure");
}
