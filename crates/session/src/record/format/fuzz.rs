//! Records that a server handed back.

use std::path::Path;

use bytes::Bytes;
use statehouse_core::conformance::fuzz::{Target, seal_envelope};

use crate::record::Record;
use crate::token::SessionKey;

/// The key that stands in the record: behind the envelope's 56 bytes.
fn key_of(input: &[u8]) -> SessionKey {
    let mut key = [0; 32];
    let found = input.get(56..88).unwrap_or(&[0; 32]);
    key.copy_from_slice(found);
    SessionKey::from_bytes(key)
}

#[test]
fn fuzz_session_record() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/session_record");
    Target::new(corpus).run(seal_envelope, |input| {
        let key = key_of(input);
        let bytes = Bytes::copy_from_slice(input);
        match Record::decode(&key, &bytes) {
            Ok(record) => {
                let bytes = record.encode().unwrap();
                let again = Record::decode(&key, &bytes).unwrap();
                assert_eq!(again.encode().unwrap(), bytes, "what was read is written and read again");
                format!("{}", bytes.len() / 64)
            }
            Err(error) => error.to_string(),
        }
    });
}
