//! The lines that loadgen wrote, as far as the chart needs them.
//!
//! Each line is one flat JSON object with plain names, so looking for `"name":` is all the parsing there
//! is; a JSON library would be this package's only dependency.

/// One measurement.
pub(super) struct Line<'a> {
    text: &'a str,
    /// Which server was measured.
    pub(super) server: &'a str,
    /// play, publish, latency or storm.
    pub(super) test: &'a str,
    /// rtmp or flv.
    pub(super) proto: &'a str,
    /// The section of the run.
    pub(super) label: &'a str,
    /// How many players, publishers or connections.
    pub(super) count: u32,
}

impl Line<'_> {
    /// A measured figure.
    pub(super) fn figure(&self, name: &str) -> Option<f64> {
        number(self.text, name)
    }
}

/// All lines that are whole.
pub(super) fn parse(text: &str) -> Vec<Line<'_>> {
    text.lines()
        .filter_map(|text| {
            Some(Line {
                text,
                server: word(text, "server")?,
                test: word(text, "case")?,
                proto: word(text, "case_proto")?,
                label: word(text, "label").unwrap_or_default(),
                count: number(text, "case_n")? as u32,
            })
        })
        .collect()
}

/// What one player more costs, by section `memory`: the difference of its two counts, a line for each server
/// and protocol.
pub(super) fn memory_of_one_more(lines: &[Line]) -> Vec<String> {
    let lines: Vec<_> = lines.iter().filter(|line| line.label == "memory").collect();
    let mut cases: Vec<_> = lines.iter().map(|line| (line.server, line.proto)).collect();
    cases.sort_unstable();
    cases.dedup();
    let slope = |(server, proto): (&str, &str)| {
        let of = |count: u32| {
            let case = |line: &&&Line| (line.server, line.proto, line.count) == (server, proto, count);
            let mut mb: Vec<_> = lines.iter().filter(case).filter_map(|line| line.figure("rss_mb")).collect();
            mb.sort_by(f64::total_cmp);
            mb.get(mb.len() / 2).copied()
        };
        let counts = || lines.iter().map(|line| line.count);
        let (few, many) = (counts().min()?, counts().max().filter(|many| Some(*many) > counts().min())?);
        let kb = (of(many)? - of(few)?) * 1024.0 / f64::from(many - few);
        Some(format!(
            "{{\"server\":\"{server}\",\"case\":\"memory\",\"case_proto\":\"{proto}\",\"case_n\":{many},\"label\":\"memory\",\"rss_kb_per_player_more\":{kb:.2}}}"
        ))
    };
    cases.into_iter().filter_map(slope).collect()
}

fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let key = format!("\"{name}\":");
    Some(&text[text.find(&key)? + key.len()..])
}

fn word<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    after(text, name)?.strip_prefix('"')?.split('"').next()
}

fn number(text: &str, name: &str) -> Option<f64> {
    after(text, name)?.split([',', '}']).next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_is_the_difference_of_two_counts() {
        let line = |n, mb| {
            format!(
                "{{\"server\":\"one\",\"case\":\"play\",\"case_proto\":\"flv\",\"case_n\":{n},\"label\":\"memory\",\"rss_mb\":{mb}}}\n"
            )
        };
        let text = line(500, 20.0) + &line(1524, 25.0);
        let found = memory_of_one_more(&parse(&text));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("\"rss_kb_per_player_more\":5.00"), "{found:?}");
        assert!(memory_of_one_more(&parse(&line(500, 20.0))).is_empty());
    }

    #[test]
    fn reads_a_line_of_loadgen() {
        let text = "{\"server\":\"one\",\"case\":\"play\",\"case_proto\":\"flv\",\"case_n\":1000,\"round\":0,\
                    \"label\":\"\",\"test\":\"play\",\"cpu_s_per_gbit\":0.0432,\"stalled\":0}\nhalf a li";
        let lines = parse(text);
        assert_eq!(lines.len(), 1);
        assert_eq!(
            (lines[0].server, lines[0].test, lines[0].proto, lines[0].count),
            ("one", "play", "flv", 1000)
        );
        assert_eq!(lines[0].figure("cpu_s_per_gbit"), Some(0.0432));
        assert_eq!(lines[0].figure("absent"), None);
    }
}
