//! The player page in a real browser: a real stream plays in each format, over HTTP/1 and HTTP/2.

use crate::harness::browser::Browser;
use crate::harness::ffmpeg::{AAC, AUDIO, H264, VIDEO, make, publish_file, tool};
use crate::harness::http::Http;
use crate::harness::process::Process;
use crate::harness::server::{Conf, Ports, Server, await_port, local};
use crate::harness::tls::Pair;
use crate::harness::{PATIENCE, SOON, pause, wait_until};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;

const STATE: &str = "(() => {
    const video = document.querySelector('video');
    return video && document.readyState === 'complete' ? {
        time: video.currentTime,
        frames: video.getVideoPlaybackQuality().totalVideoFrames,
        width: video.videoWidth,
        state: document.getElementById('state').textContent,
        failed: document.getElementById('state').classList.contains('error'),
        address: document.getElementById('url').value,
        decoded: Number(document.getElementById('decoded').textContent),
        buffered: document.getElementById('buffered').textContent,
    } : null;
})()";

/// Opens the page and waits until three seconds of the stream were shown, with no error.
#[track_caller]
fn plays(mut browser: Browser, page: &str, address: &str) {
    browser.open(page);
    let end = Instant::now() + PATIENCE + SOON;
    let mut begun: Option<f64> = None;
    loop {
        let state: Value = browser.evaluate(STATE);
        let context = || format!("{page}: {state} {:?}", browser.complaints());
        if !state.is_null() {
            assert_eq!(state["address"], address, "{}", context());
            assert_eq!(state["failed"], false, "{}", context());
            let time = state["time"].as_f64().unwrap_or(0.0);
            if time > 0.0 {
                let begun = *begun.get_or_insert(time);
                let says = |name: &str| state[name].as_str().unwrap_or_default();
                if time - begun >= 3.0
                    && state["frames"].as_u64() > Some(30)
                    && state["decoded"].as_u64() > Some(0)
                    && says("state").starts_with("Playing")
                    && says("buffered") != "–"
                {
                    assert_eq!(state["width"], 320, "{}", context());
                    assert!(browser.complaints().is_empty(), "{}", context());
                    return;
                }
            }
        }
        assert!(Instant::now() < end, "it does not play: {}", context());
        pause();
    }
}

/// Made before it is sent, so that the machine is the browser's.
fn clip(server: &Server) -> PathBuf {
    let clip = server.dir().join("clip.flv");
    make(&format!("-t 100 {VIDEO} -t 100 {AUDIO} {H264} {AAC} -f flv"), &clip);
    clip
}

fn publish(server: &Server, stream: &str) -> Process {
    publish_file(&clip(server), &server.rtmp(stream))
}

/// Waits until a GET of it is good: then there is something to play.
#[track_caller]
fn await_file(server: &Server, path: &str) {
    wait_until(path, PATIENCE, || Http::get(server.http_addr(), path).head.status == 200);
}

#[test]
fn flv_plays() {
    let browser = Browser::start();
    let server = Server::plain();
    let _encoder = publish(&server, "live/livestream");
    let page = server.http("players/srs_player.html?app=live&stream=livestream&autostart=true&token=a%26b");
    plays(browser, &page, &server.http("live/livestream.flv?token=a%26b"));
}

#[test]
fn ts_plays() {
    let browser = Browser::start();
    let server = Server::start(&Conf::mounting("ts", ""));
    let _encoder = publish(&server, "show/one");
    let page = server.http("players/?app=show&stream=one.ts&autostart=true");
    plays(browser, &page, &server.http("show/one.ts"));
}

/// An encoder that writes the files of HLS or DASH into the server's directory.
fn package(server: &Server, format: &str, name: &str) -> Process {
    let dir = server.dir().join("html/live");
    std::fs::create_dir_all(&dir).unwrap();
    let args = format!("-nostdin -v error -re -i {} -c copy {format} {name}", clip(server).display());
    Process::start(tool("ffmpeg", &args).current_dir(dir))
}

#[test]
fn hls_files_play() {
    let browser = Browser::start();
    let server = Server::plain();
    let _encoder = package(&server, "-f hls -hls_time 1 -hls_list_size 8", "a.m3u8");
    await_file(&server, "/live/a.m3u8");
    plays(browser, &server.http("players/?stream=a.m3u8&autostart=true"), &server.http("live/a.m3u8"));
}

