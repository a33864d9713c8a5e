//! Marks that anybody may have changed.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_mark() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/mark");
    let repair = |input: &mut Vec<u8>| {
        input.resize(2 * SLOT, 0);
        for slot in input.chunks_mut(SLOT) {
            let crc = crc32fast::hash(&slot[..8]).to_le_bytes();
            slot[8..].copy_from_slice(&crc);
        }
    };
    Target::new(corpus).run(repair, |input| {
        let slots = decode(input);
        for (at, token) in slots.iter().enumerate().filter_map(|(at, slot)| Some((at, (*slot)?))) {
            assert_eq!(encode(token), input[at * SLOT..(at + 1) * SLOT]);
        }
        format!("{:?}", slots.map(|slot| slot.is_some()))
    });
}
