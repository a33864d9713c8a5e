//! Schedules that anybody may have written.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_schedule() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/schedule");
    Target::new(corpus).run(
        |_| {},
        |input| match decode(input) {
            Ok(planned) => {
                assert_eq!(encode(planned), input, "what is read is what was written");
                "read".to_owned()
            }
            Err(error) => error.to_string(),
        },
    );
}
