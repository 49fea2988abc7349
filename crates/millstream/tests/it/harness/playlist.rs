//! Media playlists as a strict player reads them: everything RFC 8216 says about a live one, and about what may
//! change from one reading to the next.

use super::SOON;
use super::http::Http;
use super::server::Server;
use super::wait_until;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) uri: String,
    /// In milliseconds.
    pub(crate) duration: i64,
    pub(crate) discontinuity: bool,
    /// Attributes of the key in force.
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Playlist {
    pub(crate) sequence: u64,
    /// In seconds.
    pub(crate) target: i64,
    pub(crate) discontinuities: u64,
    pub(crate) segments: Vec<Segment>,
}

impl Playlist {
    /// Reads one; anything that is not as it must be is a failure.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("#EXTM3U"), "{text}");
        assert!(text.ends_with('\n') && !text.contains('\r'), "{text:?}");
        let mut playlist = Self::default();
        let (mut version, mut once) = (None, Vec::new());
        let (mut duration, mut discontinuity, mut key) = (None, false, None);
        for line in lines {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let is_head = ["VERSION", "MEDIA-SEQUENCE", "TARGETDURATION", "DISCONTINUITY-SEQUENCE"]
                .iter()
                .any(|head| tag == format!("#EXT-X-{head}"));
            if is_head {
                assert!(playlist.segments.is_empty() && !discontinuity, "{tag} comes too late: {text}");
                assert!(!once.contains(&tag), "{tag} comes twice: {text}");
                once.push(tag);
            }
            let number = || value.parse::<u64>().unwrap_or_else(|e| panic!("{e}: {line}"));
            match tag {
                "#EXT-X-VERSION" => version = Some(number()),
                "#EXT-X-MEDIA-SEQUENCE" => playlist.sequence = number(),
                "#EXT-X-TARGETDURATION" => playlist.target = number() as i64,
                "#EXT-X-DISCONTINUITY-SEQUENCE" => playlist.discontinuities = number(),
                "#EXT-X-DISCONTINUITY" => {
                    assert!(!discontinuity && duration.is_none(), "{text}");
                    discontinuity = true;
                }
                "#EXT-X-KEY" => key = (value != "METHOD=NONE").then(|| value.to_owned()),
                "#EXTINF" => {
                    let (seconds, _) = value.split_once(',').expect("a comma follows the duration");
                    let seconds: f64 = seconds.parse().unwrap();
                    duration = Some((seconds * 1000.0).round() as i64);
                }
                // Ours, on the disk, about files that are to be deleted.
                "#LEFT" => {}
                _ => {
                    assert!(!line.is_empty() && !line.starts_with('#'), "{line:?} in {text}");
                    playlist.segments.push(Segment {
                        uri: line.to_owned(),
                        duration: duration.take().expect("a duration stands before a segment"),
                        discontinuity: std::mem::take(&mut discontinuity),
                        key: key.clone(),
                    });
                }
            }
        }
        // Fractions of seconds (4.3.2.1); initialization vectors (4.3.2.4).
        assert_eq!(version, Some(3), "{text}");
        assert!(!playlist.segments.is_empty() && playlist.target > 0, "{text}");
        assert!(duration.is_none() && !discontinuity, "{text}");
        let mut names: Vec<&str> = playlist.segments.iter().map(|segment| segment.uri.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), playlist.segments.len(), "a name comes twice: {text}");
        for segment in &playlist.segments {
            // Rounded to the nearest second (4.3.3.1).
            assert!((segment.duration + 500) / 1000 <= playlist.target, "{segment:?} is too long: {text}");
        }
        // What left has left enough (6.2.2).
        let total: i64 = playlist.segments.iter().map(|segment| segment.duration).sum();
        let has_lost = playlist.sequence > 0 && playlist.segments.len() > 3;
        assert!(!has_lost || total >= playlist.target * 3000 || playlist.has_gap(), "{text}");
        playlist
    }

    /// A list that was begun anew says so in its first segment, and may be short.
    fn has_gap(&self) -> bool {
        self.segments[0].discontinuity
    }

    /// The number of the segment after the last.
    pub(crate) fn next(&self) -> u64 {
        self.sequence + self.segments.len() as u64
    }

    /// The list at `path`, without a session.
    #[track_caller]
    pub(crate) fn get(server: &Server, path: &str) -> Option<Self> {
        let mut answer = Http::get(server.http_addr(), path);
        let body = answer.read_to_end(SOON);
        match answer.head.status {
            200 => {
                assert_eq!(answer.head.header("content-type"), Some("application/vnd.apple.mpegurl"));
                Some(Self::read(std::str::from_utf8(&body).unwrap()))
            }
            404 => None,
            other => panic!("{path}: {other}"),
        }
    }

    /// Waits until the list at `path` has a property.
    #[track_caller]
    pub(crate) fn wait(server: &Server, path: &str, what: &str, mut is: impl FnMut(&Self) -> bool) -> Self {
        let mut last = None;
        wait_until(&format!("{path}: {what}"), SOON, || {
            last = Self::get(server, path);
            last.as_ref().is_some_and(&mut is)
        });
        last.unwrap()
    }

    /// This is what the other one has become: nothing goes back, nothing that is listed changes.
    #[track_caller]
    pub(crate) fn assert_follows(&self, old: &Self) {
        assert!(self.sequence >= old.sequence, "the media sequence goes back: {old:?} {self:?}");
        assert!(self.next() >= old.next(), "segments are taken back: {old:?} {self:?}");
        assert!(self.target >= old.target, "the target duration falls: {old:?} {self:?}");
        let gone = self.sequence - old.sequence;
        let (left, stay) = old.segments.split_at((gone as usize).min(old.segments.len()));
        let strip = |segments: &[Segment]| -> Vec<Segment> {
            let without = |segment: &Segment| segment.uri.split('?').next().unwrap().to_owned();
            segments.iter().map(|segment| Segment { uri: without(segment), ..segment.clone() }).collect()
        };
        assert_eq!(strip(&self.segments[..stay.len()]), strip(stay), "what is listed has changed");
        let counted =
            old.discontinuities + left.iter().filter(|segment| segment.discontinuity).count() as u64;
        if gone as usize <= old.segments.len() {
            assert_eq!(self.discontinuities, counted, "{old:?} {self:?}");
        } else {
            assert!(self.discontinuities >= counted, "{old:?} {self:?}");
        }
    }
}
