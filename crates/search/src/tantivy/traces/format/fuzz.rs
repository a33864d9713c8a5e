//! Traces that anybody may have changed.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

/// The length and the checksum of the first record, and of what is behind it another one.
fn seal(input: &mut Vec<u8>) {
    input.resize(input.len().max(HEAD + 1), b'a');
    let room = input.len() - HEAD;
    let length = usize::from(u16::from_le_bytes([input[4], input[5]])).clamp(1, room);
    input[4..6].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    let checksum = crc32fast::hash(&input[CHECKSUM..HEAD + length]);
    input[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn fuzz_tantivy_deletes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/tantivy_deletes");
    Target::new(corpus).run(seal, |input| {
        let (mut rest, mut again) = (input, Vec::new());
        let read = std::iter::from_fn(|| decode(&mut rest)).inspect(|(id, trace)| encode(id, *trace, &mut again));
        let records = read.count();
        assert_eq!(again, input[..input.len() - rest.len()], "what is read is written the same");
        format!("{records} {}", rest.is_empty())
    });
}
