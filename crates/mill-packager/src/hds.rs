//! HDS as SRS 3.0 has it: frames in; F4V fragments, the bootstrap box and the manifest out (Adobe Flash Video File
//! Format 10.1, annex C; Flash Media Manifest 1.0).
//!
//! A fragment is one `mdat` box of FLV tags and begins with the sequence headers, so each can be played alone; unlike those
//! of SRS it begins with a keyframe. A [`Packager`] lives over publishes, as that of DASH does: numbers and times go
//! on, with the next publish and, by the bootstrap box the former process left, after a restart. Times have no
//! gaps: what comes after a break follows what was before it.
//!
//! Memory: the tags of the open fragment, [`MAX_HELD`] bytes at most, and the list.

use std::collections::VecDeque;

use bytes::Bytes;
use mill_media::flv::mux;
use mill_media::frame::{Frame, FrameKind, Millis};
use quick_xml::escape::escape;

use crate::action::{Action, Close};
use crate::cut::{Cutter, Place, Rules};
use crate::path::{self, StreamName, Template, Values, temporary};
use crate::uri;

/// Bytes of one fragment: it is written when it is complete. What is bigger is cut where it stands.
pub const MAX_HELD: usize = 64 << 20;

/// Shorter ends of publishes are left out: as in HLS and DASH.
const MIN_FRAGMENT: Millis = 100;

/// So many fragments stay, whatever the window.
const MIN_FRAGMENTS: usize = 3;

/// Fragments looked at in an old bootstrap box; its count has 32 bits.
const MAX_FRAGMENTS: u32 = 100_000;

/// Sound alone is cut at its nominal length.
const AUDIO_RATIO: f64 = 1.0;

/// Numbers begin with the pieces of this length, in milliseconds, since 1970, or with those of a fragment if that is
/// longer: so they have 32 bits for a hundred years.
const MIN_COUNTED: Millis = 1000;

/// The largest body of an FLV tag: its length has 24 bits.
const MAX_BODY: usize = 0xff_ffff;

/// The directives of HDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `hds_fragment` in milliseconds.
    pub fragment: Millis,
    /// `hds_window` in milliseconds.
    pub window: Millis,
    /// `hds_path`.
    pub directory: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { fragment: 10_000, window: 60_000, directory: "./objs/nginx/html".into() }
    }
}

/// Packs one stream.
#[derive(Debug)]
pub struct Packager {
    options: Options,
    name: StreamName,
    cutter: Cutter,
    paths: Paths,
    list: VecDeque<Fragment>,
    /// Files that left the list, and until which time they may be asked for.
    retired: Vec<(u32, Millis)>,
    /// The number of the next fragment.
    next: u32,
    /// Whether the clock has had its say about it.
    counted: bool,
    /// When the next fragment begins.
    end: Millis,
    /// Time in fragments minus time of the stream.
    shift: Millis,
    longest: Millis,
    /// Of sound and pictures, in force.
    headers: [Option<Bytes>; 2],
    open: Option<Open>,
    told: bool,
    /// Fragments from here on have not been said to be written.
    undone: Option<u32>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Paths {
    manifest: String,
    bootstrap: String,
    fragment: Template,
}

/// One in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fragment {
    number: u32,
    start: Millis,
    duration: Millis,
}

/// The one being gathered.
#[derive(Debug)]
struct Open {
    start: Millis,
    tags: Vec<Bytes>,
    len: usize,
}

