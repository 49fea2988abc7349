//! Programs that run beside the server: `exec`, `ingest` and `transcode`. What ffmpeg is told on behalf of an
//! engine is in [`crate::ffmpeg`].

use super::Field;
use crate::tree::Directive;
use crate::view::View;

super::block! {
    /// `vhost.exec`.
    pub struct Exec {
        /// Run programs.
        enabled: bool = "enabled",
        /// One program each, with its arguments, for every published stream.
        publish: Vec<Vec<String>> = "publish",
        /// The same, once when a publish has ended.
        unpublish: Vec<Vec<String>> = "unpublish",
    }
}

super::block! {
    /// `vhost.ingest`, one that is enabled.
    pub struct Ingest(
        /// Differs from that of the vhost's other ingests; may be empty.
        id
    ) {
        /// Where the stream comes from.
        input: IngestInput = "input",
        /// The program.
        ffmpeg: String = "ffmpeg",
        /// One program each.
        engines: Vec<Engine> = "engine",
    }
}

super::block! {
    /// `vhost.ingest.input`.
    pub struct IngestInput {
        /// How it is read.
        kind: InputKind = "type",
        /// File name or URL.
        url: String = "url",
    }
}

/// How the input of an ingest is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// At its natural speed.
    File,
    /// As it comes.
    Stream,
}

super::block! {
    /// `vhost.transcode`, one that is enabled.
    pub struct Transcode(
        /// Which streams: see [`Transcode::applies`].
        scope
    ) {
        /// The program.
        ffmpeg: String = "ffmpeg",
        /// One program each, for every stream in the scope.
        engines: Vec<Engine> = "engine",
    }
}

impl Transcode {
    /// Whether the scope has the stream in it: it is empty, `app`, or `app/stream`.
    #[must_use]
    pub fn applies(&self, app: &str, stream: &str) -> bool {
        let rest = || self.scope.strip_prefix(app)?.strip_prefix('/');
        self.scope.is_empty() || self.scope == app || rest() == Some(stream)
    }
}

super::block! {
    /// An `engine` of `ingest` or `transcode`.
    pub struct Engine(
        /// For `[engine]`, logs and the API; may be empty.
        name
    ) {
        /// Use it. An ingest whose engine is not used copies.
        enabled: bool = "enabled",
        /// Options before the input.
        perfile: Vec<Flag> = "perfile",
        /// Format of the input if it is RTMP; `off` to say none.
        iformat: String = "iformat",
        /// Options behind the input.
        vfilter: Vec<Flag> = "vfilter",
        /// Video encoder, `copy`, or `vn` for no video.
        vcodec: String = "vcodec",
        /// Thousands of bits per second; 0 to say none.
        vbitrate: u32 = "vbitrate",
        /// Pictures per second; 0 to say none.
        vfps: f64 = "vfps",
        /// Pixels; 0 to say none.
        vwidth: u32 = "vwidth",
        /// Pixels; 0 to say none.
        vheight: u32 = "vheight",
        /// Threads of the video encoder; 0 to say none.
        vthreads: u32 = "vthreads",
        /// Profile of the video encoder; empty to say none.
        vprofile: String = "vprofile",
        /// Preset of the video encoder; empty to say none.
        vpreset: String = "vpreset",
        /// More options of the video encoder.
        vparams: Vec<Flag> = "vparams",
        /// Audio encoder, `copy`, or `an` for no audio.
        acodec: String = "acodec",
        /// Thousands of bits per second; 0 to say none.
        abitrate: u32 = "abitrate",
        /// Hertz; 0 to say none.
        asample_rate: u32 = "asample_rate",
        /// 0 to say none, 1 or 2.
        achannels: u32 = "achannels",
        /// More options of the audio encoder.
        aparams: Vec<Flag> = "aparams",
        /// Format of the output; `off` to say none.
        oformat: String = "oformat",
        /// Template of where the result goes.
        output: String = "output",
    }
}

