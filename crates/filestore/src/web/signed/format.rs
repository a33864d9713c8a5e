//! What is signed of a URL. The signature is the HMAC-SHA-256 of these bytes under the secret of the key, in 64 lowercase
//! hexadecimal digits. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 22 | `statehouse file url 1` and a zero |
//! | 22 | | texts: length (8), UTF-8 |
//!
//! The texts are the method, `GET` or `PUT`; the namespace; the purpose, perhaps empty; the file's name; the id of the key; then
//! of each parameter that the URL has before `key`, in the order of the table in `grant.rs`, its name and its value, decoded.

use crate::options::Verb;

/// What is signed: each text behind its length, so that no two grants are the same bytes.
pub(super) fn message(verb: Verb, place: &[&str], key: &str, parameters: &[(&'static str, String)]) -> Vec<u8> {
    let mut message = b"statehouse file url 1\0".to_vec();
    let mut add = |text: &str| {
        message.extend((text.len() as u64).to_le_bytes());
        message.extend(text.as_bytes());
    };
    add(match verb {
        Verb::Get => "GET",
        Verb::Put => "PUT",
    });
    place.iter().copied().for_each(&mut add);
    add(key);
    for (name, value) in parameters {
        add(name);
        add(value);
    }
    message
}
