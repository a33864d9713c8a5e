//! Cookies that anybody may send.

use std::path::Path;

use http::{HeaderMap, HeaderValue, header};
use statehouse_core::conformance::fuzz::Target;

use crate::{MemorySessionStore, SessionConfig, Sessions, Token};

#[test]
fn fuzz_cookie() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/cookie");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let words = ["__Host-id", "=", "; ", ";", "\"", ",", "id=", "\t"];
    Target::new(corpus).with_words(&words).run(
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
