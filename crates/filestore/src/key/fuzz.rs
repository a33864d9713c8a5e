//! Names of files that anybody may ask for.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::*;

#[test]
fn fuzz_file_key() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/file_key");
    let words = ["..", "/", "//", "\\", "\0", ".statehouse", "%2f", "\u{fffd}", "~", "\u{202e}"];
    Target::new(corpus).with_words(&words).run(
        |_| {},
        |input| match FileKey::new(String::from_utf8_lossy(input)) {
            Ok(key) => {
                let text = key.to_string();
                assert!(!text.is_empty() && !text.starts_with('/'), "{text:?}");
                assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".."), "{text:?}");
                "a key".to_owned()
            }
            Err(error) => error.message().to_owned(),
        },
    );
}
