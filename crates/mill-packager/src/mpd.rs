//! The manifest of DASH: which segments there are and when they are played, and its text (ISO/IEC 23009-1, live
//! profile).
//!
//! Three times meet here. *Media time* is what stands in segments; it only grows, over publishes and restarts.
//! *Presentation time* is what players show, and counts from [`Manifest::start`], which never changes; a
//! [`Period`] lays a piece of media time on it. *Wall time*, milliseconds since 1970, is `start` and presentation time
//! together: a segment can be had from the wall time of its end on (5.3.9.5.3).

use std::collections::VecDeque;
use std::fmt::Write as _;

use mill_media::frame::Millis;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Segments looked at in an old manifest: a day of seconds.
const MAX_SEGMENTS: usize = 100_000;

/// Beyond any time and number in a manifest of ours; sums of some of them do not overflow.
const MAX_NUMBER: i64 = 1 << 56;

/// A live manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Wall time at which presentation time is 0; none before the first segment.
    pub(crate) start: Option<i64>,
    /// Wall time of this text.
    pub(crate) published: i64,
    /// How soon players must look for a newer one.
    pub(crate) update: Millis,
    /// How far players may go back.
    pub(crate) depth: Millis,
    /// The longest segment there was.
    pub(crate) longest: Millis,
    /// The directory of the segments, relative to the manifest, as a URI with its slash.
    pub(crate) base: String,
    pub(crate) periods: VecDeque<Period>,
}

/// A piece of the presentation that is decoded without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Period {
    /// When it begins, in presentation time.
    pub(crate) start: Millis,
    /// When it begins, in media time; this is also what it is called.
    pub(crate) media: Millis,
    pub(crate) sets: Vec<Set>,
}

/// One track in one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) video: bool,
    /// RFC 6381.
    pub(crate) codecs: String,
    /// In pixels; 0 if unknown, and for sound.
    pub(crate) size: (u16, u16),
    /// Pictures a second, as it is written; empty if they are not regular.
    pub(crate) frame_rate: String,
    /// 0 if unknown, and for pictures.
    pub(crate) channels: u16,
    pub(crate) timescale: u32,
    /// Bits a second of the heaviest segment.
    pub(crate) bandwidth: u64,
    /// Whether each segment begins with a keyframe.
    pub(crate) keyed: bool,
    pub(crate) segments: VecDeque<Stretch>,
}

/// The place of a segment in media time, in the timescale of its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) time: i64,
    /// More than 0.
    pub(crate) duration: i64,
}

impl Stretch {
    pub(crate) fn end(self) -> i64 {
        self.time + self.duration
    }
}

impl Period {
    /// When a moment of media time, in this timescale, is played.
    pub(crate) fn presented(&self, time: i64, timescale: u32) -> Millis {
        self.start + millis(time, timescale) - self.media
    }

    /// When the newest segment ends, in presentation time.
    pub(crate) fn end(&self) -> Option<Millis> {
        let newest = |set: &Set| set.segments.back().map(|last| self.presented(last.end(), set.timescale));
        self.sets.iter().filter_map(newest).max()
    }
}

impl Set {
    /// `video` or `audio`: the id of the representation, and the beginning of its files' names.
    pub(crate) fn name(&self) -> &'static str {
        name(self.video)
    }
}

/// What files and representations of a track begin with.
pub(crate) fn name(video: bool) -> &'static str {
    if video { "video" } else { "audio" }
}

/// Ticks as milliseconds.
pub(crate) fn millis(ticks: i64, timescale: u32) -> Millis {
    (i128::from(ticks) * 1000).div_euclid(i128::from(timescale.max(1))) as Millis
}

/// Likewise, rounded up.
pub(crate) fn millis_up(ticks: i64, timescale: u32) -> Millis {
    -millis(-ticks, timescale)
}

/// Milliseconds as ticks.
fn ticks(millis: Millis, timescale: u32) -> i64 {
    (i128::from(millis) * i128::from(timescale) / 1000) as i64
}

