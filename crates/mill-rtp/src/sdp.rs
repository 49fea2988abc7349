//! Session descriptions (RFC 8866), as far as they say which tracks come and how they are coded.
//!
//! Tolerant on purpose: cameras write lines that no strict reader takes, mostly in places that do not matter here.
//! A line that is not understood is left out; what is missing afterwards shows where a track is opened.

/// Tracks of a description; more are left out.
pub const MAX_MEDIA: usize = 16;

/// Letters of the name of a format.
const MAX_WORD: usize = 32;

/// A description.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// `s=`, trimmed; empty if there is none.
    pub name: String,
    /// Its tracks, in order.
    pub media: Vec<Media>,
}

/// What a track is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Text, metadata and the like.
    Other,
}

/// One track: its first format that is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// What it is.
    pub kind: Kind,
    /// What RTP packets call the format.
    pub payload_type: u8,
    /// The name of the format in capitals; empty if nothing says it.
    pub encoding: String,
    /// Ticks of its clock in a second; never 0.
    pub clock_rate: u32,
    /// Channels of sound; 1 where none are given.
    pub channels: u8,
    /// `a=control:` as it was written.
    pub control: Option<String>,
    /// Parameters of the format, names in small letters.
    parameters: Vec<(String, String)>,
}

impl Media {
    /// A parameter of the format.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.parameter(name)?.parse().ok()
    }
}

impl Description {
    /// Reads a description; `None` without a single track.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let mut this = Self::default();
        let mut drafts: Vec<Draft<'_>> = Vec::new();
        for line in text.lines() {
            let Some((kind, value)) = line.trim().split_once('=') else { continue };
            let value = value.trim();
            match kind.trim() {
                "s" if drafts.is_empty() => value.clone_into(&mut this.name),
                "m" if drafts.len() == MAX_MEDIA => break,
                "m" => drafts.extend(Draft::parse(value)),
                "a" => {
                    if let Some(draft) = drafts.last_mut() {
                        draft.attribute(value);
                    }
                }
                _ => {}
            }
        }
        this.media = drafts.into_iter().map(Draft::finish).collect();
        (!this.media.is_empty()).then_some(this)
    }
}

/// A track whose lines are being read.
struct Draft<'a> {
    kind: Kind,
    formats: Vec<u8>,
    /// Format, and what a line says of it.
    maps: Vec<(u8, &'a str)>,
    parameters: Vec<(u8, &'a str)>,
    control: Option<&'a str>,
}

impl<'a> Draft<'a> {
    /// `m=video 0 RTP/AVP 96`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let kind = match words.next()?.to_ascii_lowercase().as_str() {
            "video" => Kind::Video,
            "audio" => Kind::Audio,
            _ => Kind::Other,
        };
        let formats = words.skip(2).filter_map(|word| word.parse().ok()).take(16).collect();
        Some(Self { kind, formats, maps: Vec::new(), parameters: Vec::new(), control: None })
    }

    /// What follows `a=`.
    fn attribute(&mut self, line: &'a str) {
        let Some((name, value)) = line.split_once(':') else { return };
        let value = value.trim();
        let of_format = || {
            let (format, rest) = value.split_once(char::is_whitespace)?;
            Some((format.parse().ok()?, rest.trim()))
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "rtpmap" => self.maps.extend(of_format().filter(|_| self.maps.len() < 16)),
            "fmtp" => self.parameters.extend(of_format().filter(|_| self.parameters.len() < 16)),
            "control" => self.control = Some(value),
            _ => {}
        }
    }

    fn finish(self) -> Media {
        let described = |format: &u8| self.maps.iter().any(|(of, _)| of == format);
        let first = self.formats.iter().find(|format| described(format)).or(self.formats.first());
        let payload_type = first.copied().or_else(|| self.maps.first().map(|&(of, _)| of)).unwrap_or(0);
        let map = self.maps.iter().find(|(of, _)| *of == payload_type).map(|&(_, map)| map);
        // `H264/90000`, `MPEG4-GENERIC/44100/2`
        let mut map = map.or(assigned(payload_type)).unwrap_or_default().split('/').map(str::trim);
        // It is for logs too, so it is a word.
        let word = map.next().unwrap_or_default().chars().filter(char::is_ascii_graphic).take(MAX_WORD);
        let encoding = word.collect::<String>().to_ascii_uppercase();
        let clock_rate = map.next().and_then(|rate| rate.parse().ok()).filter(|&rate| rate > 0);
        let clock_rate = clock_rate.unwrap_or(if self.kind == Kind::Audio { 8000 } else { 90_000 });
        let channels = map.next().and_then(|channels| channels.parse().ok()).unwrap_or(1);
        let lines = self.parameters.iter().filter(|(of, _)| *of == payload_type);
        let pairs = lines.flat_map(|(_, line)| line.split(';')).filter_map(|pair| pair.split_once('='));
        let parameters =
            pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        Media {
            kind: self.kind,
            payload_type,
            encoding,
            clock_rate,
            channels,
            control: self.control.map(str::to_owned),
            parameters: parameters.take(64).collect(),
        }
    }
}

