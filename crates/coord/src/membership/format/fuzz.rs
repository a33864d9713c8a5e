//! Members that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_member() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/member");
    let words =
        ["\u{7f}", "id", "label", "heartbeat", "record", "info", "build", "formats", "state", "reaches", "lost"];
    let repair = |input: &mut Vec<u8>| {
        input.resize(input.len().max(1), 0);
        input[0] = FORMAT;
    };
    Target::new(corpus).with_words(&words).run(repair, |input| match Kept::decode(input) {
        Ok(kept) => {
            let again = kept.encode().map(|bytes| Kept::decode(&bytes).unwrap());
            assert!(again.map_or_else(|error| error.kind() == ErrorKind::TooLarge, |again| again == kept));
            format!("{} {:?} {}", kept.id().is_ok(), kept.info.state, kept.outlives().is_zero())
        }
        Err(error) => format!("{} {}", error.kind(), error.message()),
    });
}