impl Manifest {
    /// The text; without segments there is none, as a player could do nothing with it.
    pub(crate) fn text(&self) -> Option<String> {
        let start = self.start.filter(|_| self.periods.iter().any(|period| period.end().is_some()))?;
        let mut out = String::with_capacity(4096);
        let longest = duration(self.longest);
        put(
            &mut out,
            format_args!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\""
            ),
        );
        let attributes = [
            ("profiles", "urn:mpeg:dash:profile:isoff-live:2011".to_owned()),
            ("type", "dynamic".to_owned()),
            ("availabilityStartTime", date(start)),
            ("publishTime", date(self.published)),
            ("minimumUpdatePeriod", duration(self.update)),
            ("timeShiftBufferDepth", duration(self.depth)),
            ("maxSegmentDuration", longest.clone()),
            ("minBufferTime", longest),
            // A player there finds a whole segment, and has another in reserve.
            ("suggestedPresentationDelay", duration(3 * self.longest)),
        ];
        for (name, value) in attributes {
            put(&mut out, format_args!("\n    {name}=\"{value}\""));
        }
        put(&mut out, format_args!(">\n  <BaseURL>{}</BaseURL>\n", self.base));
        for period in self.periods.iter().filter(|period| period.end().is_some()) {
            put(
                &mut out,
                format_args!("  <Period id=\"{}\" start=\"{}\">\n", period.media, duration(period.start)),
            );
            for set in period.sets.iter().filter(|set| !set.segments.is_empty()) {
                set.write(period, &mut out);
            }
            out.push_str("  </Period>\n");
        }
        out.push_str("</MPD>\n");
        Some(out)
    }

    /// Reads what [`text`](Self::text) writes. `None` for anything else: to go on from a text half understood
    /// would be worse than to begin anew.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader::from_str(text);
        let mut manifest: Option<Self> = None;
        let mut total = 0;
        loop {
            let element = match reader.read_event().ok()? {
                Event::Start(element) | Event::Empty(element) => element,
                Event::Eof => break,
                _ => continue,
            };
            if element.name().as_ref() == "MPD" {
                if manifest.is_some() {
                    return None;
                }
                manifest = Some(Self {
                    start: Some(read_date(&attribute(&element, "availabilityStartTime")?)?),
                    published: read_date(&attribute(&element, "publishTime")?)?,
                    update: read_duration(&attribute(&element, "minimumUpdatePeriod")?)?,
                    depth: read_duration(&attribute(&element, "timeShiftBufferDepth")?)?,
                    longest: read_duration(&attribute(&element, "maxSegmentDuration")?)?,
                    base: String::new(),
                    periods: VecDeque::new(),
                });
                continue;
            }
            let manifest = manifest.as_mut()?;
            if element.name().as_ref() == "Period" {
                let media = number(&element, "id")?;
                let start = read_duration(&attribute(&element, "start")?)?;
                let last = manifest.periods.back();
                if last.is_some_and(|last| last.media >= media || last.start >= start) {
                    return None;
                }
                manifest.periods.push_back(Period { start, media, sets: Vec::new() });
                continue;
            }
            let Some(period) = manifest.periods.back_mut() else { continue };
            period.read(&element, &mut total)?;
        }
        manifest.filter(|manifest| manifest.periods.iter().all(Period::is_whole) && total > 0)
    }
}

impl Set {
    fn write(&self, period: &Period, out: &mut String) {
        let name = self.name();
        let keyed = if self.keyed { " startWithSAP=\"1\"" } else { "" };
        let id = u8::from(!self.video);
        put(
            out,
            format_args!(
                "    <AdaptationSet id=\"{id}\" contentType=\"{name}\" mimeType=\"{name}/mp4\" segmentAlignment=\"true\"{keyed}>\n"
            ),
        );
        if self.channels > 0 {
            put(
                out,
                format_args!(
                    "      <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{}\"/>\n",
                    self.channels
                ),
            );
        }
        put(
            out,
            format_args!(
                "      <SegmentTemplate timescale=\"{}\" presentationTimeOffset=\"{}\" \
            initialization=\"$RepresentationID$-init-{}.mp4\" media=\"$RepresentationID$-$Time$.m4s\">\n        <SegmentTimeline>\n",
                self.timescale,
                ticks(period.media, self.timescale),
                period.media
            ),
        );
        self.write_timeline(out);
        out.push_str("        </SegmentTimeline>\n      </SegmentTemplate>\n");
        put(
            out,
            format_args!(
                "      <Representation id=\"{name}\" bandwidth=\"{}\" codecs=\"{}\"",
                self.bandwidth, self.codecs
            ),
        );
        if self.size != (0, 0) {
            put(out, format_args!(" width=\"{}\" height=\"{}\"", self.size.0, self.size.1));
        }
        if !self.frame_rate.is_empty() {
            put(out, format_args!(" frameRate=\"{}\"", self.frame_rate));
        }
        if !self.video {
            put(out, format_args!(" audioSamplingRate=\"{}\"", self.timescale));
        }
        out.push_str("/>\n    </AdaptationSet>\n");
    }

