//! Logs that anybody may have changed.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::tests::framed;
use super::*;

/// The checksums of the header and of the first frame.
fn seal(input: &mut Vec<u8>) {
    input.resize(input.len().max(HEADER + HEAD), 0);
    let room = input.len() - HEADER - HEAD;
    let synced = u64::from_le_bytes(*input[12..].first_chunk().unwrap()).min(input.len() as u64);
    input[..HEADER].copy_from_slice(&header(synced));
    let length = u32::from_le_bytes(*input[HEADER + CHECKSUM..].first_chunk().unwrap());
    let length = usize::try_from(length).unwrap().min(room);
    input[HEADER + CHECKSUM..HEADER + HEAD].copy_from_slice(&number(length));
    let checksum = crc32fast::hash(&input[HEADER + CHECKSUM..HEADER + HEAD + length]);
    input[HEADER..HEADER + CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn fuzz_tantivy_log() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/tantivy_log");
    Target::new(corpus).run(seal, |input| match read(input, 0) {
        Ok(content) => {
            assert!(content.end >= HEADER && content.end <= input.len());
            let again = [&header(HEADER as u64)[..], &framed(&content.entries)].concat();
            assert_eq!(read(&again, 0).unwrap().entries, content.entries, "what is read is written and read again");
            format!("{} {}", content.entries.len(), content.end == input.len())
        }
        Err(fault) => format!("{fault:?}"),
    });
}
