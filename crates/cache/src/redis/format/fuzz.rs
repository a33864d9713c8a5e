//! Records that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::tests::encode;
use super::*;

/// The magic, the numbers below their bound, the lengths, and all three checks.
fn seal(input: &mut Vec<u8>) {
    input.resize(input.len().max(HEADER), 0);
    input[..4].copy_from_slice(&MAGIC);
    let head: [u8; HEADER] = *input.first_chunk().unwrap();
    let [version, created, expires, generation] = [8, 16, 24, 32].map(|at| number::<8>(&head, at) % MOST);
    // Only so much can be checked: what is negative is never stored.
    let created = created.min(2 * version + expires + generation);
    let tags = usize::from(head[53] % 4).min((input.len() - HEADER) / 20);
    let tail = if tags > 0 { 8 * tags + 4 } else { 0 };
    let length = input.len() - HEADER - 8 * tags - tail;
    input[4..8].copy_from_slice(&small(check(version, created, expires, generation)));
    for (at, number) in [(8, version), (16, created), (24, expires), (32, generation)] {
        input[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    input[53] = u8::try_from(tags).unwrap();
    input[64..68].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    let end = input.len() - tail;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&input[SEALED..CRC]);
    crc.update(&input[HEADER..end]);
    input[CRC..HEADER].copy_from_slice(&crc.finalize().to_le_bytes());
    if tags > 0 {
        let mut sum = 0;
        for at in (end..end + 8 * tags).step_by(8) {
            let generation = number::<8>(input, at) % MOST;
            input[at..at + 8].copy_from_slice(&generation.to_le_bytes());
            sum = (3 * sum + generation) % PRIME;
        }
        let at = input.len() - 4;
        input[at..].copy_from_slice(&small(sum));
    }
}

fn small(sum: u64) -> [u8; 4] {
    u32::try_from(sum).unwrap().to_le_bytes()
}

#[test]
fn fuzz_cache_record() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/cache_record");
    Target::new(corpus).run(seal, |input| match Record::decode(Bytes::copy_from_slice(input)) {
        Ok(record) => {
            let mut again = encode(&record, *input[SEALED..].first_chunk().unwrap());
            // The soft expiry, which this build neither writes nor reads, is not in the record.
            again[56..64].copy_from_slice(&input[56..64]);
            let (end, tags) = (HEADER + 8 * record.tags.len() + record.payload.len(), record.tags.len());
            let crc = crc32fast::hash(&[&again[SEALED..CRC], &again[HEADER..end]].concat());
            again[CRC..HEADER].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(again, input, "what is read is what was written");
            format!("{} {tags} {}", record.flags.min(16), record.codec.0.min(9))
        }
        Err(reason) => format!("{reason:?}"),
    });
}

/// Else the fuzzer never comes behind the checks.
#[test]
fn a_sealed_record_is_read() {
    for length in [0, 72, 100, 300] {
        for tags in 0..4 {
            let mut input = vec![0xa5; length];
            if let Some(count) = input.get_mut(53) {
                *count = tags;
            }
            seal(&mut input);
            assert!(Record::decode(input.into()).is_ok(), "{length} bytes, {tags} tags");
        }
    }
}
