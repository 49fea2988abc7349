//! What ffmpeg is told: an engine's directives as arguments, in SRS's order.
//!
//! Each item becomes one argument of the program, so nothing here is quoted and nothing can be split. Names of
//! streams are put in before, by whoever knows the stream; here a text is a text.

use crate::model::{Engine, Flag, Ingest, InputKind};

/// What an engine would be if it could not be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEngine {
    /// It does not say where the result goes.
    #[error("`output` is missing")]
    Output,
    /// Neither an encoder nor `copy` or `vn`.
    #[error("`vcodec` is missing: an encoder, `copy` or `vn`")]
    Vcodec,
    /// Neither an encoder nor `copy` or `an`.
    #[error("`acodec` is missing: an encoder, `copy` or `an`")]
    Acodec,
    /// No video and no audio.
    #[error("`vn` and `an` together leave nothing")]
    Nothing,
    /// libx264 without profile or preset.
    #[error("libx264 needs `{0}`")]
    X264(&'static str),
    /// libaacplus knows no other bit rates.
    #[error("libaacplus takes an `abitrate` from 16 to 72, not {0}")]
    AacPlus(u32),
}

impl Engine {
    /// Whether it can be run on a stream.
    ///
    /// # Errors
    /// If ffmpeg could not be told anything sensible.
    pub fn check(&self) -> Result<(), BadEngine> {
        let bad = match (&*self.vcodec, &*self.acodec) {
            _ if self.output.is_empty() => BadEngine::Output,
            ("", _) => BadEngine::Vcodec,
            (_, "") => BadEngine::Acodec,
            ("vn", "an") => BadEngine::Nothing,
            ("libx264", _) if self.vprofile.is_empty() => BadEngine::X264("vprofile"),
            ("libx264", _) if self.vpreset.is_empty() => BadEngine::X264("vpreset"),
            (_, "libaacplus") if !matches!(self.abitrate, 0 | 16..=72) => BadEngine::AacPlus(self.abitrate),
            _ => return Ok(()),
        };
        Err(bad)
    }

    /// The arguments that make ffmpeg recode `input` to `output`: [`Engine::output`] with its variables
    /// filled in. The engine must have passed [`Engine::check`].
    #[must_use]
    pub fn transcode(&self, input: &str, output: &str) -> Vec<String> {
        let mut line = Line::default();
        line.flags(&self.perfile);
        line.input(&self.iformat, input);
        self.recode(&mut line);
        line.output(&self.oformat, output);
        line.0
    }

    fn recode(&self, line: &mut Line) {
        line.flags(&self.vfilter);
        self.video(line);
        self.audio(line);
    }

    fn video(&self, line: &mut Line) {
        if self.vcodec == "vn" {
            return line.word("-vn");
        }
        line.option("-vcodec", &self.vcodec);
        if self.vcodec == "copy" {
            return;
        }
        if self.vbitrate > 0 {
            line.option("-b:v", u64::from(self.vbitrate) * 1000);
        }
        if self.vfps > 0.0 {
            line.option("-r", format_args!("{:.2}", self.vfps));
        }
        // H.264 with half as many samples of colour has no odd sizes.
        let (width, height) = (self.vwidth & !1, self.vheight & !1);
        if width > 0 && height > 0 {
            line.option("-s", format_args!("{width}x{height}"));
            line.option("-aspect", format_args!("{width}:{height}"));
        }
        if self.vthreads > 0 {
            line.option("-threads", self.vthreads);
        }
        for (name, value) in [("-profile:v", &self.vprofile), ("-preset", &self.vpreset)] {
            if !value.is_empty() {
                line.option(name, value);
            }
        }
        line.flags(&self.vparams);
    }

    fn audio(&self, line: &mut Line) {
        if self.acodec == "an" {
            return line.word("-an");
        }
        line.option("-acodec", &self.acodec);
        if self.acodec == "copy" {
            // All else is for an encoder; this makes AAC from ADTS what FLV has.
            let wanted =
                |flag: &&Flag| flag.name == "-bsf:a" && flag.value.as_deref() == Some("aac_adtstoasc");
            return line.flags(self.aparams.iter().find(wanted));
        }
        if self.abitrate > 0 {
            line.option("-b:a", u64::from(self.abitrate) * 1000);
        }
        if self.asample_rate > 0 {
            line.option("-ar", self.asample_rate);
        }
        if self.achannels > 0 {
            line.option("-ac", self.achannels);
        }
        line.flags(&self.aparams);
    }
}

