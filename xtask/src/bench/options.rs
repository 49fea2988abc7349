//! The words after `cargo xtask bench`.

use super::sections::{self, SECTIONS, Section};
use crate::sh::Outcome;
use std::fmt::Write;
use std::path::PathBuf;

const HELP: &str = "cargo xtask bench [full | SECTION…] [OPTIONS]
       cargo xtask bench hls [--clients 2000] [--rounds 3] [--seconds 8]
       cargo xtask bench micro [WORDS for criterion]

  Without a section: fanout, storm, fanin and latency in a short form, some ten minutes.
  full: all sections with all counts, about an hour.
  hls: viewers of HLS from memory, in turn with nginx on the same files.

  --clients LIST     counts instead of those of the section
  --rounds N         runs of each measurement; the median counts (3)
  --seconds N        length of each measuring window (6)
  --threads N        worker threads of the server (as many as there are cores)
  --other NAME=FILE  one more server; FILE holds the lines of its section in loadgen's plan
                     (cmd, port, publish, rtmp, flv: see bench/loadgen/README.md). May be repeated.

Sections:
";

/// What is to be measured, and how long.
pub(super) struct Options {
    pub(super) sections: Vec<&'static Section>,
    /// All counts of each section, not only the telling one.
    pub(super) full: bool,
    pub(super) clients: Option<String>,
    pub(super) rounds: u32,
    pub(super) seconds: u32,
    pub(super) threads: Option<u32>,
    pub(super) others: Vec<(String, PathBuf)>,
}

impl Options {
    /// `None` when only help was asked for.
    pub(super) fn parse(words: &[String]) -> Outcome<Option<Self>> {
        let mut options = Self {
            sections: Vec::new(),
            full: false,
            clients: None,
            rounds: 3,
            seconds: 6,
            threads: None,
            others: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| format!("{word} needs a value, or is unknown\n\n{}", help()));
            match word.as_str() {
                "-h" | "--help" => return Ok(None),
                "full" => options.full = true,
                "--clients" => options.clients = Some(counts(word, value()?)?),
                "--rounds" => options.rounds = number(word, value()?)?,
                "--seconds" => options.seconds = number(word, value()?)?,
                "--threads" => options.threads = Some(number(word, value()?)?),
                "--other" => options.others.push(other(value()?)?),
                name => match sections::find(name) {
                    Some(section) => options.sections.push(section),
                    None => return Err(format!("there is no section or option {name:?}\n\n{}", help())),
                },
            }
        }
        if options.sections.is_empty() {
            let full = options.full;
            options.sections.extend(SECTIONS.iter().filter(|section| full || section.usual));
        }
        Ok(Some(options))
    }

    /// How many of a section there are, as a list.
    pub(super) fn counts(&self, section: &Section) -> String {
        self.clients.clone().unwrap_or_else(|| section.counts[usize::from(self.full)].to_string())
    }

    /// Names of the real servers, which publish and play; the floors do only one of the two.
    pub(super) fn servers(&self) -> Vec<&str> {
        let others = self.others.iter().map(|(name, _)| name.as_str());
        std::iter::once("millstream").chain(others).collect()
    }
}

/// What can be asked for.
pub(super) fn help() -> String {
    let mut text = HELP.to_string();
    for section in SECTIONS {
        let _ = writeln!(text, "  {:<18} {}", section.name, section.about);
    }
    text
}

fn number(flag: &str, value: &str) -> Outcome<u32> {
    match value.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("{flag} {value:?}: a whole number above 0 is needed")),
    }
}

fn counts(flag: &str, list: &str) -> Outcome<String> {
    list.split(',').try_for_each(|n| number(flag, n).map(|_| ()))?;
    Ok(list.to_string())
}

fn other(value: &str) -> Outcome<(String, PathBuf)> {
    let (name, file) = value.split_once('=').ok_or_else(|| format!("--other {value:?}: NAME=FILE"))?;
    Ok((name.to_string(), PathBuf::from(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<Option<Options>> {
        Options::parse(&text.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn sections_are_chosen_by_name_or_taken_as_usual() {
        let names = |text| {
            let options = parse(text).unwrap().unwrap();
            options.sections.iter().map(|section| section.name).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["fanout", "storm", "newcomers", "fanin", "latency"]);
        assert_eq!(names("slow --rounds 1"), ["slow"]);
        assert_eq!(names("full").len(), SECTIONS.len());
        assert!(parse("fast").is_err() && parse("--clients").is_err() && parse("--clients 1,x").is_err());
    }

    #[test]
    fn counts_come_from_the_section_unless_given() {
        let fanout = sections::find("fanout").unwrap();
        let counts = |text| parse(text).unwrap().unwrap().counts(fanout);
        assert_eq!((counts("fanout"), counts("full fanout")), ("1000".into(), "200,1000,4000".into()));
        assert_eq!(counts("fanout --clients 7"), "7");
    }
}
