//! The media playlist: which segments are in it, and its text (RFC 8216).
//!
//! What clients rely on, over everything that happens to a stream and its server: the media sequence never goes
//! back; the target duration never falls, and no segment is longer; a discontinuity that leaves the list is
//! counted. [`Playlist::resume`] takes all of that from the text a former process left.
//!
//! Behind the list its text has comments about segments that left it and are still there, so that they are found
//! and deleted after a crash, whatever they are called. Clients need not be sent them: [`served`].

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;
use mill_media::frame::Millis;

/// Segments looked at in an old playlist. A day of one-second segments has fewer.
const MAX_ENTRIES: usize = 100_000;

/// A client must be able to fetch that many target durations (6.2.2).
const MIN_TARGETS: i64 = 3;

/// Begins a line about a segment that left the list: for how much media it is still wanted, its URI and its key.
const LEFT: &str = "#LEFT:";

/// A segment in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, which is also its media sequence number.
    pub sequence: u64,
    /// As it is written.
    pub uri: String,
    /// In milliseconds.
    pub duration: Millis,
    /// Whether it has nothing to do with the one before it.
    pub discontinuity: bool,
    /// How it is encrypted: the attributes of its `EXT-X-KEY`.
    pub key: Option<String>,
    /// Files that go with it.
    pub files: Vec<String>,
}

/// Where a list goes on whose segments are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Of the next segment.
    pub sequence: u64,
    /// Discontinuities before it.
    pub discontinuities: u64,
    /// Target duration in seconds.
    pub target: i64,
}

/// A live playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist {
    window: Millis,
    /// In seconds.
    target: i64,
    entries: VecDeque<Entry>,
    /// Of the next segment.
    next: u64,
    discontinuities: u64,
    /// Those that left the list and can still be wanted, and for how much media.
    retired: Vec<(Entry, Millis)>,
}

impl Playlist {
    /// An empty one for `window` milliseconds of segments that are `target` milliseconds long at most; longer
    /// ones make it longer.
    pub fn new(window: Millis, target: Millis) -> Self {
        Self {
            window,
            target: seconds(target).max(1),
            entries: VecDeque::new(),
            next: 0,
            discontinuities: 0,
            retired: Vec::new(),
        }
    }

    /// Takes over from the text of an old one; false if it is none. `files` tells what a URI and the attributes of
    /// a key stand for.
    pub fn resume(&mut self, text: &str, files: impl Fn(&str, Option<&str>) -> Vec<String>) -> bool {
        let Some(old) = parse(text, files) else { return false };
        self.target = self.target.max(old.target);
        self.entries = old.entries;
        self.next = old.next;
        self.discontinuities = old.discontinuities;
        self.retired = old.retired;
        true
    }

    /// Goes on without the segments that were there.
    pub fn start_at(&mut self, numbers: Numbers) {
        self.target = self.target.max(numbers.target);
        self.next = numbers.sequence;
        self.discontinuities = numbers.discontinuities;
        self.entries.clear();
    }

    /// Where it would go on if all its segments were gone.
    pub fn numbers(&self) -> Numbers {
        let listed = self.entries.iter().filter(|entry| entry.discontinuity).count() as u64;
        let discontinuities = self.discontinuities + listed;
        Numbers { sequence: self.next, discontinuities, target: self.target }
    }

    /// The number of the next segment.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The segments in the list, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Segments that left the list and are still there.
    pub fn retired(&self) -> impl Iterator<Item = &Entry> {
        self.retired.iter().map(|(entry, _)| entry)
    }

    /// Adds a segment, whose sequence is [`next_sequence`](Self::next_sequence), and gives back those nobody can want any more:
    /// a segment stays for its own length and that of the longest list it was in (6.2.2).
    pub fn push(&mut self, entry: Entry) -> Vec<Entry> {
        debug_assert_eq!(entry.sequence, self.next, "numbers have no gaps");
        self.next = entry.sequence + 1;
        self.target = self.target.max(seconds(entry.duration));
        for (_, wanted) in &mut self.retired {
            *wanted -= entry.duration;
        }
        self.entries.push_back(entry);
        let mut total = self.duration();
        let least = self.window.max(MIN_TARGETS * self.target * 1000);
        // As SRS: the segment with which the window is full stays.
        while let Some(oldest) = self.entries.front().filter(|oldest| total - oldest.duration > least) {
            let wanted = oldest.duration + total;
            total -= oldest.duration;
            self.retire(wanted);
        }
        self.retired.extract_if(.., |(_, wanted)| *wanted <= 0).map(|(entry, _)| entry).collect()
    }

    /// Takes back the segments from this number on: they never came to be.
    pub fn take_back(&mut self, sequence: u64) {
        while let Some(never) = self.entries.pop_back_if(|newest| newest.sequence >= sequence) {
            self.next = never.sequence;
        }
    }

