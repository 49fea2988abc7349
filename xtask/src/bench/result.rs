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
                count: number(text, "case_n")? as u32,
            })
        })
        .collect()
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
