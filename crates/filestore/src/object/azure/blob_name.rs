//! Names of blobs. Azure takes `\` for `/`, and no part of a name may end with a dot:
//! <https://learn.microsoft.com/en-us/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>. So `\`, the
//! last dot of a part that ends with one, and `%` are written as `%` and two hexadecimal digits, and all else as it is.

use statehouse_core::{Error, Result};

const BACKSLASH: &str = "%5C";
const DOT: &str = "%2E";
const PERCENT: &str = "%25";

/// Behind what is no name of ours: no file's has it.
const FOREIGN: char = '\0';

/// The longest that Azure takes, in characters.
const MAX_NAME: usize = 1024;

/// Fails for a key that Azure takes no blob of, with a name behind it that is so long.
pub(in super::super) fn check(prefix: &str, key: &str, beside: usize) -> Result<()> {
    if encode(&format!("{prefix}{key}")).chars().count() + beside <= MAX_NAME {
        return Ok(());
    }
    let message = "the key and the store's prefix are too long for Azure, where each \\ and % in them counts as three";
    Err(Error::invalid_input(message))
}

/// A name as Azure takes it.
pub(in super::super) fn encode(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    let mut chars = name.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '%' => text.push_str(PERCENT),
            '\\' => text.push_str(BACKSLASH),
            '.' if chars.peek().is_none_or(|behind| *behind == '/') => text.push_str(DOT),
            next => text.push(next),
        }
    }
    text
}

/// What all names begin with, as Azure takes them, that begin with this, and perhaps others: of a dot at the end it is not known
/// whether it is the last of its part.
pub(in super::super) fn encode_beginning(beginning: &str) -> String {
    let before = beginning.strip_suffix('.');
    let mut text = encode(&(before.unwrap_or(beginning).to_owned() + "x"));
    text.pop();
    text
}

/// The name that Azure has so; of what something else has named, which is no name of ours, one that no file has.
pub(in super::super) fn decode(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, escaped) = rest.split_at(at);
        name.push_str(before);
        let (letter, len) = letter(escaped).map_or(('%', 1), |letter| (letter, 3));
        name.push(letter);
        rest = &escaped[len..];
    }
    name.push_str(rest);
    if encode(&name) != text {
        name.push(FOREIGN);
    }
    name
}

/// What an escape at the beginning of this stands for.
fn letter(escaped: &str) -> Option<char> {
    match escaped.get(..3)? {
        PERCENT => Some('%'),
        DOT => Some('.'),
        BACKSLASH => Some('\\'),
        _ => None,
    }
}

/// What no name is before whose text comes behind this one. Of texts in the order of their bytes the names need not be in order:
/// where one has an escape, what comes behind it may have any letter that is not before `%`.
pub(in super::super) fn least_behind(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        name.push_str(&rest[..=at]);
        match letter(&rest[at..]) {
            Some('%') => rest = &rest[at + 3..],
            _ => return name,
        }
    }
    name + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 14] =
        ["a", "a.b", "a.", "..a", "a..", "a./b.", "a\\b", "\\", "100%", "%2E", "%25", "a.%", "Ä/😀.", "%5C\\."];

    #[test]
    fn every_name_comes_back_and_is_one_that_azure_takes() {
        for name in NAMES {
            let text = encode(name);
            assert!(!text.contains('\\') && text.split('/').all(|part| !part.ends_with('.')), "{text:?}");
            assert_eq!(decode(&text), name, "{text:?}");
        }
        assert_eq!(encode("r./a\\b.pdf/50%"), "r%2E/a%5Cb.pdf/50%25");
    }

    #[test]
    fn a_name_that_is_too_long_for_azure_is_refused() {
        assert!(check("p/", &"x".repeat(400), 52).is_ok());
        for long in ["\\", "%"] {
            assert!(check("p/", &long.repeat(323), 52).is_ok());
            assert!(check("p/", &long.repeat(324), 52).is_err());
        }
    }

    #[test]
    fn what_something_else_has_named_is_no_file() {
        for text in ["100%", "a%", "a%2", "a%2e", "%41", "a.", "a./b", "a\\b", "a%2Eb"] {
            assert!(decode(text).ends_with(FOREIGN), "{text:?}");
        }
    }

    #[test]
    fn the_beginning_of_a_name_is_that_of_its_text() {
        for name in NAMES {
            for (at, _) in name.char_indices() {
                let beginning = encode_beginning(&name[..at]);
                assert!(encode(name).starts_with(&beginning), "{:?} of {name:?}: {beginning:?}", &name[..at]);
            }
            assert!(encode(name).starts_with(&encode_beginning(name)), "{name:?}");
        }
        assert_eq!(encode_beginning("a./b"), "a%2E/b");
    }

    #[test]
    fn what_comes_behind_a_text_is_no_name_before_what_is_said() {
        let letters = ['!', '%', '&', '-', '.', '/', '0', 'A', '\\', 'a'];
        let mut names = vec![String::new()];
        for _ in 0..4 {
            let longer = names.iter().flat_map(|name| letters.map(|letter| format!("{name}{letter}")));
            names = longer.chain([String::new()]).collect();
        }
        let mut texts: Vec<_> = names.into_iter().map(|name| (encode(&name), name)).collect();
        texts.sort_unstable();
        texts.dedup();
        // From the end on: the least of the names that come behind.
        let mut least: Option<String> = None;
        for (text, name) in texts.into_iter().rev() {
            let bound = least_behind(&text);
            assert!(least.as_ref().is_none_or(|least| *least > bound), "{least:?} behind {text:?}: {bound:?}");
            least = Some(least.map_or(name.clone(), |least| least.min(name)));
        }
    }
}
