//! Bytes as hexadecimal digits, and back.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes as lowercase digits, two for each.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push(&mut text, bytes);
    text
}

/// Adds what [`encode`] gives to a text.
pub fn push(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Exactly `N` bytes from `2 N` lowercase digits; `None` for anything else, so that a number has one spelling.
#[must_use]
pub fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

const fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_from_its_one_spelling() {
        let all: [u8; 256] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let text = encode(&all);
        assert!(text.starts_with("000102") && text.ends_with("feff"));
        assert_eq!(decode(text.as_bytes()), Some(all));
        for other in ["0", "000", "0g", "0A", "+1", " 1"] {
            assert_eq!(decode::<1>(other.as_bytes()), None, "{other}");
        }
        assert_eq!(decode::<2>(b"00"), None);
    }
}