impl Packager {
    /// A packager for a stream. Fails if its name makes no file names.
    pub fn new(options: Options, name: StreamName) -> Result<Self, path::Error> {
        let template =
            |ending: &str| Template::below(&options.directory, &["[app]/[stream]", ending].concat());
        let values = Values::new(&name);
        let fragment = template("Seg1-Frag[seq]");
        fragment.fill(&Values { seq: Some(u32::MAX.into()), ..values })?;
        let paths = Paths {
            manifest: template(".f4m").fill(&values)?,
            bootstrap: template(".abst").fill(&values)?,
            fragment,
        };
        let rules = Rules { fragment: options.fragment, audio_ratio: AUDIO_RATIO, wait_keyframe: true };
        let mut cutter = Cutter::new(rules);
        // Each publish begins anew, the first as well.
        cutter.break_off();
        Ok(Self {
            longest: options.fragment,
            options,
            name,
            cutter,
            paths,
            list: VecDeque::new(),
            retired: Vec::new(),
            next: 1,
            counted: false,
            end: 0,
            shift: 0,
            headers: [None, None],
            open: None,
            told: false,
            undone: None,
            actions: VecDeque::new(),
        })
    }

    /// The file of the manifest, which never changes.
    pub fn manifest_path(&self) -> &str {
        &self.paths.manifest
    }

    /// The file of the bootstrap box.
    pub fn bootstrap_path(&self) -> &str {
        &self.paths.bootstrap
    }

    /// The bootstrap box as it is now, if there is a fragment in it.
    pub fn bootstrap(&self) -> Option<Vec<u8>> {
        let newest = self.list.back()?;
        Some(write_bootstrap(&self.list, newest))
    }

    /// The files there are beside the bootstrap box.
    pub fn files(&self) -> Vec<String> {
        let manifest = [self.paths.manifest.clone()].into_iter();
        manifest.chain(self.list.iter().map(|fragment| self.path(fragment.number))).collect()
    }

    /// Goes on where a former process stopped, whose bootstrap box this is; false if it is none. To be called before
    /// the first frame.
    pub fn resume(&mut self, bootstrap: &[u8]) -> bool {
        let Some(list) = read_bootstrap(bootstrap) else { return false };
        let Some(newest) = list.back() else { return false };
        (self.next, self.end) = (newest.number.saturating_add(1), newest.start + newest.duration);
        self.list = list;
        true
    }