    /// Segments of one length that follow each other are one line (5.3.9.6).
    fn write_timeline(&self, out: &mut String) {
        let mut segments = self.segments.iter().peekable();
        while let Some(first) = segments.next() {
            let (mut repeated, mut end) = (0, first.end());
            while let Some(next) =
                segments.next_if(|next| next.time == end && next.duration == first.duration)
            {
                repeated += 1;
                end = next.end();
            }
            put(out, format_args!("          <S t=\"{}\" d=\"{}\"", first.time, first.duration));
            if repeated > 0 {
                put(out, format_args!(" r=\"{repeated}\""));
            }
            out.push_str("/>\n");
        }
    }
}

impl Period {
    /// Takes in an element below it; `None` if it is not as it should be.
    fn read(&mut self, element: &BytesStart, total: &mut usize) -> Option<()> {
        match element.name().as_ref() {
            "AdaptationSet" => self.sets.push(Set {
                video: attribute(element, "contentType")? == name(true),
                codecs: String::new(),
                size: (0, 0),
                frame_rate: String::new(),
                channels: 0,
                timescale: 0,
                bandwidth: 0,
                keyed: attribute(element, "startWithSAP").is_some(),
                segments: VecDeque::new(),
            }),
            "AudioChannelConfiguration" => {
                self.sets.last_mut()?.channels = number(element, "value")?.try_into().ok()?;
            }
            "SegmentTemplate" => {
                let set = self.sets.last_mut()?;
                set.timescale = number(element, "timescale")?.try_into().ok().filter(|&scale| scale > 0)?;
                if number(element, "presentationTimeOffset")? != ticks(self.media, set.timescale) {
                    return None;
                }
            }
            "S" => {
                let set = self.sets.last_mut()?;
                let repeated = if attribute(element, "r").is_some() { number(element, "r")? } else { 0 };
                *total = total.checked_add(usize::try_from(repeated).ok()? + 1)?;
                let (time, duration) = (number(element, "t")?, number(element, "d")?);
                let follows = set.segments.back().is_none_or(|last| last.end() <= time);
                if *total > MAX_SEGMENTS || !follows || duration == 0 {
                    return None;
                }
                let mut time = time;
                for _ in 0..=repeated {
                    set.segments.push_back(Stretch { time, duration });
                    time = time.checked_add(duration).filter(|&time| time < MAX_NUMBER)?;
                }
            }
            "Representation" => {
                let set = self.sets.last_mut()?;
                set.bandwidth = number(element, "bandwidth")? as u64;
                set.codecs = plain(attribute(element, "codecs")?)?;
                if set.video && attribute(element, "width").is_some() {
                    let part = |name| number(element, name)?.try_into().ok();
                    set.size = (part("width")?, part("height")?);
                }
                set.frame_rate = plain(attribute(element, "frameRate").unwrap_or_default())?;
            }
            _ => {}
        }
        Some(())
    }

    fn is_whole(&self) -> bool {
        let whole = |set: &Set| set.timescale > 0 && !set.codecs.is_empty() && !set.segments.is_empty();
        !self.sets.is_empty() && self.sets.iter().all(whole)
    }
}

fn put(out: &mut String, content: std::fmt::Arguments) {
    out.write_fmt(content).expect("a string takes all");
}

fn attribute(element: &BytesStart, name: &str) -> Option<String> {
    // Nothing that must be escaped stands in attributes of ours.
    element.try_get_attribute(name).ok()?.map(|attribute| attribute.value.into_owned())
}

fn number(element: &BytesStart, name: &str) -> Option<i64> {
    attribute(element, name)?.parse().ok().filter(|number| (0..MAX_NUMBER).contains(number))
}

/// What is written back as it was read has nothing in it that means something in XML.
fn plain(text: String) -> Option<String> {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte)).then_some(text)
}