/// Formats whose numbers need no description (RFC 3551, 6), of those that are known here.
fn assigned(payload_type: u8) -> Option<&'static str> {
    Some(match payload_type {
        0 => "PCMU/8000",
        8 => "PCMA/8000",
        14 => "MPA/90000",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Vec<Media> {
        Description::parse(text.as_bytes()).unwrap().media
    }

    #[test]
    fn as_ffmpeg_announces() {
        let text = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
            a=tool:libavformat 58.76.100\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
            a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LADdoFB+Q=,aM4PyA==; profile-level-id=42C00D\r\n\
            a=control:streamid=0\r\nm=audio 0 RTP/AVP 97\r\nb=AS:128\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\n\
            a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1210\r\n\
            a=control:streamid=1\r\n";
        let description = Description::parse(text.as_bytes()).unwrap();
        assert_eq!(description.name, "No Name");
        let [video, audio] = &description.media[..] else { panic!() };
        assert_eq!((video.kind, video.payload_type, video.encoding.as_str()), (Kind::Video, 96, "H264"));
        assert_eq!(video.parameter("sprop-parameter-sets"), Some("Z0LADdoFB+Q=,aM4PyA=="));
        assert_eq!(video.control.as_deref(), Some("streamid=0"));
        assert_eq!((audio.clock_rate, audio.channels, audio.number("sizelength")), (44_100, 2, Some(13)));
        let theirs = sdp_types::Session::parse(text.as_bytes()).unwrap();
        assert_eq!(theirs.medias.len(), 2);
        let control = theirs.medias[1].get_first_attribute_value("control").unwrap();
        assert_eq!(control, audio.control.as_deref());
    }

    #[test]
    fn odd_spaces_and_letters() {
        let [media] = &parse(
            "v=0\ns= x \nm=video  0  rtp/avp  33 98\nA=ignored\na = RTPMAP : 98  h264 / 90000 \n\
             a=fmtp:98  Packetization-Mode = 1 ;sprop-parameter-sets=Zg==,aA== ;\na=Control: trackID=1 ",
        )[..] else {
            panic!()
        };
        assert_eq!((media.payload_type, media.encoding.as_str(), media.clock_rate), (98, "H264", 90_000));
        assert_eq!(media.parameter("packetization-mode"), Some("1"));
        assert_eq!(media.control.as_deref(), Some("trackID=1"));
    }

    #[test]
    fn lines_that_do_not_matter_may_be_wrong() {
        let text = "v=0\no=broken\nt=now\nb=lots\nm=audio 0 RTP/AVP 8\nm=application 0 RTP/AVP 107\n";
        assert!(sdp_types::Session::parse(text.as_bytes()).is_err());
        let [sound, other] = &parse(text)[..] else { panic!() };
        assert_eq!((sound.encoding.as_str(), sound.clock_rate, sound.channels), ("PCMA", 8000, 1));
        assert_eq!((other.kind, other.encoding.as_str()), (Kind::Other, ""));
        assert_eq!(Description::parse(b"v=0\ns=nothing\n"), None);
    }

    #[test]
    fn bounded() {
        let many = "m=video 0 RTP/AVP 96\n".repeat(1000);
        assert_eq!(parse(&many).len(), MAX_MEDIA);
        let long = format!("m=video 0 RTP/AVP 96\na=rtpmap:96 H264\n{}", "a=fmtp:96 a=b;c=d\n".repeat(1000));
        assert_eq!(parse(&long)[0].parameters.len(), 32);
    }

    proptest! {
        #[test]
        fn anything_ends(lines in proptest::collection::vec("[maos =]{0,3}(rtpmap:|fmtp:|control:|video )?[ -~]{0,30}", 0..40)) {
            if let Some(description) = Description::parse(lines.join("\n").as_bytes()) {
                prop_assert!(description.media.iter().all(|media| media.clock_rate > 0));
            }
        }
    }
}
