//! Records that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::{Target, seal_envelope};

use super::*;

#[test]
fn fuzz_coord_record() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/coord_record");
    Target::new(corpus).run(seal_envelope, |input| match Stored::decode(Bytes::copy_from_slice(input)) {
        Ok(stored) => {
            assert_eq!(Stored::decode(stored.encode()).unwrap(), stored, "what is read is written and read again");
            format!("{} {}", stored.is_removed, stored.time_to_live.is_some())
        }
        Err(error) => error.to_string(),
    });
}