    /// Takes out everything; numbers go on.
    pub fn clear(&mut self) -> Vec<Entry> {
        while !self.entries.is_empty() {
            self.retire(0);
        }
        self.retired.drain(..).map(|(entry, _)| entry).collect()
    }

    /// Files still needed by what is in the list or was just now.
    pub fn needs(&self, file: &str) -> bool {
        self.entries.iter().chain(self.retired()).any(|entry| entry.files.iter().any(|needed| needed == file))
    }

    /// The text; without segments there is none, as a client could do nothing with it.
    pub fn text(&self) -> Option<String> {
        let first = self.entries.front()?;
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-TARGETDURATION:{}\n",
            first.sequence, self.target
        );
        if self.discontinuities > 0 {
            line(&mut text, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuities));
        }
        let mut key = None;
        for entry in &self.entries {
            if entry.discontinuity {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            // A key holds until the next one (4.3.2.4), so it stands before the first segment, whatever left.
            if key != entry.key.as_ref() {
                let attributes = entry.key.as_deref().unwrap_or("METHOD=NONE");
                line(&mut text, format_args!("#EXT-X-KEY:{attributes}"));
                key = entry.key.as_ref();
            }
            let (seconds, millis) = (entry.duration / 1000, entry.duration % 1000);
            line(&mut text, format_args!("#EXTINF:{seconds}.{millis:03}, no desc\n{}", entry.uri));
        }
        for (Entry { uri, key, .. }, wanted) in &self.retired {
            line(&mut text, format_args!("{LEFT}{wanted} {uri} {}", key.as_deref().unwrap_or_default()));
        }
        Some(text)
    }

    fn duration(&self) -> Millis {
        self.entries.iter().map(|entry| entry.duration).sum()
    }

    fn retire(&mut self, wanted: Millis) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.discontinuities += u64::from(entry.discontinuity);
        self.retired.push((entry, wanted));
    }
}

/// What of a text is for clients.
pub fn served(text: &Bytes) -> Bytes {
    let comments = text.windows(LEFT.len() + 1).position(|at| at[0] == b'\n' && &at[1..] == LEFT.as_bytes());
    text.slice(..comments.map_or(text.len(), |at| at + 1))
}

fn line(text: &mut String, content: std::fmt::Arguments) {
    writeln!(text, "{content}").expect("a string takes all");
}

/// Rounded up, as SRS: no segment is longer.
fn seconds(millis: Millis) -> i64 {
    (millis + 999) / 1000
}

/// What an old text says.
struct Old {
    target: i64,
    entries: VecDeque<Entry>,
    next: u64,
    discontinuities: u64,
    retired: Vec<(Entry, Millis)>,
}

/// Reads what [`Playlist::text`] writes, and what SRS does. `None` for anything else: to go on from a text
/// half understood would be worse than to begin anew.
fn parse(text: &str, files: impl Fn(&str, Option<&str>) -> Vec<String>) -> Option<Old> {
    let mut lines = text.lines().map(str::trim_end);
    if lines.next()? != "#EXTM3U" {
        return None;
    }
    let mut old =
        Old { target: 0, entries: VecDeque::new(), next: 0, discontinuities: 0, retired: Vec::new() };
    let (mut duration, mut discontinuity, mut key) = (None, false, None);
    for line in lines {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-MEDIA-SEQUENCE" => old.next = value.parse().ok().filter(|&next| next < 1 << 60)?,
            "#EXT-X-TARGETDURATION" => old.target = value.parse().ok().filter(|&target| target < 1 << 30)?,
            "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                old.discontinuities = value.parse().ok().filter(|&count| count < 1 << 60)?;
            }
            "#EXT-X-DISCONTINUITY" => discontinuity = true,
            "#EXT-X-KEY" => key = (value != "METHOD=NONE").then(|| value.to_owned()),
            "#EXTINF" => duration = Some(millis(value.split(',').next()?)?),
            // It says that nothing will be added: a recording of somebody's, which is not to be added to.
            "#EXT-X-ENDLIST" => return None,
            "#LEFT" => {
                let mut words = value.splitn(3, ' ');
                let wanted = words.next()?.parse().ok().filter(|wanted| (0..1 << 40).contains(wanted))?;
                let (uri, key) = (words.next()?, words.next().filter(|key| !key.is_empty()));
                if old.retired.len() >= MAX_ENTRIES {
                    return None;
                }
                let files = files(uri, key);
                let (uri, key) = (uri.to_owned(), key.map(str::to_owned));
                // Its number is of no interest any more.
                let entry = Entry { sequence: 0, uri, duration: 0, discontinuity: false, key, files };
                old.retired.push((entry, wanted));
            }
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => {
                if old.entries.len() >= MAX_ENTRIES {
                    return None;
                }
                old.entries.push_back(Entry {
                    sequence: old.next,
                    uri: line.to_owned(),
                    duration: duration.take()?,
                    discontinuity: std::mem::take(&mut discontinuity),
                    key: key.clone(),
                    files: files(line, key.as_deref()),
                });
                old.next += 1;
            }
        }
    }
    (!old.entries.is_empty()).then_some(old)
}

