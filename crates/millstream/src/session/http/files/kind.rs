//! What a file is, by the ending of its name.

use std::path::Path;

/// The type for a Content-Type header: SRS's table and what pages are made of. In a page's own files, text is
/// UTF-8.
pub(super) fn content_type(name: &Path) -> &'static str {
    match ending(name).as_str() {
        "ts" => "video/MP2T",
        "flv" => "video/x-flv",
        "m4v" => "video/x-m4v",
        "3gp" | "3gpp" => "video/3gpp",
        "mp4" | "mp4v" => "video/mp4",
        "m4s" => "video/iso.segment",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "aac" => "audio/x-aac",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/x-m4a",
        "ogg" | "oga" => "audio/ogg",
        "wav" => "audio/wav",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "vtt" => "text/vtt; charset=utf-8",
        "rss" => "application/rss+xml",
        "json" | "map" => "application/json",
        "swf" => "application/x-shockwave-flash",
        "doc" => "application/msword",
        "zip" => "application/zip",
        "rar" => "application/x-rar-compressed",
        "gz" => "application/gzip",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "xml" => "text/xml",
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" | "log" => "text/plain; charset=utf-8",
        "ico" => "image/x-icon",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        _ => "application/octet-stream",
    }
}

/// Playlists change while they are played: no cache may answer for us.
pub(super) fn changes(name: &Path) -> bool {
    matches!(ending(name).as_str(), "m3u8" | "mpd" | "f4m" | "abst")
}

/// What pages are made of may lie compressed beside itself.
pub(super) fn may_be_compressed(name: &Path) -> bool {
    matches!(
        ending(name).as_str(),
        "html"
            | "htm"
            | "js"
            | "mjs"
            | "css"
            | "json"
            | "map"
            | "svg"
            | "xml"
            | "txt"
            | "wasm"
            | "vtt"
            | "ico"
    )
}

pub(super) fn is_flv(name: &Path) -> bool {
    matches!(ending(name).as_str(), "flv" | "fhv")
}

pub(super) fn is_mp4(name: &Path) -> bool {
    ending(name) == "mp4"
}

fn ending(name: &Path) -> String {
    name.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_ascii_lowercase())
}
