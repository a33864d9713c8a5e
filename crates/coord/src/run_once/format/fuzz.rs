//! States of runs that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

fn with_length(input: &mut Vec<u8>) {
    input.resize(input.len().max(6), 0);
    let length = u32::from_le_bytes([input[2], input[3], input[4], input[5]]);
    let length = length.min(u32::try_from(input.len() - 6).unwrap());
    input[0] = FORMAT;
    input[2..6].copy_from_slice(&length.to_le_bytes());
}

#[test]
fn fuzz_run() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/run");
    Target::new(corpus).run(with_length, |input| match RunState::decode(&Bytes::copy_from_slice(input)) {
        Ok(state) => {
            let again = RunState::decode(&state.encode().unwrap()).unwrap();
            assert_eq!(again, state, "what is read is written and read again");
            format!("{:?} {}", state.status.phase, state.checkpoint.is_some())
        }
        Err(error) => error.to_string(),
    });
}
