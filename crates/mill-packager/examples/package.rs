//! Records an FLV file to FLV and MP4 and cuts its sound into HLS, or makes what a killed run left whole:
//! `cargo run -p mill-packager --example package -- FILE DIRECTORY` and `… -- --repair FILE.tmp`.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "an example may use files and print")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use bytes::{BufMut, BytesMut};
use mill_media::codec::aac::DecoderConfig;
use mill_media::flv::demux::Demuxer;
use mill_media::flv::tag::{AudioTag, classify};
use mill_media::frame::{Frame, Millis};
use mill_media::mp4::classic;
use mill_media::time::Unwrap;
use mill_packager::action::{Action, Close};
use mill_packager::dvr::{self, Recorder};
use mill_packager::hls::{self, Muxer, Packager};
use mill_packager::path::{Civil, StreamName, TEMPORARY, directory, numbered};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match &args[..] {
        [flag, torn] if flag == "--repair" => repair(torn),
        [flv, directory] => package(flv, directory),
        _ => Err("usage: package FILE DIRECTORY | package --repair FILE.tmp".into()),
    }
}

fn package(flv: &str, out: &str) -> Result<(), Box<dyn Error>> {
    let name = StreamName { vhost: "example".into(), app: "live".into(), stream: "show".into() };
    let record = |ending| {
        let path = format!("{out}/[app]/[stream].{ending}");
        Recorder::new(dvr::Options::default(), &path, name.clone())
    };
    let (mut to_flv, mut to_mp4) = (record("flv")?, record("mp4")?);
    let options = hls::Options {
        fragment: 2000,
        directory: out.to_owned(),
        segment: "[app]/[stream]-[seq].aac".into(),
        video: false,
        ..hls::Options::default()
    };
    // A server asks the system for random bytes; without keys none are wanted.
    let mut packager = Packager::new(options, name.clone(), Adts::default(), Box::new(|| [0; 16]))?;
    if let Ok(old) = fs::read_to_string(packager.playlist_path()) {
        packager.resume(&old);
    }

    let mut drivers: [Driver; 3] = Default::default();
    let (mut demuxer, mut time) = (Demuxer::new(), Unwrap::new());
    demuxer.feed(&fs::read(flv)?);
    while let Some(tag) = demuxer.next()? {
        let Some(kind) = classify(tag.tag_type, &tag.body) else { continue };
        let frame = Frame { kind, dts: time.next(tag.timestamp), payload: tag.body };
        let now = Civil { unix_millis: frame.dts, ..Civil::default() };
        to_flv.push(&frame, now)?;
        to_mp4.push(&frame, now)?;
        // A frame that cannot be muxed is left out; what then is the policy of whoever drives this.
        let _ = packager.push(&frame, now);
        drivers[0].run(|| to_flv.poll_action())?;
        drivers[1].run(|| to_mp4.poll_action())?;
        drivers[2].run(|| packager.poll_action())?;
    }
    to_flv.end();
    to_mp4.end();
    packager.end();
    drivers[0].run(|| to_flv.poll_action())?;
    drivers[1].run(|| to_mp4.poll_action())?;
    drivers[2].run(|| packager.poll_action())?;
    Ok(())
}

/// Carries out the actions of one packager.
#[derive(Default)]
struct Driver {
    file: Option<File>,
}

impl Driver {
    fn run(&mut self, mut next: impl FnMut() -> Option<Action>) -> io::Result<()> {
        while let Some(action) = next() {
            self.apply(action)?;
        }
        Ok(())
    }

    fn apply(&mut self, action: Action) -> io::Result<()> {
        let nothing_open = || io::Error::other("no file is open");
        match action {
            Action::Create { path } => {
                fs::create_dir_all(Path::new(".").join(directory(&path)))?;
                self.file = Some(File::create(path)?);
            }
            Action::Append(bytes) => self.file.as_mut().ok_or_else(nothing_open)?.write_all(&bytes)?,
            Action::Patch { offset, bytes } => {
                let file = self.file.as_mut().ok_or_else(nothing_open)?;
                file.seek(SeekFrom::Start(offset))?;
                file.write_all(&bytes)?;
                file.seek(SeekFrom::End(0))?;
            }
            Action::Sync => self.file.as_mut().ok_or_else(nothing_open)?.sync_data()?,
            Action::Close(close) => {
                self.file = None;
                match close {
                    Close::Replace { from, to } => fs::rename(from, to)?,
                    Close::Keep { from, to } => fs::rename(from, free(to))?,
                    Close::Finalise { from, to } => finalise(&from, |_| to)?,
                    Close::Discard { path } => fs::remove_file(path)?,
                }
            }
            Action::Replace { path, content } => {
                let temporary = [&path, TEMPORARY].concat();
                fs::write(&temporary, content)?;
                fs::rename(temporary, path)?;
            }
            Action::Remove { path } => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            Action::Recorded(recorded) => println!("{} {} ms", recorded.path, recorded.duration),
            Action::Segment(segment) => println!("{} {} ms", segment.path, segment.duration),
            Action::LeftOut(why) => println!("left out: {why}"),
        }
        Ok(())
    }
}

