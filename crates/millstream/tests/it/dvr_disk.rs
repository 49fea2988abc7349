//! Recordings on real disks that are full, or that hang.

use crate::dvr::{assert_plays, duration, files, journal, recording, told};
use crate::harness::api;
use crate::harness::backend::Backend;
use crate::harness::disk::Disk;
use crate::harness::ffmpeg::{pictures, publish_both};
use crate::harness::media::{FlvViewer, Viewer};
use crate::harness::server::{Folder, Server};
use crate::harness::{SOON, wait_until};
use serde_json::Value;

fn state(server: &Server) -> Value {
    api::list(&api::get(server, "dvrs"), "dvrs")[0].clone()
}

fn recorded_ms(server: &Server) -> i64 {
    state(server)["duration"].as_i64().unwrap_or(0)
}

#[test]
fn a_small_disk_that_fills_up_costs_nothing_that_was_safe() {
    for ending in ["flv", "mp4"] {
        let backend = Backend::start();
        let server = Server::start(&told(&backend, &format!("dvr_path ./rec/[stream].{ending};")));
        let rec = server.dir().join("rec");
        let Some(disk) = Disk::of_memory(&rec, "24m") else { return };
        let encoder = publish_both(&server.rtmp("live/show"));
        let mut viewer = FlvViewer::open(&server, "/live/show.flv");
        assert!(viewer.began(SOON));
        wait_until("some of it is safe", SOON, || recorded_ms(&server) > 2000);
        let safe = recorded_ms(&server);
        let ballast = disk.fill();
        wait_until("it says what is wrong", SOON, || {
            state(&server)["error"].as_str().is_some_and(|error| error.contains("No space left"))
        });
        assert_eq!(viewer.ended(), None);
        drop(ballast);
        wait_until("it goes on", SOON, || {
            state(&server)["state"] == "recording" && recorded_ms(&server) > 1000
        });
        assert_eq!(viewer.ended(), None, "viewers notice nothing");
        drop(encoder);
        wait_until("all is told", SOON, || backend.calls().len() >= 2 && journal(server.dir()) == 0);
        let made = files(&rec);
        assert_eq!(made.len(), backend.calls().len(), "{made:?}");
        made.iter().for_each(|file| assert_plays(file));
        let longest = made.iter().map(|file| (duration(file) * 1000.0) as i64).max().unwrap();
        // What the state says is on its way to the disk; `dvr_flush` is a second, and an MP4 file is written by it.
        assert!(longest >= safe - 1100, "{longest} ms of {safe}");
    }
}

#[test]
fn a_disk_that_hangs_keeps_nobody_waiting_and_misses_nothing() {
    let work = Folder::new();
    for ending in ["flv", "mp4"] {
        let server = Server::start(&recording(&format!("dvr_path ./rec/[stream].{ending};")));
        let rec = server.dir().join("rec");
        let Some(disk) = Disk::of_file(&work.path().join("image"), &rec) else { return };
        let encoder = publish_both(&server.rtmp("live/show"));
        let mut viewer = FlvViewer::open(&server, "/live/show.flv");
        assert!(viewer.began(SOON));
        wait_until("it is recorded", SOON, || recorded_ms(&server) > 500);
        let hanging = disk.hang();
        let before = recorded_ms(&server);
        for _ in 0..75 {
            viewer.find("three seconds of pictures", |tag| tag.tag_type == 9);
        }
        let frames = || {
            let streams = api::get(&server, "streams/");
            api::list(&streams, "streams")[0]["frames"].as_u64().unwrap_or(0)
        };
        let then = frames();
        wait_until("the publisher goes on", SOON, || frames() > then + 25);
        assert!(recorded_ms(&server) - before < 1500, "nothing was written meanwhile");
        drop(hanging);
        let during = recorded_ms(&server);
        wait_until("all of it is written", SOON, || recorded_ms(&server) > during + 3000);
        assert_eq!((&state(&server)["lost"], &state(&server)["error"]), (&0.into(), &"".into()));
        drop(encoder);
        wait_until("it is complete", SOON, || {
            files(&rec).iter().any(|file| file.ends_with(format!("show.{ending}")))
                && journal(server.dir()) == 0
        });
        let file = rec.join(format!("show.{ending}"));
        assert_plays(&file);
        let pictures = pictures(&file).len() as f64;
        let wanted = duration(&file) * 25.0;
        assert!((pictures - wanted).abs() < 5.0, "{pictures} pictures in {} s", duration(&file));
    }
}