#[test]
fn dash_files_play() {
    let browser = Browser::start();
    let server = Server::plain();
    let _encoder = package(&server, "-f dash -seg_duration 1 -window_size 8", "a.mpd");
    await_file(&server, "/live/a.mpd");
    plays(browser, &server.http("players/?stream=a.mpd&autostart=true"), &server.http("live/a.mpd"));
}

#[test]
fn hls_plays() {
    let browser = Browser::start();
    let server =
        Server::start(&Conf::vhost("hls { enabled on; hls_fragment 1; hls_window 20; hls_path ./html; }"));
    let _encoder = publish(&server, "live/a");
    await_file(&server, "/live/a.m3u8");
    plays(browser, &server.http("players/?stream=a.m3u8&autostart=true"), &server.http("live/a.m3u8"));
}

#[test]
fn dash_plays() {
    let browser = Browser::start();
    let server = Server::start(&Conf::vhost("dash { enabled on; dash_fragment 1; dash_path ./html; }"));
    let _encoder = publish(&server, "live/a");
    await_file(&server, "/live/a.mpd");
    plays(browser, &server.http("players/?stream=a.mpd&autostart=true"), &server.http("live/a.mpd"));
}

/// Rules for viewers of HLS hold for every way to its files.
#[test]
fn files_on_the_disk_are_no_way_round_the_rules() {
    let rules = "security { enabled on; allow publish all; deny play all; } hls { enabled on; hls_fragment 1; hls_path ./html; }";
    let server = Server::start(&Conf::vhost(rules));
    let _encoder = publish(&server, "live/a");
    wait_until("the playlist is on the disk", PATIENCE, || server.dir().join("html/live/a.m3u8").exists());
    for path in [
        "/live/a.m3u8",
        "//live/a.m3u8",
        "/live//a.m3u8",
        "/live/a%2em3u8",
        "/live%2fa.m3u8",
        "/live/./a.m3u8",
    ] {
        let head = Http::get(server.http_addr(), path).head;
        assert!(matches!(head.status, 302 | 403 | 404), "{path}: {}", head.status);
        let to = head.header("location").unwrap_or("/live/a.m3u8");
        assert_eq!(to, "/live/a.m3u8", "{path}");
    }
}

#[test]
fn flv_plays_over_http2() {
    let browser = Browser::start();
    let (pair, tls) = (Pair::new(), Ports::free());
    let server = Server::start_with(|command, ports, dir| {
        pair.write(dir);
        let text = Conf::default().text(ports, dir).replace(
            "http_server { ",
            &format!("http_server {{ https {{ enabled on; listen 127.0.0.1:{}; key ./server.key; cert ./server.crt; }} ", tls.http),
        );
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    await_port(local(tls.http));
    let _encoder = publish(&server, "live/livestream");
    let base = format!("https://127.0.0.1:{}", tls.http);
    plays(browser, &format!("{base}/players/?autostart=true"), &format!("{base}/live/livestream.flv"));
    // What is asked for with a host in it came over HTTP/2.
    assert!(server.log().contains(&format!("HTTP GET {base}/live/livestream.flv")), "it was not HTTP/2");
}

#[test]
fn a_file_of_the_operator_wins_over_the_page() {
    let server = Server::plain();
    let page = || {
        String::from_utf8(Http::get(server.http_addr(), "/players/srs_player.html").read_to_end(SOON))
            .unwrap()
    };
    assert!(page().contains("player.js"));
    std::fs::create_dir_all(server.dir().join("html/players")).unwrap();
    std::fs::write(server.dir().join("html/players/srs_player.html"), "mine").unwrap();
    assert_eq!(page(), "mine");
    let policy =
        Http::get(server.http_addr(), "/players/").head.header("content-security-policy").map(str::to_owned);
    assert!(policy.unwrap().contains("default-src 'none'"));
}

#[test]
fn the_page_says_why_it_cannot_play() {
    let server = Server::plain();
    let mut browser = Browser::start();
    browser.open(&server.http("players/?stream=nothing.m3u8&autostart=true"));
    wait_until("the page gives up", PATIENCE, || {
        let state = browser.evaluate(STATE);
        state["failed"] == true && state["state"].as_str().is_some_and(|text| text.starts_with("Cannot play"))
    });
}
