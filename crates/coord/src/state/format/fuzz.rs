//! States that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

fn with_count(input: &mut Vec<u8>) {
    input.resize(input.len().max(11), 0);
    input[0] = FORMAT;
    input[10] = input[10].min(u8::try_from((input.len() - 11) / 16).unwrap_or(u8::MAX));
}

#[test]
fn fuzz_shared_state() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/shared_state");
    Target::new(corpus).run(with_count, |input| match Kept::decode(&Bytes::copy_from_slice(input)) {
        Ok(kept) => {
            assert_eq!(kept.encode(), input, "what is read is what was written");
            format!("{} {}", kept.ids.len(), kept.codec.0)
        }
        Err(error) => error.to_string(),
    });
}