/// A duration of XML Schema.
fn duration(millis: Millis) -> String {
    match (millis / 1000, millis % 1000) {
        (seconds, 0) => format!("PT{seconds}S"),
        (seconds, rest) => format!("PT{seconds}.{rest:03}S"),
    }
}

fn read_duration(text: &str) -> Option<Millis> {
    let text = text.strip_prefix("PT")?.strip_suffix('S')?;
    let (seconds, rest) = text.split_once('.').unwrap_or((text, "000"));
    let digits = rest.len() == 3 && (seconds.bytes().chain(rest.bytes())).all(|byte| byte.is_ascii_digit());
    let millis = seconds.parse::<Millis>().ok()?.checked_mul(1000)?.checked_add(rest.parse().ok()?)?;
    (digits && millis < MAX_NUMBER).then_some(millis)
}

const DAY: i64 = 86_400_000;

/// A moment as XML Schema writes it, in UTC.
fn date(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

fn read_date(text: &str) -> Option<i64> {
    if text.len() != 24 || !text.is_ascii() {
        return None;
    }
    let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().ok().filter(|&part| part >= 0);
    let days = days(part(0..4)?, part(5..7)?, part(8..10)?);
    let seconds = part(11..13)? * 3600 + part(14..16)? * 60 + part(17..19)?;
    let millis = days * DAY + seconds * 1000 + part(20..23)?;
    (date(millis) == text).then_some(millis)
}

/// Days since 1970-01-01 of a day in the Gregorian calendar; a year begins with March here, so that what is irregular
/// comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + of_year - 719_468
}

