//! Draws the results as an SVG bar chart: one panel per figure, one group of bars per case, one bar per
//! server. A bar is the median of the rounds; the thin line over it spans from the best to the worst.

use super::result::Line;
use std::fmt::Write;

/// Figures worth a picture: test, loadgen's name for it, what it says.
const PANELS: &[(&str, &str, &str)] = &[
    ("play", "cpu_s_per_gbit", "players: processor seconds per gigabit"),
    ("memory", "rss_kb_per_player_more", "players: resident memory of one more, kB"),
    ("play", "gbits", "players: gigabits delivered in the window"),
    ("play", "rss_kb_per_client", "players: resident memory each, kB"),
    ("play", "ttfb_ms_p99", "players: first frame after, ms, 99 of 100"),
    ("publish", "cpu_s_per_gbit", "publishers: processor seconds per gigabit"),
    ("publish", "rss_kb_per_stream", "publishers: resident memory each, kB"),
    ("idle", "rss_kb_per_client", "waiting players: resident memory each, kB"),
    ("latency", "ms_p50", "delay from publisher to player, ms, median"),
    ("latency", "ms_p99", "delay from publisher to player, ms, 99 of 100"),
    ("storm", "cpu_ms_per_cycle", "connect, play, leave: processor ms"),
];

const WIDTH: f64 = 860.0;
const LEFT: f64 = 210.0;
/// Right of the longest bar: its figure.
const RIGHT: f64 = 80.0;
const BAR: f64 = 16.0;

/// One bar.
struct Bar<'a> {
    server: &'a str,
    median: f64,
    best: f64,
    worst: f64,
}

/// The whole picture.
pub(super) fn draw(lines: &[Line]) -> String {
    let mut servers: Vec<&str> = Vec::new();
    for line in lines {
        if !servers.contains(&line.server) {
            servers.push(line.server);
        }
    }
    let mut body = String::new();
    let mut y = 20.0;
    for (test, figure, title) in PANELS {
        let groups = groups(lines, &servers, test, figure);
        if !groups.is_empty() {
            y = panel(&mut body, y, title, &groups, &servers);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

/// The bars of one panel by case, cases in the order in which they were run.
fn groups<'a>(
    lines: &[Line<'a>],
    servers: &[&'a str],
    test: &str,
    figure: &str,
) -> Vec<(String, Vec<Bar<'a>>)> {
    let mut cases: Vec<(&str, &str, u32)> = Vec::new();
    for line in lines.iter().filter(|line| line.test == test) {
        let case = (line.label, line.proto, line.count);
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    let bars = |label: &str, proto: &str, count: u32| -> Vec<Bar<'a>> {
        servers
            .iter()
            .filter_map(|server| {
                let mut all: Vec<f64> = lines
                    .iter()
                    .filter(|l| {
                        (l.server, l.test, l.label, l.proto, l.count) == (*server, test, label, proto, count)
                    })
                    .filter_map(|line| line.figure(figure))
                    .filter(|v| v.is_finite())
                    .collect();
                all.sort_by(f64::total_cmp);
                let (best, worst) = (*all.first()?, *all.last()?);
                Some(Bar { server, median: all[all.len() / 2].max(0.0), best, worst })
            })
            .collect()
    };
    cases
        .into_iter()
        .map(|(label, proto, count)| (format!("{label} {proto}, {count}"), bars(label, proto, count)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect()
}

/// Writes one panel below `y`; returns where the next one may begin.
fn panel(out: &mut String, mut y: f64, title: &str, groups: &[(String, Vec<Bar>)], servers: &[&str]) -> f64 {
    let most =
        groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.worst).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    y += 10.0;
    let _ = writeln!(out, "<text x=\"16\" y=\"{y}\" font-weight=\"bold\">{}</text>", escape(title));
    y += 10.0;
    for (case, bars) in groups {
        let _ = writeln!(out, "<text x=\"16\" y=\"{}\" fill=\"#555\">{}</text>", y + 12.0, escape(case));
        for bar in bars {
            let middle = y + BAR / 2.0;
            let width = (bar.median * scale).max(1.0);
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LEFT}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>\
                 <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#222\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>",
                LEFT - 8.0,
                y + 12.0,
                escape(bar.server),
                y + 2.0,
                BAR - 4.0,
                colour(bar.server, servers),
                LEFT + bar.best.max(0.0) * scale,
                LEFT + bar.worst.max(0.0) * scale,
                LEFT + width.max(bar.worst * scale) + 6.0,
                y + 12.0,
                short(bar.median),
            );
            y += BAR;
        }
        y += 8.0;
    }
    y + 16.0
}

/// The server under test stands out, the floors step back, others are told apart.
fn colour(server: &str, servers: &[&str]) -> &'static str {
    const OTHERS: &[&str] = &["#c9804a", "#7b6fb5", "#5a9a68", "#b9577d", "#8a8a3a"];
    match server {
        "millstream" => "#2f7fb8",
        "sink" => "#c4c4c4",
        s if s.starts_with("floor") => "#c4c4c4",
        _ => OTHERS[servers.iter().position(|s| *s == server).unwrap_or(0) % OTHERS.len()],
    }
}

fn short(v: f64) -> String {
    match v {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.1}"),
        _ => format!("{v:.3}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::result;
    use super::*;

    #[test]
    fn one_bar_per_server_and_case_at_the_median() {
        let mut text = String::new();
        for (server, value) in
            [("millstream", 0.05), ("millstream", 0.06), ("millstream", 0.09), ("floor-350", 0.04)]
        {
            text += &format!(
                "{{\"server\":\"{server}\",\"case\":\"play\",\"case_proto\":\"rtmp\",\"case_n\":10,\"label\":\"fanout\",\"cpu_s_per_gbit\":{value}}}\n"
            );
        }
        let svg = draw(&result::parse(&text));
        assert_eq!(svg.matches("<rect x=").count(), 2, "{svg}");
        assert!(svg.contains(">0.060<"), "{svg}");
        assert!(svg.contains(">fanout rtmp, 10<"), "{svg}");
    }

    #[test]
    fn names_cannot_break_the_picture() {
        assert_eq!(escape("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
