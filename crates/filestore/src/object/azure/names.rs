//! Names of metadata. Azure takes only letters, digits and `_`, and no digit at the beginning: any other byte is written as `_`
//! and two hexadecimal digits.

use reqwest::header::{HeaderMap, HeaderName};

const METADATA: &str = "x-ms-meta-";

/// Writes the names as Azure takes them.
pub(in super::super) fn write(headers: &mut HeaderMap) {
    rename(headers, |name| Some(encode(name)));
}

/// Reads them. What something else has written may have any other form, and is left as it is.
pub(in super::super) fn read(headers: &mut HeaderMap) {
    rename(headers, decode);
}

fn rename(headers: &mut HeaderMap, new: impl Fn(&str) -> Option<String>) {
    let renamed = |name: &HeaderName| {
        let new = new(name.as_str().strip_prefix(METADATA)?)?;
        HeaderName::try_from(format!("{METADATA}{new}")).ok().filter(|new| new != name)
    };
    let all: Vec<_> = headers.keys().filter_map(|name| Some((name.clone(), renamed(name)?))).collect();
    for (old, new) in all {
        if let Some(value) = headers.remove(old) {
            headers.insert(new, value);
        }
    }
}

fn encode(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("_{byte:02x}"));
        }
    }
    text
}

fn decode(text: &str) -> Option<String> {
    let (mut name, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('_') {
        let byte = u8::from_str_radix(after.get(..2)?, 16).ok().filter(u8::is_ascii_graphic)?;
        name.push_str(before);
        name.push(char::from(byte));
        rest = &after[2..];
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_and_is_one_that_azure_takes() {
        for name in ["statehouse-put", "a", "7", "a-b--9", "0-9", "-", "a_b"] {
            let written = encode(name);
            let mut bytes = written.bytes();
            assert!(bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic()), "{written}");
            assert!(bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()), "{written}");
            assert_eq!(decode(&written).as_deref(), Some(name), "{written}");
        }
        assert_eq!(encode("statehouse-put"), "statehouse_2dput");
    }

    #[test]
    fn what_something_else_wrote_is_left_as_it_is() {
        let mut headers = HeaderMap::new();
        for name in ["x-ms-meta-by_hand", "x-ms-meta-_", "x-ms-meta-hdi_isfolder", "etag"] {
            headers.insert(HeaderName::from_static(name), "1".parse().unwrap());
        }
        let before = headers.clone();
        read(&mut headers);
        assert_eq!(headers, before);
    }
}
