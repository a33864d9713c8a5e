//! Forms that anybody may send.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_csrf_form() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/csrf_form");
    Target::new(corpus).with_words(&["csrf", "=", "&", "csrf=", "%63srf="]).run(
        |_| {},
        |input| match field(input, "csrf") {
            Some(value) => {
                let pair = [b"csrf=", value.as_bytes()].concat();
                assert!(input.split(|byte| *byte == b'&').any(|other| other == pair), "it is one of the pairs");
                format!("{}", value.is_empty())
            }
            None => "none".to_owned(),
        },
    );
}
