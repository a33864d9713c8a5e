//! How a browser is told to take a file: shown or saved, as what, and under which name.

use http::HeaderValue;

use crate::disposition::{attachment, inline, is_inline, parameters};
use crate::media_type::is_media_type;

/// Whether a browser shows a file in its window or saves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// Pictures, sound, video, plain text and PDF are shown, unless they were [stored](crate::Put::content_disposition) to be saved;
    /// everything else is saved. What a browser would run (pages, scripts, styles, XML and SVG among them) is handed out as bytes of no
    /// type besides, so that no page can load it as what it is.
    #[default]
    Safe,
    /// Saved, whatever it is; what a browser would run, as bytes of no type.
    Attachment,
    /// Shown, under its own type: only for what the application itself has written, because it can do all that the application's pages
    /// can.
    Inline,
    /// As the [disposition](crate::Put::content_disposition) says that it was stored with, also where [`Safe`](Self::Safe) would not
    /// show it: only where nobody but the application says what is stored. Without one, as `Safe`.
    Stored,
}

/// What is shown in place: no browser runs any of it.
const SHOWN: [&str; 20] = [
    "application/pdf",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/webm",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/tiff",
    "image/webp",
    "image/x-icon",
    "text/plain",
    "video/mp4",
    "video/ogg",
    "video/webm",
];

/// What the types have in their names that a browser takes for a page, a script, a style or a part of one: those of
/// [MIME Sniffing, 4.6](https://mimesniff.spec.whatwg.org/#mime-type-groups), what becomes a page in one browser or another, and
/// messages of several parts, of which one may be a page.
const RUN: [&str; 15] = [
    "css",
    "ecmascript",
    "flash",
    "html",
    "javascript",
    "jscript",
    "livescript",
    "manifest",
    "message/",
    "multipart/",
    "postscript",
    "vbscript",
    "wasm",
    "xml",
    "xsl",
];

const BYTES: &str = "application/octet-stream";

impl Disposition {
    fn is_shown(self, essence: &str) -> bool {
        match self {
            Self::Safe | Self::Stored => SHOWN.contains(&essence),
            Self::Attachment => false,
            Self::Inline => true,
        }
    }

    /// The type under which a file is handed out.
    pub(super) fn content_type(self, content_type: Option<&str>) -> HeaderValue {
        let own = content_type.filter(|text| {
            let is_run = |essence: String| essence == "image/svg" || RUN.iter().any(|part| essence.contains(part));
            essence(text).is_some_and(|essence| self == Self::Inline || !is_run(essence))
        });
        own.and_then(|own| HeaderValue::from_str(own).ok()).unwrap_or(HeaderValue::from_static(BYTES))
    }

    /// Whether the file is given no rights at all, should a browser show it as a page in spite of everything. A viewer of PDF and a
    /// player need some.
    pub(super) fn is_confined(self, content_type: Option<&str>) -> bool {
        let essence = essence_or_bytes(content_type);
        let is_viewed = essence == "application/pdf" || essence.starts_with("audio/") || essence.starts_with("video/");
        self != Self::Inline && !(is_viewed && self.is_shown(&essence))
    }

    /// What it comes to for a file that was stored with this disposition: one that it saves is saved, and one that it shows is shown
    /// only if that does no harm, or if its word is taken.
    pub(super) fn of_stored(self, stored: Option<&str>) -> Self {
        match (self, stored.map(is_inline)) {
            (Self::Safe | Self::Stored, Some(false)) => Self::Attachment,
            (Self::Stored, Some(true)) => Self::Inline,
            (Self::Stored, None) => Self::Safe,
            (own, _) => own,
        }
    }

    /// The header `Content-Disposition` ([RFC 6266](https://www.rfc-editor.org/rfc/rfc6266)).
    pub(super) fn header(self, content_type: Option<&str>, file_name: &str) -> HeaderValue {
        let shown = self.is_shown(&essence_or_bytes(content_type));
        value(&if shown { inline(file_name) } else { attachment(file_name) })
    }

    /// The same, with what was stored besides whether it is shown.
    pub(super) fn header_like(self, content_type: Option<&str>, stored: &str) -> HeaderValue {
        let shown = self.is_shown(&essence_or_bytes(content_type));
        value(&format!("{}{}", if shown { "inline" } else { "attachment" }, parameters(stored)))
    }
}

fn value(header: &str) -> HeaderValue {
    HeaderValue::from_str(header).unwrap_or(HeaderValue::from_static("attachment"))
}

/// The type without its parameters. None for what is no type, or more than one: whoever reads that takes it for something else.
pub(super) fn essence(content_type: &str) -> Option<String> {
    let essence = || content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    is_media_type(content_type).then(essence)
}

