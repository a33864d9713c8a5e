//! URLs that anybody may have set.

use std::path::Path;

use super::*;
use crate::conformance::fuzz::Target;

#[test]
fn fuzz_service_url() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/service_url");
    const SECRET: &str = "hunter2hunter2";
    let words = ["redis", "://", "@", ":", "/", "?", "&", "=", "%2F", "[::1]", ",", "timeout", "250ms", "1GiB", "%ff"];
    Target::new(corpus).with_words(&words).run(
        |_| {},
        |input| {
            let text = String::from_utf8_lossy(input);
            // The password of a URL is shown by nothing, whatever is wrong behind it.
            let text = text.strip_prefix("redis://app:").map_or(text.to_string(), |rest| {
                let (_, rest) = rest.split_once('@').unwrap_or(("", rest));
                format!("redis://app:{SECRET}@{rest}")
            });
            match ServiceUrl::parse("SETTING", &text) {
                Ok(mut url) => {
                    assert!(!format!("{url:?}").contains(SECRET), "{url:?}");
                    let (timeout, size) = (url.take_duration("timeout"), url.take_size("max_bytes"));
                    let rest = url.finish();
                    for error in [timeout.err(), size.err(), rest.err()].into_iter().flatten() {
                        assert_eq!(error.setting(), Some("SETTING"), "{error}");
                        assert!(!error.to_string().contains(SECRET), "{error}");
                    }
                    "a URL".to_owned()
                }
                Err(error) => {
                    assert_eq!(error.setting(), Some("SETTING"), "{error}");
                    assert!(!error.to_string().contains(SECRET), "{error}");
                    error.message().split(' ').filter(|word| word.chars().all(char::is_alphabetic)).collect()
                }
            }
        },
    );
}
