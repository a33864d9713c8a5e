//! Epochs that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_epoch() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/epoch");
    let repair = |input: &mut Vec<u8>| {
        input.resize(5, 0);
        input[0] = FORMAT;
    };
    Target::new(corpus).run(repair, |input| match decode(input) {
        Ok(epoch) => {
            assert_eq!(encode(epoch), input, "it is written in one way only");
            format!("{}", epoch.leading_zeros())
        }
        Err(error) => format!("{} {}", error.kind(), error.message()),
    });
}
