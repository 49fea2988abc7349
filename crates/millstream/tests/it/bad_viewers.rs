//! Many viewers of whom some read slowly and some not at all: the others receive every frame, memory stays
//! bounded, and each skip is counted in the log where a viewer's end is told.

use crate::harness::client::{Player, Publisher};
use crate::harness::media::{FlvViewer, Viewer, avc, avc_header, serial};
use crate::harness::server::{Conf, Server};
use crate::harness::{SOON, wait_until};

/// Frames in a group of pictures, which lasts a second.
const GROUP: u32 = 25;
/// A group has two megabytes: more than the sockets of a viewer who does not read can hide.
const FRAME: usize = 80_000;
const GROUPS: u32 = 12;
const GOOD: usize = 8;
/// Of each protocol.
const DEAD: usize = 3;
/// The running group and the second of `queue_length`, in two lanes, and what bad viewers have begun.
const GROWTH_KB: u64 = 48 << 10;

fn send_group(publisher: &mut Publisher, group: u32) {
    for n in group * GROUP..(group + 1) * GROUP {
        publisher.send(9, 40 * n, &avc(n % GROUP == 0, n, FRAME));
    }
}

/// The skips that each viewer told when it ended.
fn skips(server: &Server) -> Vec<u32> {
    let log = server.log();
    let told = log.lines().filter_map(|line| line.split("skips=").nth(1));
    told.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn good_viewers_get_everything_beside_slow_and_dead_ones_whose_skips_are_counted() {
    let server = Server::start(&Conf::vhost("play { queue_length 1; }"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &avc_header());
    send_group(&mut publisher, 0);

    let mut rtmp: Vec<Player> = (0..GOOD).map(|_| Player::start(&server, "live/s")).collect();
    let mut http: Vec<FlvViewer> = (0..GOOD).map(|_| FlvViewer::open(&server, "/live/s.flv")).collect();
    let dead_rtmp: Vec<Player> = (0..DEAD).map(|_| Player::start(&server, "live/s")).collect();
    let dead_http: Vec<FlvViewer> = (0..DEAD).map(|_| FlvViewer::open(&server, "/live/s.flv")).collect();
    // Takes one frame while the others take a group.
    let mut slow = Player::start(&server, "live/s");
    for viewer in &mut rtmp {
        viewer.until_serial(GROUP - 1);
    }
    for viewer in &mut http {
        viewer.until_serial(GROUP - 1);
    }

    let before = server.rss_kb();
    let mut most = before;
    for group in 1..GROUPS {
        send_group(&mut publisher, group);
        let wanted: Vec<u32> = (group * GROUP..(group + 1) * GROUP).collect();
        let last = (group + 1) * GROUP - 1;
        let missed_nothing = |tags: Vec<_>| assert_eq!(tags.iter().map(serial).collect::<Vec<_>>(), wanted);
        rtmp.iter_mut().for_each(|viewer| missed_nothing(viewer.until_serial(last)));
        http.iter_mut().for_each(|viewer| missed_nothing(viewer.until_serial(last)));
        slow.frame();
        most = most.max(server.rss_kb());
    }
    assert!(most < before + GROWTH_KB, "the server grew from {before} kB to {most} kB");

    // The slow one reads on, and comes to a hole.
    let mut last = serial(&slow.frame());
    let end = std::time::Instant::now() + SOON;
    loop {
        let next = serial(&slow.frame());
        if next != last + 1 {
            break;
        }
        last = next;
        assert!(std::time::Instant::now() < end, "it has not come to the hole yet, at frame {last}");
    }
    drop(slow);
    drop((rtmp, http, dead_rtmp, dead_http));
    let told = 2 * GOOD + 2 * DEAD + 1;
    wait_until("every viewer's end is told", SOON, || skips(&server).len() == told);
    let skips = skips(&server);
    assert_eq!(skips.iter().filter(|&&n| n == 0).count(), told - 1, "{skips:?}");
    assert!(skips.iter().sum::<u32>() >= 1, "{skips:?}");
}
