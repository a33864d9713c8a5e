//! Bytes and texts that anybody may have written.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use statehouse_core::conformance::fuzz::{Target, seal_envelope};
use statehouse_core::{Envelope, Key, Namespace, ServiceUrl};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn repair_nothing(_: &mut Vec<u8>) {}

#[test]
fn fuzz_envelope() {
    Target::new(corpus("envelope")).run(seal_envelope, |input| match Envelope::decode(Bytes::copy_from_slice(input)) {
        Ok(envelope) => {
            assert_eq!(envelope.encode(), input, "what is read is what was written");
            format!("{:?} {}", envelope.flags, envelope.generations.len().min(9))
        }
        Err(error) => format!("{error:?}"),
    });
}

/// Else the fuzzer never comes behind the checksums.
#[test]
fn a_sealed_envelope_is_read() {
    let mut input = b"SH\x01\x01".to_vec();
    seal_envelope(&mut input);
    assert!(Envelope::decode(Bytes::from(input)).is_ok());
}

#[test]
fn fuzz_service_url() {
    const SECRET: &str = "hunter2hunter2";
    let words = ["redis", "://", "@", ":", "/", "?", "&", "=", "%2F", "[::1]", ",", "timeout", "250ms", "1GiB", "%ff"];
    Target::new(corpus("service_url")).with_words(&words).run(repair_nothing, |input| {
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
    });
}

#[test]
fn fuzz_key() {
    let words = ["..", "/", "\0", "\u{fffd}", ":", "{", "}", ".", "\u{2028}"];
    Target::new(corpus("key")).with_words(&words).run(repair_nothing, |input| {
        let text = String::from_utf8_lossy(input);
        let key = Key::new(text.as_ref()).map(|key| {
            assert_eq!(key.to_string(), text, "a key is what was given");
            assert!(key.split('/').all(|part| part != ".."), "{key}");
        });
        let namespace = Namespace::new(text.as_ref()).map(|namespace| assert_eq!(namespace.to_string(), text));
        let kind = |error: statehouse_core::Error| error.message().to_owned();
        format!("{:?} {:?}", key.map_err(kind), namespace.map_err(kind))
    });
}
