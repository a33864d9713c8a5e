//! Queries that anybody may send.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_file_url() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/file_url");
    let words = ["&", "=", "%", "expires=", "signature=", "key=", "show=inline", "create=1", "sha256=", "length="];
    Target::new(corpus).with_words(&words).run(
        |_| {},
        |input| {
            let Some(claimed) = read(&String::from_utf8_lossy(input)) else { return "none".to_owned() };
            let again = claimed.grant.query(&claimed.key, &claimed.signature);
            assert!(again.len() > LONGEST || read(&again) == Some(claimed), "{again:?}");
            "a grant".to_owned()
        },
    );
}
