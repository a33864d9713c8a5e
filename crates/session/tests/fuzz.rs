//! Records that a server handed back, and cookies that anybody may send.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use statehouse_core::conformance::fuzz::{Target, seal_envelope};
use statehouse_session::{MemorySessionStore, Record, SessionConfig, SessionKey, Sessions, Token};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The key that stands in the record: behind the envelope's 56 bytes.
fn key_of(input: &[u8]) -> SessionKey {
    let mut key = [0; 32];
    let found = input.get(56..88).unwrap_or(&[0; 32]);
    key.copy_from_slice(found);
    SessionKey::from_bytes(key)
}

#[test]
fn fuzz_record() {
    Target::new(corpus("record")).run(seal_envelope, |input| {
        let key = key_of(input);
        let bytes = Bytes::copy_from_slice(input);
        match Record::decode(&key, &bytes) {
            Ok(record) => {
                let bytes = record.encode().unwrap();
                let again = Record::decode(&key, &bytes).unwrap();
                assert_eq!(again.encode().unwrap(), bytes, "what was read is written and read again");
                format!("{}", bytes.len() / 64)
            }
            Err(error) => error.to_string(),
        }
    });
}

#[test]
fn fuzz_cookie() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let words = ["__Host-id", "=", "; ", ";", "\"", ",", "id=", "\t"];
    Target::new(corpus("cookie")).with_words(&words).run(
        |_| {},
        |input| {
            let text = String::from_utf8_lossy(input);
            if let Some(token) = Token::parse(&text) {
                assert_eq!(token.expose().expose(), text, "a token is written as it was read");
            }
            let Ok(value) = HeaderValue::from_bytes(input) else { return "no header".to_owned() };
            let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
            let session = sessions.open(&headers);
            let principal = runtime.block_on(session.principal()).unwrap();
            assert!(principal.is_none(), "nobody is logged in by a cookie that no log-in gave");
            let mut answer = HeaderMap::new();
            session.write_cookie(&mut answer);
            format!("{}", answer.contains_key(header::SET_COOKIE))
        },
    );
}