/// An option of ffmpeg in the user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// With its `-`.
    pub name: String,
    /// `None`: the option has no value.
    pub value: Option<String>,
}

impl Flag {
    fn read(directive: &Directive) -> Self {
        let name = &directive.name.text;
        let dash = if name.starts_with('-') { "" } else { "-" };
        Self { name: format!("{dash}{name}"), value: directive.args.first().map(|word| word.text.clone()) }
    }
}

impl Field for Vec<Flag> {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.given(name).map_or(&[][..], Directive::children).iter().map(Flag::read).collect()
    }
}

impl Field for InputKind {
    fn read(view: &View<'_>, name: &str) -> Self {
        match view.word(name) {
            "file" => Self::File,
            _ => Self::Stream,
        }
    }
}

/// All lines of the name; one without a word names no program.
impl Field for Vec<Vec<String>> {
    fn read(view: &View<'_>, name: &str) -> Self {
        let lines = view.each(name).filter(|line| !line.first().is_empty());
        lines.map(|line| line.texts().into_iter().map(str::to_owned).collect()).collect()
    }
}

impl Field for Vec<Engine> {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.blocks(name).map(|engine| Engine::read(&engine)).collect()
    }
}

/// A change in one of them counts as a change of all.
impl Field for Vec<Ingest> {
    fn read(view: &View<'_>, name: &str) -> Self {
        let enabled = view.blocks(name).filter(|ingest| ingest.is_on("enabled"));
        enabled.map(|ingest| Ingest::read(&ingest)).collect()
    }
}

/// A change in one of them counts as a change of all.
impl Field for Vec<Transcode> {
    fn read(view: &View<'_>, name: &str) -> Self {
        let enabled = view.blocks(name).filter(|transcode| transcode.is_on("enabled"));
        enabled.map(|transcode| Transcode::read(&transcode)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Snapshot, Vhost};

    fn vhost(text: &str) -> Vhost {
        let text = format!("listen 1; vhost a {{ {text} }}");
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let loaded = crate::load(Some(("t", text.as_bytes())), [], &mut no_files);
        let Snapshot { vhosts, .. } = loaded.unwrap_or_else(|e| panic!("{e}")).snapshot;
        (*vhosts[0]).clone()
    }

    #[test]
    fn scopes() {
        let applies = |scope: &str, app: &str, stream: &str| {
            vhost(&format!("transcode {scope} {{ enabled on; ffmpeg f; }}")).transcode[0].applies(app, stream)
        };
        assert!(applies("", "live", "x"));
        assert!(applies("live", "live", "x") && !applies("live", "live2", "x"));
        assert!(applies("live/x", "live", "x") && !applies("live/x", "live", "y"));
        assert!(applies("live/room", "live/room", "y") && applies("live/room/x", "live/room", "x"));
        assert!(!applies("live/", "live", "x"));
    }

    #[test]
    fn what_comes_several_times_is_read_several_times() {
        let vhost = vhost(
            "transcode { enabled on; ffmpeg f; engine a { } engine b { vcodec copy; } } transcode live { enabled on; ffmpeg f; }
             transcode { engine c { } }
             ingest x { enabled on; ffmpeg f; input { url u; } engine { output o; } }
             ingest { enabled on; ffmpeg f; input { type stream; url u; } engine { output o; } } ingest y { }
             exec { enabled on; publish ./a '[stream]' \"b c\"; publish; publish d; unpublish e [app]; }",
        );
        assert_eq!(vhost.transcode.len(), 2);
        assert_eq!(vhost.transcode[0].engines[1].name, "b");
        assert_eq!(vhost.ingest.len(), 2);
        assert_eq!((&*vhost.ingest[0].id, &*vhost.ingest[1].id), ("x", ""));
        assert_eq!(vhost.exec.publish, [vec!["./a", "[stream]", "b c"], vec!["d"]]);
        assert_eq!(vhost.exec.unpublish, [["e", "[app]"]]);
    }
}
