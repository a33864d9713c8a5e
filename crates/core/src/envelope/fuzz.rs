//! Envelopes that anybody may have written.

use std::path::Path;

use super::*;
use crate::conformance::fuzz::{Target, seal_envelope};

#[test]
fn fuzz_envelope() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/envelope");
    Target::new(corpus).run(seal_envelope, |input| match Envelope::decode(Bytes::copy_from_slice(input)) {
        Ok(envelope) => {
            assert_eq!(envelope.encode(), input, "what is read is what was written");
            format!("{:?} {}", envelope.flags, envelope.generations.len().min(9))
        }
        Err(error) => format!("{error:?}"),
    });
}

/// Else the fuzzer never comes behind the checksums.
#[test]
fn a_sealed_envelope_is_read() {
    let mut input = b"SH\x01\x01".to_vec();
    seal_envelope(&mut input);
    assert!(Envelope::decode(Bytes::from(input)).is_ok());
}
