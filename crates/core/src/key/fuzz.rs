//! Keys and namespaces that anybody may ask for.

use std::path::Path;

use super::*;
use crate::Namespace;
use crate::conformance::fuzz::Target;

#[test]
fn fuzz_key() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/key");
    let words = ["..", "/", "\0", "\u{fffd}", ":", "{", "}", ".", "\u{2028}"];
    Target::new(corpus).with_words(&words).run(
        |_| {},
        |input| {
            let text = String::from_utf8_lossy(input);
            let key = Key::new(text.as_ref()).map(|key| {
                assert_eq!(key.to_string(), text, "a key is what was given");
                assert!(key.split('/').all(|part| part != ".."), "{key}");
            });
            let namespace = Namespace::new(text.as_ref()).map(|namespace| assert_eq!(namespace.to_string(), text));
            let kind = |error: Error| error.message().to_owned();
            format!("{:?} {:?}", key.map_err(kind), namespace.map_err(kind))
        },
    );
}