impl Ingest {
    /// The arguments that make ffmpeg bring the input to `output`, as the engine says: [`Engine::output`] with
    /// its variables filled in. `level` is `ff_log_level`; empty to say none.
    #[must_use]
    pub fn arguments(&self, engine: &Engine, level: &str, output: &str) -> Vec<String> {
        let mut line = Line::default();
        if !level.is_empty() {
            line.option("-loglevel", level);
        }
        if self.input.kind == InputKind::File {
            line.word("-re");
        }
        line.flags(&engine.perfile);
        if engine.enabled && engine.check().is_ok() {
            line.input(&engine.iformat, &self.input.url);
            engine.recode(&mut line);
        } else {
            line.option("-i", &self.input.url);
            line.option("-vcodec", "copy");
            line.option("-acodec", "copy");
        }
        line.output(&engine.oformat, output);
        line.0
    }
}

/// Arguments, in order.
#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn word(&mut self, word: impl ToString) {
        self.0.push(word.to_string());
    }

    fn option(&mut self, name: &str, value: impl ToString) {
        self.word(name);
        self.word(value);
    }

    fn flags<'a>(&mut self, flags: impl IntoIterator<Item = &'a Flag>) {
        for Flag { name, value } in flags {
            self.word(name);
            self.0.extend(value.clone());
        }
    }

    fn input(&mut self, format: &str, url: &str) {
        if url.starts_with("rtmp://") {
            self.format(format);
        }
        self.option("-i", url);
    }

    fn output(&mut self, format: &str, url: &str) {
        self.format(format);
        self.option("-y", url);
    }

    fn format(&mut self, format: &str) {
        if !format.is_empty() && format != "off" {
            self.option("-f", format);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Snapshot;

    const IN: &str = "rtmp://127.0.0.1:23500/live?vhost=__defaultVhost__/src";

    fn snapshot(vhost: &str) -> Snapshot {
        let text = format!("listen 1; vhost a {{ {vhost} }}");
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        crate::load(Some(("t", text.as_bytes())), [], &mut no_files)
            .unwrap_or_else(|e| panic!("{e}"))
            .snapshot
    }

    /// The arguments with a bar between them: a blank inside one would be seen.
    #[track_caller]
    fn transcode(engine: &str, expected: &str) {
        let snapshot =
            snapshot(&format!("transcode {{ enabled on; ffmpeg f; engine e {{ {engine} output o; }} }}"));
        let engine = &snapshot.vhosts[0].transcode[0].engines[0];
        assert_eq!(engine.check(), Ok(()));
        assert_eq!(engine.transcode(IN, "OUT").join("|"), expected.replace("IN", IN));
    }

    #[track_caller]
    fn bad(engine: &str, expected: BadEngine) {
        let snapshot = snapshot(&format!("transcode {{ enabled on; ffmpeg f; engine e {{ {engine} }} }}"));
        assert_eq!(snapshot.vhosts[0].transcode[0].engines[0].check(), Err(expected), "{engine}");
    }

    #[track_caller]
    fn ingest(level: &str, text: &str, expected: &str) {
        let snapshot = snapshot(&format!("ingest {{ enabled on; ffmpeg f; {text} }}"));
        let ingest = &snapshot.vhosts[0].ingest[0];
        assert_eq!(ingest.arguments(&ingest.engines[0], level, "OUT").join("|"), expected);
    }

    // As SRS 3.0 was seen to run them.

    #[test]
    fn everything_in_its_order() {
        transcode(
            "perfile { re; } iformat flv; vfilter { i ./logo.png; filter_complex 'overlay=10:10'; v quiet; }
             vcodec libx264; vbitrate 500; vfps 25; vwidth 768; vheight 320; vthreads 12; vprofile main; vpreset medium;
             vparams { t 100; coder 1; b_strategy 2; bf 3; refs 10; }
             acodec libfdk_aac; abitrate 70; asample_rate 44100; achannels 2; aparams { profile:a aac_low; bsf:a aac_adtstoasc; }",
            "-re|-f|flv|-i|IN|-i|./logo.png|-filter_complex|overlay=10:10|-v|quiet|-vcodec|libx264|-b:v|500000|-r|25.00|-s|768x320\
             |-aspect|768:320|-threads|12|-profile:v|main|-preset|medium|-t|100|-coder|1|-b_strategy|2|-bf|3|-refs|10\
             |-acodec|libfdk_aac|-b:a|70000|-ar|44100|-ac|2|-profile:a|aac_low|-bsf:a|aac_adtstoasc|-f|flv|-y|OUT",
        );
    }

    #[test]
    fn copies_keep_only_the_one_filter() {
        transcode(
            "vcodec copy; vbitrate 500; vparams { g 1; } acodec copy; abitrate 70; aparams { x y; bsf:a aac_adtstoasc; profile:a aac_low; }",
            "-f|flv|-i|IN|-vcodec|copy|-acodec|copy|-bsf:a|aac_adtstoasc|-f|flv|-y|OUT",
        );
    }

    #[test]
    fn sound_alone_and_pictures_alone() {
        transcode(
            "vcodec vn; vbitrate 5; vparams { g 1; } acodec libfdk_aac; abitrate 45; asample_rate 44100; achannels 2;",
            "-f|flv|-i|IN|-vn|-acodec|libfdk_aac|-b:a|45000|-ar|44100|-ac|2|-f|flv|-y|OUT",
        );
        transcode(
            "iformat off; vfilter { vf fps=1; } vcodec png; vparams { vframes 6; } acodec an; abitrate 5; aparams { x y; } oformat image2;",
            "-i|IN|-vf|fps=1|-vcodec|png|-threads|1|-vframes|6|-an|-f|image2|-y|OUT",
        );
    }

    #[test]
    fn sizes_are_even_and_numbers_are_left_out_at_zero() {
        transcode(
            "vcodec h264_nvenc; vwidth 641; vheight 361; vfps 29.97; vthreads 0; acodec aac; oformat off;",
            "-f|flv|-i|IN|-vcodec|h264_nvenc|-r|29.97|-s|640x360|-aspect|640:360|-acodec|aac|-y|OUT",
        );
        transcode(
            "vcodec libx265; vwidth 640; acodec aac;",
            "-f|flv|-i|IN|-vcodec|libx265|-threads|1|-acodec|aac|-f|flv|-y|OUT",
        );
    }

    #[test]
    fn options_are_one_word_each_whatever_is_in_them() {
        transcode(
            "vfilter { -vf \"drawtext=text='a b; c'\"; an; } vcodec copy; acodec copy;",
            "-f|flv|-i|IN|-vf|drawtext=text='a b; c'|-an|-vcodec|copy|-acodec|copy|-f|flv|-y|OUT",
        );
    }

    #[test]
    fn engines_that_cannot_run() {
        bad("vcodec copy; acodec copy;", BadEngine::Output);
        bad("output o; acodec copy;", BadEngine::Vcodec);
        bad("output o; vcodec copy;", BadEngine::Acodec);
        bad("output o; vcodec vn; acodec an;", BadEngine::Nothing);
        bad("output o; vcodec libx264; vpreset fast; acodec an;", BadEngine::X264("vprofile"));
        bad("output o; vcodec libx264; vprofile main; acodec an;", BadEngine::X264("vpreset"));
        bad("output o; vcodec copy; acodec libaacplus; abitrate 15;", BadEngine::AacPlus(15));
        transcode(
            "vcodec copy; acodec libaacplus; abitrate 72;",
            "-f|flv|-i|IN|-vcodec|copy|-acodec|libaacplus|-b:a|72000|-f|flv|-y|OUT",
        );
    }

    #[test]
    fn ingests_copy_unless_an_engine_says_everything() {
        let copied = "-loglevel|info|-re|-i|./doc/a.flv|-vcodec|copy|-acodec|copy|-f|flv|-y|OUT";
        let file = "input { type file; url ./doc/a.flv; }";
        ingest("info", &format!("{file} engine {{ enabled off; vcodec libx264; output o; }}"), copied);
        ingest("info", &format!("{file} engine {{ enabled on; vcodec libx264; output o; }}"), copied);
        ingest("info", &format!("{file} engine {{ output o; }}"), copied);
    }

    #[test]
    fn ingests_of_streams() {
        ingest(
            "info",
            "input { type stream; url rtmp://1.2.3.4/live/x; }
             engine { enabled on; perfile { re; rtsp_transport tcp; } vcodec libx264; vbitrate 800; vfps 25; vwidth 641;
                 vheight 361; vthreads 3; vprofile main; vpreset fast; vparams { g 50; } acodec libfdk_aac; abitrate 45;
                 asample_rate 44100; achannels 2; aparams { profile:a aac_low; } output o; }",
            "-loglevel|info|-re|-rtsp_transport|tcp|-f|flv|-i|rtmp://1.2.3.4/live/x|-vcodec|libx264|-b:v|800000|-r|25.00\
             |-s|640x360|-aspect|640:360|-threads|3|-profile:v|main|-preset|fast|-g|50|-acodec|libfdk_aac|-b:a|45000\
             |-ar|44100|-ac|2|-profile:a|aac_low|-f|flv|-y|OUT",
        );
        ingest(
            "",
            "input { type stream; url rtsp://h/x; } engine { perfile { rtsp_transport tcp; } output o; }",
            "-rtsp_transport|tcp|-i|rtsp://h/x|-vcodec|copy|-acodec|copy|-f|flv|-y|OUT",
        );
    }
}
