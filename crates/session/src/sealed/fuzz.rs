//! What a store hands back in the place of a value that was sealed, and what is under a seal.

use std::path::Path;

use bytes::Bytes;
use statehouse_core::conformance::fuzz::Target;
use statehouse_core::{ErrorKind, KeyRing, Secret};

use super::cipher::Keys;
use super::format::{read, written};
use crate::SessionKey;

const PLACE: &[u8] = b"0123456789abcdef";

/// Both lengths, so that the fields are there.
fn fit(input: &mut Vec<u8>) {
    input.resize(input.len().max(8), 1);
    let mut room = input.len() - 7;
    for length in input.iter_mut().take(2) {
        let fitting = usize::from(*length).min(room);
        *length = u8::try_from(fitting).unwrap_or(u8::MAX);
        room -= fitting;
    }
}

#[test]
fn fuzz_sealed_value() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/sealed_value");
    let ring = KeyRing::new("2026-11", Secret::new("k".repeat(32))).unwrap();
    Target::new(corpus).with_words(&["\u{1}\u{7}2026-11", "theme", "statehouse.principal"]).run(fit, |input| {
        let mut keys = Keys::new(&ring, &[3; 32], &SessionKey::from_bytes([7; 32]));
        let opened = keys.open(PLACE, input).unwrap_err();
        assert_eq!(opened.kind(), ErrorKind::Corrupt, "nobody has sealed it");
        // Somebody has: the seal holds whatever is under it.
        let sealed = keys.seal(PLACE, input).unwrap();
        let plain = keys.open(PLACE, &sealed).unwrap();
        assert_eq!(plain, input);
        let Some((name, value)) = read(&plain) else { return format!("{} no attribute", opened.message()) };
        let again = Bytes::from(written(&name, &value));
        assert_eq!(read(&again), Some((name, value.clone())), "what is read is written and read again");
        format!("{} {}", opened.message().len(), value.type_name().len() / 16)
    });
}