/// The name, or the first like it that nobody has.
fn free(path: String) -> String {
    let others = (2..).map(|n| numbered(&path, n));
    std::iter::once(path.clone()).chain(others).find(|path| !Path::new(path).exists()).unwrap_or(path)
}

fn part<'a>(file: &'a mut File, range: &Range<u64>) -> io::Result<io::Take<&'a mut File>> {
    file.seek(SeekFrom::Start(range.start))?;
    Ok(file.take(range.end - range.start))
}

/// Makes a classic file of a fragmented one; `name` tells what it is called, given how long it is.
fn finalise(from: &str, name: impl FnOnce(Millis) -> String) -> io::Result<()> {
    let mut file = File::open(from)?;
    let mut scan = classic::Scan::new(file.metadata()?.len());
    while let Some(wanted) = scan.wants() {
        let mut bytes = Vec::new();
        part(&mut file, &wanted)?.read_to_end(&mut bytes)?;
        scan.give(&bytes);
    }
    let plan = scan.finish().map_err(io::Error::other)?;
    let unfinished = [from, ".new"].concat();
    let mut out = File::create(&unfinished)?;
    out.write_all(&plan.header)?;
    for range in &plan.copies {
        io::copy(&mut part(&mut file, range)?, &mut out)?;
    }
    out.sync_all()?;
    fs::rename(unfinished, free(name(plan.duration)))?;
    fs::remove_file(from)
}

/// What a server does at its start with each temporary file it finds.
fn repair(torn: &str) -> Result<(), Box<dyn Error>> {
    if torn.ends_with(&[".mp4", TEMPORARY].concat()) {
        return Ok(finalise(torn, |duration| dvr::repaired(torn, duration))?);
    }
    let mut file = File::options().read(true).write(true).open(torn)?;
    let mut scan = mill_media::flv::file::Scan::new(file.metadata()?.len());
    while let Some(wanted) = scan.wants() {
        let mut bytes = Vec::new();
        part(&mut file, &wanted)?.read_to_end(&mut bytes)?;
        scan.give(&bytes);
    }
    let repair = scan.finish().ok_or("nothing to play in it")?;
    file.set_len(repair.len)?;
    if let Some(head) = repair.head {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&head)?;
    }
    file.sync_all()?;
    fs::rename(torn, free(dvr::repaired(torn, repair.duration)))?;
    Ok(())
}

/// Packed audio (RFC 8216, 3.4): AAC frames with ADTS headers, behind a tag that tells their time.
#[derive(Default)]
struct Adts {
    /// Profile, rate and channels, as they stand in each header.
    fixed: Option<[u8; 2]>,
}

impl Muxer for Adts {
    type Error = &'static str;

    fn header(&mut self, frame: &Frame) {
        let record = AudioTag::parse(&frame.payload).map_or(&[][..], |tag| tag.data);
        let known = DecoderConfig::parse(record).filter(|config| !config.sbr && config.object < 5);
        self.fixed = known.and_then(|_| record.first_chunk()).map(|&[a, b]| {
            let (object, rate, channels) = (a >> 3, (a & 7) << 1 | b >> 7, b >> 3 & 15);
            [(object - 1) << 6 | rate << 2 | channels >> 2, channels << 6]
        });
    }

    fn begin(&mut self, at: Millis, _: bool, out: &mut BytesMut) {
        let owner = b"com.apple.streaming.transportStreamTimestamp\0";
        let len = (owner.len() + 8) as u8;
        out.put_slice(b"ID3\x04\0\0\0\0\0");
        out.put_slice(&[len + 10]);
        out.put_slice(b"PRIV\0\0\0");
        out.put_slice(&[len, 0, 0]);
        out.put_slice(owner);
        out.put_u64((at.max(0) as u64 * 90) & ((1 << 33) - 1));
    }

    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<bool, Self::Error> {
        let [first, second] = self.fixed.ok_or("no AAC-LC header before")?;
        let data = AudioTag::parse(&frame.payload).map_or(&[][..], |tag| tag.data);
        let len = data.len() + 7;
        out.put_slice(&[0xff, 0xf1, first, second | (len >> 11) as u8, (len >> 3) as u8]);
        out.put_slice(&[(len << 5) as u8 | 0x1f, 0xfc]);
        out.put_slice(data);
        Ok(true)
    }

    fn end(&mut self, _: &mut BytesMut) {}
}
