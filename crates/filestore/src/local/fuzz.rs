//! Trailers of files that anybody may have changed, and names that anybody may have given to what lies on the disk.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::format::{Decoded, FOOTER, Trailer};
use super::name::{self, DIRECTORY};
use super::thing::{is_spelling, split};

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
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/trailer");
    Target::new(corpus).run(seal, |input| {
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

/// A name as it would be spelled.
fn spell(input: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(input);
    let (stem, ending) = text.strip_suffix(DIRECTORY).map_or((&*text, ""), |stem| (stem, "+"));
    *input = format!("{}{ending}", name::spelled(stem)).into_bytes();
}

/// What stands at the end of a path, the directories before which are rests of a long name: no two names add the same to a key.
#[test]
fn fuzz_disk_name() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/disk_name");
    let words = ["%", "%2e", "%+f", "%4A", "+", "=", "=/", "con", "nul.", ".", "\u{e9}", "%c3%a9", "/"];
    Target::new(corpus).with_words(&words).run(spell, |input| {
        let slash = input.iter().rposition(|byte| *byte == b'/');
        let (begun, file_name) = slash.map_or((&[][..], input), |slash| input.split_at(slash + 1));
        let (stem, ending) = split(file_name);
        let mut adds = Vec::new();
        let before = begun.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let mut stems = before.map(|part| part.strip_suffix(b"=").unwrap_or(part)).chain([stem]);
        if !stems.all(|stem| name::read(stem, &mut adds)) {
            return "spells nothing".to_owned();
        }
        let (Ok(begun), Ok(adds)) = (std::str::from_utf8(begun), std::str::from_utf8(&adds)) else {
            return "no text".to_owned();
        };
        if !is_spelling(begun, stem, adds) {
            return "another spelling".to_owned();
        }
        assert!(!adds.contains('/'), "{adds:?} is one segment");
        let spelled = [begun.as_bytes(), stem].concat();
        assert_eq!(name::spelled(adds).as_bytes(), spelled, "{adds:?} is spelled in one way only");
        format!("{} {:?} {}", begun.len() / 100, ending, name::is_plain(stem))
    });
}
