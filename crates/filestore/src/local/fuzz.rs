//! Trailers of files that anybody may have changed, and names of files that anybody may ask for.

use std::path::{Path, PathBuf};

use statehouse_core::conformance::fuzz::Target;

use super::format::{Decoded, FOOTER, Trailer};
use crate::FileKey;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// Both lengths, the magic and the checksum of the trailer. The content's length takes up what the file has besides.
fn seal(input: &mut Vec<u8>) {
    input.resize(input.len().max(FOOTER), 0);
    let at = input.len() - FOOTER;
    let described = u32::from_le_bytes([input[at + 56], input[at + 57], input[at + 58], input[at + 59]]);
    let described = usize::try_from(described).unwrap().min(at);
    input[at..at + 8].copy_from_slice(&u64::try_from(at - described).unwrap().to_le_bytes());
    input[at + 56..at + 60].copy_from_slice(&u32::try_from(described).unwrap().to_le_bytes());
    input[at + 64..at + 68].copy_from_slice(&[1, 0, 0, 0]);
    let crc = crc32fast::hash(&input[at - described..at + 68]).to_le_bytes();
    input[at + 68..at + 72].copy_from_slice(&crc);
    input[at + 72..].copy_from_slice(b"SHfile\r\n");
}

#[test]
fn fuzz_trailer() {
    Target::new(corpus("trailer")).run(seal, |input| {
        let length = u64::try_from(input.len()).unwrap();
        match Trailer::decode(input, length) {
            Ok(Decoded::Trailer(trailer)) => {
                assert!(trailer.len <= length, "the content is not longer than the file");
                let again = trailer.encode().unwrap();
                let file_len = trailer.len + u64::try_from(again.len()).unwrap();
                let Ok(Decoded::Trailer(read)) = Trailer::decode(&again, file_len) else { panic!("read again") };
                assert_eq!(read, trailer);
                format!("{} {}", trailer.description.user.len(), trailer.description.content_type.is_some())
            }
            Ok(Decoded::Longer(_)) => "longer".to_owned(),
            Err(error) => error.to_string(),
        }
    });
}

#[test]
fn fuzz_file_key() {
    let words = ["..", "/", "//", "\\", "\0", ".statehouse", "%2f", "\u{fffd}", "~", "\u{202e}"];
    Target::new(corpus("file_key")).with_words(&words).run(
        |_| {},
        |input| match FileKey::new(String::from_utf8_lossy(input)) {
            Ok(key) => {
                let text = key.to_string();
                assert!(!text.is_empty() && !text.starts_with('/'), "{text:?}");
                assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".."), "{text:?}");
                "a key".to_owned()
            }
            Err(error) => error.message().to_owned(),
        },
    );
}