/// The reverse.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year, month + 3);
    if month > 12 { (year + 1, month - 12, day) } else { (year, month, day) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(video: bool, segments: &[(i64, i64)]) -> Set {
        Set {
            video,
            codecs: if video { "avc1.64001f" } else { "mp4a.40.2" }.into(),
            size: if video { (640, 360) } else { (0, 0) },
            frame_rate: if video { "30000/1001" } else { "" }.into(),
            channels: if video { 0 } else { 2 },
            timescale: if video { 1000 } else { 44_100 },
            bandwidth: 800_000,
            keyed: true,
            segments: segments.iter().map(|&(time, duration)| Stretch { time, duration }).collect(),
        }
    }

    fn manifest() -> Manifest {
        let sets = vec![
            set(true, &[(10_000, 4000), (14_000, 4000), (18_000, 2000)]),
            set(false, &[(441_000, 176_128), (617_128, 175_104)]),
        ];
        Manifest {
            start: Some(1_767_323_045_006),
            published: 1_767_323_055_106,
            update: 4000,
            depth: 60_500,
            longest: 4000,
            base: "show/".into(),
            periods: [
                Period { start: 0, media: 10_000, sets },
                Period { start: 75_003, media: 30_007, sets: vec![set(false, &[(1_323_309, 44_100)])] },
            ]
            .into(),
        }
    }

    #[test]
    fn the_text() {
        let expected = r#"<?xml version="1.0" encoding="utf-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"
    profiles="urn:mpeg:dash:profile:isoff-live:2011"
    type="dynamic"
    availabilityStartTime="2026-01-02T03:04:05.006Z"
    publishTime="2026-01-02T03:04:15.106Z"
    minimumUpdatePeriod="PT4S"
    timeShiftBufferDepth="PT60.500S"
    maxSegmentDuration="PT4S"
    minBufferTime="PT4S"
    suggestedPresentationDelay="PT12S">
  <BaseURL>show/</BaseURL>
  <Period id="10000" start="PT0S">
    <AdaptationSet id="0" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">
      <SegmentTemplate timescale="1000" presentationTimeOffset="10000" initialization="$RepresentationID$-init-10000.mp4" media="$RepresentationID$-$Time$.m4s">
        <SegmentTimeline>
          <S t="10000" d="4000" r="1"/>
          <S t="18000" d="2000"/>
        </SegmentTimeline>
      </SegmentTemplate>
      <Representation id="video" bandwidth="800000" codecs="avc1.64001f" width="640" height="360" frameRate="30000/1001"/>
    </AdaptationSet>
    <AdaptationSet id="1" contentType="audio" mimeType="audio/mp4" segmentAlignment="true" startWithSAP="1">
      <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"/>
      <SegmentTemplate timescale="44100" presentationTimeOffset="441000" initialization="$RepresentationID$-init-10000.mp4" media="$RepresentationID$-$Time$.m4s">
        <SegmentTimeline>
          <S t="441000" d="176128"/>
          <S t="617128" d="175104"/>
        </SegmentTimeline>
      </SegmentTemplate>
      <Representation id="audio" bandwidth="800000" codecs="mp4a.40.2" audioSamplingRate="44100"/>
    </AdaptationSet>
  </Period>
  <Period id="30007" start="PT75.003S">
    <AdaptationSet id="1" contentType="audio" mimeType="audio/mp4" segmentAlignment="true" startWithSAP="1">
      <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"/>
      <SegmentTemplate timescale="44100" presentationTimeOffset="1323308" initialization="$RepresentationID$-init-30007.mp4" media="$RepresentationID$-$Time$.m4s">
        <SegmentTimeline>
          <S t="1323309" d="44100"/>
        </SegmentTimeline>
      </SegmentTemplate>
      <Representation id="audio" bandwidth="800000" codecs="mp4a.40.2" audioSamplingRate="44100"/>
    </AdaptationSet>
  </Period>
</MPD>
"#;
        assert_eq!(manifest().text().unwrap(), expected);
    }

    #[test]
    fn read_it_is_the_same() {
        let manifest = manifest();
        let read = Manifest::parse(&manifest.text().unwrap()).unwrap();
        assert_eq!(read, Manifest { base: String::new(), ..manifest });
        let mut empty = read;
        empty.periods.iter_mut().flat_map(|period| &mut period.sets).for_each(|set| set.segments.clear());
        assert_eq!(empty.text(), None);
    }

    #[test]
    fn what_is_no_manifest_of_ours() {
        let text = manifest().text().unwrap();
        for (from, to) in [
            ("<S t=\"10000\"", "<S t=\"-1\""),
            ("r=\"1\"", "r=\"-1\""),
            ("r=\"1\"", "r=\"1000000000\""),
            ("t=\"18000\"", "t=\"17000\""),
            ("timescale=\"1000\"", "timescale=\"0\""),
            ("presentationTimeOffset=\"10000\"", ""),
            ("publishTime=\"2026-01-02", "publishTime=\"2026-13-02"),
            ("\"PT75.003S\"", "\"PT0S\""),
            ("codecs=\"mp4a.40.2\"", "codecs=\"&quot;\""),
            ("</Period>", "</Perio>"),
            ("<MPD", "<MP"),
        ] {
            assert!(text.contains(from), "{from}");
            assert_eq!(Manifest::parse(&text.replacen(from, to, 1)), None, "{from}");
        }
        assert_eq!(Manifest::parse(""), None);
        assert_eq!(Manifest::parse("<MPD/>"), None);
    }

    #[test]
    fn times() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(date(millis), text);
            assert_eq!(read_date(text), Some(millis));
        }
        assert_eq!((duration(0), duration(1_234_056)), ("PT0S".into(), "PT1234.056S".into()));
        for text in ["PT1.5S", "PT-1S", "PT1H", "P1S", "PT.000S", "PT9999999999999999999S"] {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn dates_both_ways(millis in -60_000_000_000_000i64..250_000_000_000_000) {
            prop_assert_eq!(read_date(&date(millis)), Some(millis));
        }

        #[test]
        fn media_time_survives_any_timescale(millis in 0..1i64 << 40, timescale in 8000u32..200_000) {
            let mut set = set(false, &[(0, 1)]);
            set.timescale = timescale;
            let periods = [Period { start: 0, media: millis, sets: vec![set] }].into();
            let manifest = Manifest { periods, ..manifest() };
            let read = Manifest::parse(&manifest.text().unwrap()).unwrap();
            prop_assert_eq!(read.periods[0].media, millis);
        }

        #[test]
        fn noise_never_panics(cut in 0..3000usize, noise in "(<S t=\"|<Period |id=\"|[0-9]{1,30}|\"|/>|\\PC){0,20}") {
            let text = manifest().text().unwrap();
            let _ = Manifest::parse(&format!("{}{noise}", &text[..cut.min(text.len())]));
            let _ = read_date(&noise);
        }
    }
}
