//! Locks that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

fn with_format(input: &mut Vec<u8>) {
    input.resize(input.len().max(18), 0);
    input[0] = FORMAT;
    input[1] %= 2;
}

#[test]
fn fuzz_lock() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/lock");
    Target::new(corpus).run(with_format, |input| match State::decode(input) {
        Ok(state) => {
            assert_eq!(State::decode(&state.encode()).unwrap(), state, "what is read is written and read again");
            format!("{}", state == State::Free)
        }
        Err(error) => error.to_string(),
    });
}