/// Seconds with up to three decimals.
fn millis(seconds: &str) -> Option<Millis> {
    let seconds: f64 = seconds.trim().parse().ok()?;
    (0.0..1e9).contains(&seconds).then(|| (seconds * 1000.0).round() as Millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(sequence: u64, duration: Millis) -> Entry {
        Entry {
            sequence,
            uri: format!("x-{sequence}.ts"),
            duration,
            discontinuity: false,
            key: None,
            files: vec![format!("live/x-{sequence}.ts")],
        }
    }

    fn files(uri: &str, _: Option<&str>) -> Vec<String> {
        vec![format!("live/{uri}")]
    }

    #[test]
    fn the_text() {
        let mut playlist = Playlist::new(60_000, 6000);
        assert_eq!(playlist.text(), None);
        playlist.push(entry(0, 5978));
        playlist.push(Entry { discontinuity: true, ..entry(1, 6001) });
        playlist.push(Entry { key: Some("METHOD=AES-128,URI=\"k\"".into()), ..entry(2, 10) });
        playlist.push(entry(3, 1000));
        assert_eq!(
            playlist.text().unwrap(),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:7\n\
            #EXTINF:5.978, no desc\nx-0.ts\n\
            #EXT-X-DISCONTINUITY\n#EXTINF:6.001, no desc\nx-1.ts\n\
            #EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:0.010, no desc\nx-2.ts\n\
            #EXT-X-KEY:METHOD=NONE\n#EXTINF:1.000, no desc\nx-3.ts\n"
        );
    }

    #[test]
    fn the_window_and_the_grace_of_what_left_it() {
        let mut playlist = Playlist::new(20_000, 6000);
        let mut gone = Vec::new();
        let mut listed = Vec::new();
        for n in 0..12 {
            gone.push(playlist.push(entry(n, 6000)).iter().map(|entry| entry.sequence).collect::<Vec<_>>());
            listed.push(playlist.entries().count());
        }
        assert_eq!(listed, [1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4]);
        // Segment 0 leaves with the fifth; the list it was in was 30 s long with it, so it stays 36 s more.
        assert_eq!(gone.concat(), [0, 1]);
        assert_eq!((&gone[10][..], &gone[11][..]), (&[0][..], &[1][..]));
        assert!(playlist.needs("live/x-2.ts") && !playlist.needs("live/x-1.ts"));
    }

    #[test]
    fn three_target_durations_stay_whatever_the_window() {
        let mut playlist = Playlist::new(1000, 6000);
        (0..9).for_each(|n| drop(playlist.push(entry(n, 6000))));
        assert_eq!(playlist.entries().count(), 4);
    }

    #[test]
    fn discontinuities_that_left_are_counted() {
        let mut playlist = Playlist::new(1000, 1000);
        for n in 0..20 {
            playlist.push(Entry { discontinuity: n % 2 == 1, ..entry(n, 1000) });
        }
        assert!(playlist.text().unwrap().contains("#EXT-X-DISCONTINUITY-SEQUENCE:8\n"), "{playlist:?}");
        assert_eq!(playlist.clear().len(), playlist.next_sequence() as usize - 10);
        playlist.push(entry(20, 1000));
        let text = playlist.text().unwrap();
        assert!(text.contains("SEQUENCE:20\n") && text.contains("DISCONTINUITY-SEQUENCE:10\n"), "{text}");
    }

    #[test]
    fn without_its_segments_it_goes_on_where_it_stopped() {
        let mut old = Playlist::new(1000, 1000);
        for n in 0..20 {
            old.push(Entry { discontinuity: n % 2 == 1, ..entry(n, 5000) });
        }
        let mut new = Playlist::new(60_000, 1000);
        new.start_at(old.numbers());
        assert_eq!(new.text(), None);
        new.push(entry(20, 1000));
        let text = new.text().unwrap();
        assert!(text.contains("MEDIA-SEQUENCE:20\n#EXT-X-TARGETDURATION:5\n"), "{text}");
        assert!(text.contains("DISCONTINUITY-SEQUENCE:10\n"), "{text}");
    }

    #[test]
    fn what_never_came_to_be_is_taken_back() {
        let mut playlist = Playlist::new(60_000, 1000);
        (0..5).for_each(|n| drop(playlist.push(entry(n, 1000))));
        playlist.take_back(3);
        playlist.take_back(4);
        assert_eq!((playlist.next_sequence(), playlist.entries().count()), (3, 3));
        playlist.take_back(0);
        assert_eq!((playlist.next_sequence(), playlist.text()), (0, None));
    }

    #[test]
    fn resumed_it_is_the_same() {
        let mut old = Playlist::new(20_000, 6000);
        for n in 0..9 {
            let key = (n > 5).then(|| "METHOD=AES-128,URI=\"a:b\"".to_owned());
            old.push(Entry { discontinuity: n % 3 == 0, key, ..entry(n, 6000 + n as Millis) });
        }
        old.push(entry(9, 12_000));
        let text = old.text().unwrap();
        let mut new = Playlist::new(20_000, 6000);
        assert!(new.resume(&text, files));
        assert_eq!(new.text().unwrap(), text);
        assert_eq!(Playlist { retired: vec![], ..new.clone() }, Playlist { retired: vec![], ..old.clone() });
        // What had left goes when its time has come, too.
        let go = |list: &mut Playlist| -> Vec<String> {
            (10..30).flat_map(|n| list.push(entry(n, 6000))).flat_map(|entry| entry.files).collect()
        };
        assert!(old.retired().count() > 2);
        assert_eq!(go(&mut new), go(&mut old));
        let mut colon = entry(0, 1000);
        colon.uri = "http://cdn:80/x.ts".into();
        let mut absolute = Playlist::new(1, 1);
        absolute.push(colon);
        assert!(new.resume(&absolute.text().unwrap(), files));
        assert_eq!(new.entries().next().unwrap().uri, "http://cdn:80/x.ts");
    }

    #[test]
    fn clients_see_the_list_alone() {
        let mut playlist = Playlist::new(1000, 1000);
        (0..9).for_each(|n| drop(playlist.push(Entry { key: Some("URI=\"a b\"".into()), ..entry(n, 1000) })));
        let text = Bytes::from(playlist.text().unwrap());
        let served = served(&text);
        assert!(served.ends_with(b"x-8.ts\n") && text.ends_with(b" URI=\"a b\"\n"), "{text:?}");
        assert!(!served.windows(5).any(|at| at == b"#LEFT"), "{served:?}");
        assert_eq!(super::served(&served), served);
        let mut new = Playlist::new(1000, 1000);
        assert!(new.resume(std::str::from_utf8(&text).unwrap(), |_, key| vec![key.unwrap().to_owned()]));
        assert!(new.retired().all(|entry| entry.files == ["URI=\"a b\""]));
    }

    #[test]
    fn what_is_no_playlist_changes_nothing() {
        for text in [
            "",
            "#EXTM3U\n",
            "x",
            "#EXTM3U\na.ts\n",
            "#EXTM3U\n#EXTINF:x,\na.ts\n",
            "#EXTM3U\n#EXTINF:-1,\na.ts\n",
            "#EXTM3U\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n",
            "#EXTM3U\n#EXTINF:1,\na.ts\n#LEFT:-1 b.ts \n",
            "#EXTM3U\n#EXTINF:1,\na.ts\n#LEFT:1\n",
        ] {
            let mut playlist = Playlist::new(1000, 1000);
            assert!(!playlist.resume(text, files), "{text}");
            assert_eq!(playlist, Playlist::new(1000, 1000));
        }
    }

    proptest! {
        #[test]
        fn rules_hold_over_restarts(
            lengths in proptest::collection::vec((1..20_000i64, any::<bool>(), 0..10), 1..60),
            window in 0..60_000i64,
        ) {
            let mut playlist = Playlist::new(window, 5000);
            let (mut sequence, mut target, mut breaks) = (0, 0, 0);
            for (duration, discontinuity, restart) in lengths {
                if restart == 0 && let Some(text) = playlist.text() {
                    playlist = Playlist::new(window, 5000);
                    prop_assert!(playlist.resume(&text, files));
                }
                let entry = Entry { discontinuity, ..entry(playlist.next_sequence(), duration) };
                playlist.push(entry);
                let text = playlist.text().unwrap();
                let parsed = parse(&text, files).unwrap();
                let first = parsed.entries[0].sequence;
                let all_breaks = parsed.discontinuities
                    + parsed.entries.iter().filter(|entry| entry.discontinuity).count() as u64;
                prop_assert!(first >= sequence && parsed.target >= target && all_breaks >= breaks);
                prop_assert!(parsed.entries.iter().all(|entry| entry.duration <= parsed.target * 1000));
                (sequence, target, breaks) = (first, parsed.target, all_breaks);
            }
        }

        #[test]
        fn noise_never_panics(noise in "(#EXT-X-MEDIA-SEQUENCE:|#EXTINF:|#EXTM3U|#LEFT:| |[0-9]{1,30}|\n|\\PC){0,30}") {
            let _ = Playlist::new(1, 1).resume(&format!("#EXTM3U\n{noise}"), files);
        }
    }
}