    /// Takes the next frame, which came at `now`, milliseconds since 1970.
    pub fn push(&mut self, frame: &Frame, now: i64) {
        match frame.kind {
            FrameKind::Metadata => {}
            FrameKind::AudioHeader | FrameKind::VideoHeader => {
                let video = frame.kind.is_video();
                let known = self.headers[usize::from(video)].replace(frame.payload.clone());
                if video && known.is_none() {
                    self.cutter.expect_video(true);
                }
                // Tags say what they are: another header may stand between two frames.
                if known.as_ref() != Some(&frame.payload) {
                    self.append(frame.kind, frame.dts + self.shift, &frame.payload);
                }
            }
            FrameKind::Audio | FrameKind::Keyframe | FrameKind::Video => self.push_coded(frame, now),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// All actions so far have been carried out.
    pub fn done(&mut self) {
        if self.actions.is_empty() {
            self.undone = None;
        }
    }

    /// The publish ends at `now`: the fragment is completed. The list stays, and goes on with the next publish.
    pub fn end(&mut self, now: i64) {
        if let Some(duration) = self.cutter.end() {
            self.close(duration, true, now);
        }
        self.open = None;
        self.cutter.break_off();
        self.cutter.expect_video(false);
        self.headers = [None, None];
    }

    /// What was to be done could not be: the open fragment is given up, and so is what [`done`](Self::done) was not
    /// said of. Their numbers are used again. Only deletions still stand.
    pub fn lost(&mut self) {
        self.actions.retain(|action| matches!(action, Action::Remove { .. }));
        if let Some(number) = self.undone.take() {
            while self.list.pop_back_if(|fragment| fragment.number >= number).is_some() {}
            (self.next, self.told) = (number, false);
        }
        self.cutter.end();
        self.cutter.break_off();
        self.open = None;
    }

    /// Deletes everything. Numbers and times go on, and so may the publish: headers stay in force.
    pub fn dispose(&mut self) {
        self.lost();
        let mut files = self.files();
        files.push(self.paths.bootstrap.clone());
        files.extend(self.retired.iter().map(|&(number, _)| self.path(number)));
        self.actions.extend(files.into_iter().map(|path| Action::Remove { path }));
        self.list.clear();
        self.retired.clear();
        self.told = false;
    }

    fn push_coded(&mut self, frame: &Frame, now: i64) {
        let cut = self.cutter.next(frame.kind, frame.dts);
        if let Some(duration) = cut.closed {
            let last = cut.place != Place::New { discontinuity: false };
            self.close(duration, last, now);
        }
        match cut.place {
            Place::Nowhere => return,
            Place::Same => {}
            Place::New { discontinuity } => {
                if discontinuity {
                    self.shift = self.end - frame.dts;
                }
                self.begin(frame.dts + self.shift);
            }
        }
        self.append(frame.kind, frame.dts + self.shift, &frame.payload);
        if self.open.as_ref().is_some_and(|open| open.len >= MAX_HELD) {
            self.cutter.fill_up();
        }
    }

    fn begin(&mut self, start: Millis) {
        self.open = Some(Open { start, tags: Vec::new(), len: 0 });
        // As SRS: pictures first.
        let [sound, pictures] = self.headers.clone();
        for (kind, header) in [(FrameKind::VideoHeader, pictures), (FrameKind::AudioHeader, sound)] {
            if let Some(header) = header {
                self.append(kind, start, &header);
            }
        }
    }

    fn append(&mut self, kind: FrameKind, time: Millis, payload: &Bytes) {
        let Some(open) = &mut self.open else { return };
        if payload.len() > MAX_BODY {
            return; // no publisher can send that
        }
        const FIELD: Millis = 0xffff_ffff;
        let header = mux::tag_header(kind.tag_type(), payload.len(), (time.max(0) & FIELD) as u32);
        let pieces = [
            Bytes::copy_from_slice(&header),
            payload.clone(),
            Bytes::copy_from_slice(&mux::previous_tag_size(payload.len())),
        ];
        open.len += pieces.iter().map(Bytes::len).sum::<usize>();
        open.tags.extend(pieces);
    }

    fn close(&mut self, duration: Millis, last: bool, now: i64) {
        let Some(Open { start, tags, len }) = self.open.take() else { return };
        if duration <= 0 || (last && duration < MIN_FRAGMENT) {
            return;
        }
        if !std::mem::replace(&mut self.counted, true) {
            let by_the_clock = (now - duration) / self.options.fragment.max(MIN_COUNTED) + 1;
            self.next = self.next.max(u32::try_from(by_the_clock).unwrap_or(1));
        }
        self.undone.get_or_insert(self.next);
        let fragment = Fragment { number: self.next, start, duration };
        self.next = self.next.saturating_add(1);
        self.end = start + duration;
        self.longest = self.longest.max(duration);
        self.list.push_back(fragment);
        self.write(fragment.number, tags, len);
        self.publish(len, duration);
    }

    fn write(&mut self, number: u32, tags: Vec<Bytes>, len: usize) {
        // Its name may be that of one that was lost.
        self.retired.retain(|&(retired, _)| retired != number);
        let to = self.path(number);
        let from = temporary(&to);
        let size = u32::try_from(len + 8).expect("far less is held");
        let head = [size.to_be_bytes(), *b"mdat"].concat();
        self.actions.push_back(Action::Create { path: from.clone() });
        self.actions.push_back(Action::Append(head.into()));
        self.actions.extend(tags.into_iter().map(Action::Append));
        self.actions.push_back(Action::Close(Close::Replace { from, to }));
    }

    /// Writes the bootstrap box, without what is too old, and deletes what nobody can want any more.
    fn publish(&mut self, len: usize, duration: Millis) {
        let mut total: Millis = self.list.iter().map(|fragment| fragment.duration).sum();
        while self.list.len() > MIN_FRAGMENTS {
            let Some(oldest) =
                self.list.front().filter(|oldest| total - oldest.duration >= self.options.window)
            else {
                break;
            };
            total -= oldest.duration;
            // Players that have the box before this one may still ask for it.
            self.retired.push((oldest.number, self.end + 2 * self.longest));
            self.list.pop_front();
        }
        if let Some(box_) = self.bootstrap() {
            let path = self.paths.bootstrap.clone();
            self.actions.push_back(Action::Replace { path, content: box_.into() });
        }
        if !std::mem::replace(&mut self.told, true) {
            let kbps = (len as u64).saturating_mul(8) / duration.unsigned_abs().max(1);
            let path = self.paths.manifest.clone();
            let content = manifest(&self.name.stream, kbps).into();
            self.actions.push_back(Action::Replace { path, content });
        }
        let end = self.end;
        let gone: Vec<_> = self.retired.extract_if(.., |&mut (_, until)| until <= end).collect();
        let gone = gone.into_iter().map(|(number, _)| Action::Remove { path: self.path(number) });
        let gone = gone.collect::<Vec<_>>();
        self.actions.extend(gone);
    }

    fn path(&self, number: u32) -> String {
        let values = Values { seq: Some(number.into()), ..Values::new(&self.name) };
        self.paths.fragment.fill(&values).expect("tried with the longest number when the packager was made")
    }
}

/// The manifest of a stream of so many kbit/s: names are relative to it.
fn manifest(stream: &str, kbps: u64) -> String {
    let name = stream.rsplit('/').next().unwrap_or(stream);
    let (id, url) = (escape(name), uri::encode(name));
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
        <manifest xmlns=\"http://ns.adobe.com/f4m/1.0\">\n\
        \t<id>{id}.f4m</id>\n\
        \t<streamType>live</streamType>\n\
        \t<deliveryType>streaming</deliveryType>\n\
        \t<bootstrapInfo profile=\"named\" url=\"{url}.abst\" id=\"bootstrap0\" />\n\
        \t<media bitrate=\"{kbps}\" url=\"{url}\" bootstrapInfoId=\"bootstrap0\"></media>\n\
        </manifest>\n"
    )
}

/// Bytes of an `abst` before its only `asrt`, of that, and of an `afrt` before its entries; and of an entry.
const ABST: usize = 8 + 35;
const ASRT: usize = 8 + 17;
const AFRT: usize = 8 + 13;
const ENTRY: usize = 16;

/// `abst` with `asrt` and `afrt` (C.1.1 to C.1.3): one segment, which has all fragments up to the newest.
fn write_bootstrap(list: &VecDeque<Fragment>, newest: &Fragment) -> Vec<u8> {
    const LIVE: u8 = 0x20;
    const TIMESCALE: u32 = 1000;
    let size = ABST + ASRT + 1 + AFRT + ENTRY * list.len();
    let mut out = Vec::with_capacity(size);
    let word = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_be_bytes());
    let long = |out: &mut Vec<u8>, value: Millis| out.extend_from_slice(&(value as u64).to_be_bytes());
    word(&mut out, size as u32);
    out.extend_from_slice(b"abst\0\0\0\0");
    word(&mut out, newest.number); // version of this box
    out.push(LIVE);
    word(&mut out, TIMESCALE);
    long(&mut out, newest.start); // current media time
    long(&mut out, 0); // offset of SMPTE time
    // No movie, servers, qualities, DRM or metadata; one asrt.
    out.extend_from_slice(&[0, 0, 0, 0, 0, 1]);
    word(&mut out, ASRT as u32);
    out.extend_from_slice(b"asrt\0\0\0\0\0");
    for value in [1, 1, newest.number] {
        word(&mut out, value); // one entry: from segment 1 on, fragments in each
    }
    out.push(1); // one afrt
    word(&mut out, (AFRT + ENTRY * list.len()) as u32);
    out.extend_from_slice(b"afrt\0\0\0\0");
    word(&mut out, TIMESCALE);
    out.push(0);
    word(&mut out, list.len() as u32);
    for fragment in list {
        word(&mut out, fragment.number);
        long(&mut out, fragment.start);
        word(&mut out, u32::try_from(fragment.duration).unwrap_or(u32::MAX));
    }
    out
}

