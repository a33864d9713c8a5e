//! Whether content begins as its type says.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::Result;

use super::unsupported::refused;

/// How files of a type begin. `?` is any byte. Pictures and PDF have such marks; text, sound and archives, none or too many.
const KNOWN: [(&str, &[u8]); 9] = [
    ("application/pdf", b"%PDF-"),
    ("application/zip", b"PK"),
    ("image/avif", b"????ftypavi"),
    ("image/bmp", b"BM"),
    ("image/gif", b"GIF8"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/webp", b"RIFF????WEBP"),
    ("image/x-icon", b"\0\0\x01\0"),
];

type Pieces<'a> = BoxStream<'a, Result<Bytes>>;

/// The same content; an error in place of what does not begin as content of this type does, and does not have to be read any further.
pub(super) fn checked<'a>(content: Pieces<'a>, essence: &str) -> Pieces<'a> {
    let Some((_, mark)) = KNOWN.iter().find(|(known, _)| *known == essence) else { return content };
    futures_util::stream::once(begin(content, mark)).try_flatten().boxed()
}

/// Reads as much as the mark is long.
async fn begin<'a>(mut content: Pieces<'a>, mark: &'static [u8]) -> Result<Pieces<'a>> {
    let (mut pieces, mut start) = (Vec::new(), Vec::<u8>::new());
    while start.len() < mark.len() {
        let Some(piece) = content.try_next().await? else { break };
        start.extend(piece.iter().take(mark.len() - start.len()));
        if !piece.is_empty() {
            pieces.push(Ok(piece));
        }
    }
    let alike = start.iter().zip(mark).all(|(byte, like)| *like == b'?' || byte == like);
    if start.len() < mark.len() || !alike {
        return Err(refused("the content does not begin as content of its type does"));
    }
    Ok(futures_util::stream::iter(pieces).chain(content).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn content_must_begin_as_its_type_says_however_it_is_cut() {
        let png = b"\x89PNG\r\n\x1a\n and more pixels";
        for (content, declared, fits) in [
            (&png[..], "image/png", true),
            (b"<html>", "image/png", false),
            (b"\x89PN", "image/png", false),
            (b"", "image/png", false),
            (b"RIFFabcdWEBPVP8 ", "image/webp", true),
            (b"RIFFabcdWAVE", "image/webp", false),
            (b"%PDF-1.7", "application/pdf", true),
            (b"anything", "application/octet-stream", true),
            (b"", "text/plain", true),
        ] {
            for piece in [1, 3, 100] {
                let pieces: Vec<_> = content.chunks(piece).map(|bytes| Ok(Bytes::copy_from_slice(bytes))).collect();
                let whole: Result<Vec<_>> =
                    checked(futures_util::stream::iter(pieces).boxed(), declared).try_collect().await;
                assert_eq!(whole.is_ok(), fits, "{declared} {content:?}");
                if let Ok(whole) = whole {
                    assert_eq!(whole.concat(), content);
                }
            }
        }
    }
}
