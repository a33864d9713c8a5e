//! Text in URLs, and bytes in base 64, as clouds write them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// RFC 3986's unreserved characters are left as they are, as signatures want it.
pub(super) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// And what divides a path.
pub(super) const PATH: &AsciiSet = &QUERY.remove(b'/');

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// [RFC 4648](https://www.rfc-editor.org/rfc/rfc4648#section-4).
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or(0);
            text.push(if at <= three.len() { char::from(LETTERS[letter]) } else { '=' });
        }
    }
    text
}

/// None if that is no text in base 64.
#[cfg(feature = "azure")]
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().try_fold(0_u32, |bits, letter| {
            let value = LETTERS.iter().position(|other| other == letter)?;
            Some(bits << 6 | u32::try_from(value).ok()?)
        })?;
        let [_, one, two, three] = (bits << (6 * (4 - four.len()))).to_be_bytes();
        bytes.extend(&[one, two, three][..four.len() - 1]);
    }
    Some(bytes).filter(|bytes| base64(bytes) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, 10.
    const VECTORS: [(&str, &str); 7] = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];

    #[test]
    fn bytes_are_written_as_the_rfc_says() {
        for (bytes, text) in VECTORS {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[cfg(feature = "azure")]
    #[test]
    fn bytes_are_read_as_they_were_written_and_nothing_else_is() {
        for (bytes, text) in VECTORS {
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        for wrong in ["Z", "Zg", "Zg=", "Zh==", "Zm9v=", "Zm 9v", "Zm9-", "hunter2!", "é"] {
            assert_eq!(from_base64(wrong), None, "{wrong:?}");
        }
    }
}