fn essence_or_bytes(content_type: Option<&str>) -> String {
    content_type.and_then(essence).unwrap_or_else(|| BYTES.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_run_is_saved_as_bytes_and_pictures_are_shown() {
        for (content_type, disposition, handed_out) in [
            (Some("image/png"), "inline", "image/png"),
            (Some("IMAGE/PNG; x=y"), "inline", "IMAGE/PNG; x=y"),
            (Some("text/plain; charset=utf-8"), "inline", "text/plain; charset=utf-8"),
            (Some("application/pdf"), "inline", "application/pdf"),
            (Some("application/dicom"), "attachment", "application/dicom"),
            (Some("application/zip"), "attachment", "application/zip"),
            (Some("text/html"), "attachment", BYTES),
            (Some("text/html;charset=utf-8"), "attachment", BYTES),
            (Some("application/xhtml+xml"), "attachment", BYTES),
            (Some("image/svg+xml"), "attachment", BYTES),
            (Some("text/xml"), "attachment", BYTES),
            (Some("application/x-javascript"), "attachment", BYTES),
            (Some("text/jscript"), "attachment", BYTES),
            (Some("text/css"), "attachment", BYTES),
            (Some("application/wasm"), "attachment", BYTES),
            (Some("application/x-shockwave-flash"), "attachment", BYTES),
            (Some("multipart/x-mixed-replace; boundary=a"), "attachment", BYTES),
            (Some("video/mp4; codecs=\"avc1, mp4a\""), "inline", "video/mp4; codecs=\"avc1, mp4a\""),
            (None, "attachment", BYTES),
        ] {
            let safe = Disposition::Safe;
            assert_eq!(safe.header(content_type, ""), disposition, "{content_type:?}");
            assert_eq!(safe.content_type(content_type), handed_out, "{content_type:?}");
            assert_eq!(Disposition::Attachment.header(content_type, ""), "attachment");
            assert_eq!(Disposition::Inline.header(content_type, ""), "inline");
            assert_eq!(Disposition::Inline.content_type(content_type), content_type.unwrap_or(BYTES));
        }
        let confined = |content_type| Disposition::Safe.is_confined(Some(content_type));
        assert!(
            confined("text/html") && confined("image/png") && !confined("application/pdf") && !confined("video/mp4")
        );
        assert!(Disposition::Attachment.is_confined(Some("application/pdf")));
    }

    /// Browsers split the header at commas and take the last type ([Fetch](https://fetch.spec.whatwg.org/#content-type-header)).
    #[test]
    fn what_is_no_type_or_several_is_bytes_and_is_never_shown() {
        for content_type in
            ["nonsense", "/", "audio/mpeg;a, text/html", "image/png, text/html", "audio/mpeg;a=\"\\\", text/html"]
        {
            let content_type = Some(content_type);
            for disposition in [Disposition::Safe, Disposition::Stored, Disposition::Attachment] {
                assert_eq!(disposition.header(content_type, ""), "attachment", "{content_type:?}");
                assert_eq!(disposition.header_like(content_type, "inline;a=b"), "attachment;a=b", "{content_type:?}");
                assert_eq!(disposition.content_type(content_type), BYTES, "{content_type:?}");
                assert!(disposition.is_confined(content_type), "{content_type:?}");
            }
            assert_eq!(Disposition::Inline.content_type(content_type), BYTES, "{content_type:?}");
        }
    }

    #[test]
    fn what_was_stored_saves_more_and_shows_no_more_unless_its_word_is_taken() {
        use Disposition::{Attachment, Inline, Safe, Stored};
        for (own, stored, expected) in [
            (Safe, None, Safe),
            (Safe, Some("inline; filename=a"), Safe),
            (Safe, Some("INLINE"), Safe),
            (Safe, Some("attachment"), Attachment),
            (Safe, Some("form-data"), Attachment),
            (Stored, None, Safe),
            (Stored, Some("Inline ;filename=a"), Inline),
            (Stored, Some("attachment"), Attachment),
            (Inline, Some("attachment"), Inline),
            (Attachment, Some("inline"), Attachment),
        ] {
            assert_eq!(own.of_stored(stored), expected, "{own:?} {stored:?}");
        }
        let (html, png) = (Some("text/html"), Some("image/png"));
        assert_eq!(Safe.header_like(html, "inline; filename=\"a.html\""), "attachment; filename=\"a.html\"");
        assert_eq!(Safe.header_like(png, "form-data;name=a"), "inline;name=a");
    }

    #[test]
    fn a_file_name_is_one_whatever_is_in_it() {
        for (name, header) in [
            ("scan.pdf", "attachment; filename=\"scan.pdf\""),
            ("a b.pdf", "attachment; filename=\"a b.pdf\""),
            ("Röntgen.png", "attachment; filename=\"R_ntgen.png\"; filename*=UTF-8''R%C3%B6ntgen.png"),
            ("a\"b.txt", "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
            ("100%.txt", "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
            ("a;b'c.txt", "attachment; filename=\"a;b'c.txt\""),
            ("a\r\nSet-Cookie: x", "attachment; filename=\"a__Set-Cookie: x\""),
            ("../../etc/passwd", "attachment; filename=\".._.._etc_passwd\""),
            ("..\\x", "attachment; filename=\".._x\""),
            ("\u{202e}fdp.exe", "attachment; filename=\"_fdp.exe\""),
            ("\u{61c}fdp.exe", "attachment; filename=\"_fdp.exe\""),
            ("  ", "attachment"),
        ] {
            assert_eq!(Disposition::Attachment.header(None, name), header, "{name:?}");
        }
    }
}
