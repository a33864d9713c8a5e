//! Answers that anybody may have stored.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

fn with_format(input: &mut Vec<u8>) {
    input.resize(input.len().max(34), 0);
    input[0] = FORMAT;
    input[1] %= 3;
}

#[test]
fn fuzz_idempotency() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/idempotency");
    Target::new(corpus).run(with_format, |input| match Known::decode(&Bytes::copy_from_slice(input)) {
        Ok(known) => {
            let again = Known::decode(&known.encode().expect("it was written")).unwrap();
            assert_eq!(again, known, "what is read is written and read again");
            match known.state {
                State::Kept(kept) => format!("{}", kept.headers.len()),
                other => format!("{other:?}"),
            }
        }
        Err(error) => error.to_string(),
    });
}