/// Reads what [`write_bootstrap`] writes, and SRS. `None` for anything else.
fn read_bootstrap(bytes: &[u8]) -> Option<VecDeque<Fragment>> {
    /// No stream gets there; sums stay far from overflow.
    const MAX_TIME: u64 = 1 << 48;
    let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from(word(at)?) << 32 | u64::from(word(at + 4)?));
    let kind = |at: usize, kind: &[u8; 4]| bytes.get(at..at + 4).filter(|found| found == kind);
    let fragments = ABST + ASRT + 1;
    kind(4, b"abst")?;
    kind(ABST + 4, b"asrt")?;
    kind(fragments + 4, b"afrt")?;
    let count = word(fragments + AFRT - 4).filter(|count| (1..=MAX_FRAGMENTS).contains(count))?;
    if bytes.len() != fragments + AFRT + ENTRY * count as usize || word(0)? as usize != bytes.len() {
        return None;
    }
    let mut list: VecDeque<Fragment> = VecDeque::new();
    for index in 0..count as usize {
        let at = fragments + AFRT + ENTRY * index;
        let start = long(at + 4).filter(|&start| start < MAX_TIME)? as Millis;
        let fragment = Fragment { number: word(at)?, start, duration: word(at + 12)?.into() };
        let follows = |last: &Fragment| fragment.number > last.number && fragment.start >= last.start;
        if !list.back().is_none_or(follows) {
            return None;
        }
        list.push_back(fragment);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of SRS 3.0.
    const OF_SRS: &str =
        "0000007a 61627374 00000000 00000007 20 000003e8 0000000000005e38 0000000000000000 00 00 00 00 00 01
        00000019 61737274 00000000 00 00000001 00000001 00000007 01
        00000035 61667274 00000000 000003e8 00 00000002
        00000006 0000000000004e80 00000fb1 00000007 0000000000005e38 00000fa0";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter(char::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    #[test]
    fn the_bootstrap_box_is_that_of_srs() {
        let of_srs = bytes(OF_SRS);
        let list = read_bootstrap(&of_srs).unwrap();
        assert_eq!(list[0], Fragment { number: 6, start: 20_096, duration: 4017 });
        assert_eq!(write_bootstrap(&list, list.back().unwrap()), of_srs);
    }

    #[test]
    fn what_is_no_bootstrap_box() {
        let of_srs = bytes(OF_SRS);
        for len in 0..of_srs.len() {
            assert_eq!(read_bootstrap(&of_srs[..len]), None, "{len}");
        }
        for at in [3, 4, 48, 75, 93] {
            let mut damaged = of_srs.clone();
            damaged[at] ^= 0x41;
            assert_eq!(read_bootstrap(&damaged), None, "{at}");
        }
    }

    #[test]
    fn the_manifest() {
        let text = manifest("room/a & b", 800);
        assert!(text.contains("<id>a &amp; b.f4m</id>"), "{text}");
        assert!(text.contains("url=\"a%20%26%20b.abst\"") && text.contains("bitrate=\"800\""));
    }

    proptest! {
        #[test]
        fn both_ways(fragments in proptest::collection::vec((1..5u32, 0..1i64 << 40, any::<u32>()), 1..20)) {
            let (mut number, mut start) = (0, 0);
            let list: VecDeque<_> = fragments.into_iter().map(|(step, gap, duration)| {
                number += step;
                start += gap;
                Fragment { number, start, duration: duration.into() }
            }).collect();
            prop_assert_eq!(read_bootstrap(&write_bootstrap(&list, list.back().unwrap())), Some(list));
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_bootstrap(&noise);
        }
    }
}
