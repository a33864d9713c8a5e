//! How a key is spelled on the disk.
//!
//! Each segment keeps `a-z`, `0-9`, `-`, `_` and inner dots; every other byte, capitals included, becomes `%` and two
//! lowercase hex digits. So two keys never share a name on a disk that folds case or normalises Unicode, and names that
//! some system reserves do not occur. The last segment is the file's name; the others are directories whose names end
//! with `+`, so that the file `a` lies beside the directory `a+` of the file `a/b`. A name that gets too long goes on
//! in a directory whose name ends with `=`; where it goes on, the rules for a name's beginning hold again. No name
//! begins with a dot: such names are the store's own.

use crate::key::FileKey;

/// The most bytes of a name; every file system in use takes 255, ecryptfs 143.
const MAX_NAME: usize = 140;

/// The end of the name of a directory that holds the keys below a segment.
pub(super) const DIRECTORY: char = '+';

/// The end of the name of a directory that holds the rest of names that are too long.
pub(super) const CONTINUED: char = '=';

/// Where a key's file is: a directory below the root, and a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiskName {
    path: String,
    name_at: usize,
}

impl DiskName {
    pub(super) fn of(key: &FileKey) -> Self {
        let mut path = String::with_capacity(key.len() + 16);
        let mut segments = key.split('/').peekable();
        while let Some(segment) = segments.next() {
            spell(segment, &mut path);
            if segments.peek().is_some() {
                path.push(DIRECTORY);
                path.push('/');
            }
        }
        let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
        Self { path, name_at }
    }

    /// The path of the file below the root.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of the file's directory below the root; `.` for the root itself.
    pub(super) fn directory(&self) -> &str {
        if self.name_at == 0 { "." } else { &self.path[..self.name_at - 1] }
    }

    /// The file's name in its directory.
    pub(super) fn name(&self) -> &str {
        &self.path[self.name_at..]
    }
}

/// The path below the root of the directory of all keys that begin with this text, which is empty or ends with a slash.
pub(super) fn directory_of(prefix: &str) -> String {
    let mut path = String::new();
    for segment in prefix.split_terminator('/') {
        if !path.is_empty() {
            path.push('/');
        }
        spell(segment, &mut path);
        path.push(DIRECTORY);
    }
    if path.is_empty() { ".".to_owned() } else { path }
}

/// How one segment is spelled, without the ending of a directory.
pub(super) fn spelled(segment: &str) -> String {
    let mut path = String::with_capacity(segment.len() + 16);
    spell(segment, &mut path);
    path
}

fn spell(segment: &str, path: &mut String) {
    let bytes = segment.as_bytes();
    let (mut start, mut reserved) = (path.len(), is_device(bytes));
    for (at, byte) in bytes.iter().enumerate() {
        if path.len() - start + 3 > MAX_NAME {
            path.push(CONTINUED);
            path.push('/');
            (start, reserved) = (path.len(), is_device(&bytes[at..]));
        }
        let first = path.len() == start;
        let plain = match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => !(reserved && first),
            b'.' => !first && at + 1 < bytes.len(),
            _ => false,
        };
        if plain {
            path.push((*byte).into());
        } else {
            path.push('%');
            path.push_str(&crate::digest::hex(&[*byte]));
        }
    }
}

/// Whether a name on the disk spells itself.
pub(super) fn is_plain(name: &[u8]) -> bool {
    let inner = |at: usize| at > 0 && at + 1 < name.len();
    let plain = |(at, byte): (usize, &u8)| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => true,
        b'.' => inner(at),
        _ => false,
    };
    name.len() + 2 <= MAX_NAME && name.iter().enumerate().all(plain) && !is_device(name)
}

/// Names that Windows keeps for devices, whatever their extension. Capitals are escaped anyway.
fn is_device(name: &[u8]) -> bool {
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or(name);
    match stem {
        b"con" | b"prn" | b"aux" | b"nul" => true,
        [b'c', b'o', b'm', number] | [b'l', b'p', b't', number] => number.is_ascii_digit(),
        _ => false,
    }
}

/// Appends the bytes that a name on the disk spells, given without its ending; false if it spells none.
pub(super) fn read(name: &[u8], bytes: &mut Vec<u8>) -> bool {
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else { return false };
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn path(key: &str) -> String {
        DiskName::of(&FileKey::new(key).unwrap()).path().to_owned()
    }

    #[test]
    fn each_rule_as_an_example() {
        assert_eq!(path("p42/chest.dcm"), "p42+/chest.dcm");
        assert_eq!(path("IMG 1.JPG"), "%49%4d%47%201.%4a%50%47");
        assert_eq!(path("é"), "%c3%a9");
        assert_eq!(path(".hidden/x."), "%2ehidden+/x%2e");
        assert_eq!(path("con/nul.txt/com1/console"), "%63on+/%6eul.txt+/%63om1+/console");
        assert_eq!(path("a+b=c%d"), "a%2bb%3dc%25d");
        let name = DiskName::of(&FileKey::new("a/b/c").unwrap());
        assert_eq!((name.directory(), name.name()), ("a+/b+", "c"));
        let name = DiskName::of(&FileKey::new("a").unwrap());
        assert_eq!((name.directory(), name.name()), (".", "a"));
    }

    #[test]
    fn no_two_keys_share_a_name_even_where_case_is_folded() {
        let keys =
            ["a", "A", "a/b", "A/b", "a+/b", "a+", "a%2b", "é", "e\u{301}", "É", "a.", "a", "con", "CON", "x=/y"];
        let distinct: HashSet<_> = keys.iter().collect();
        let names: HashSet<_> = keys.iter().map(|key| path(key).to_lowercase()).collect();
        assert_eq!(names.len(), distinct.len());
    }

    /// Every way to write a name of this many bytes with one of these pieces at the place where names are split.
    fn long_segments() -> impl Iterator<Item = String> {
        let inserted = [".", "..", "con", "nul.x", "com1.", "%", "é", "Ж.", "A", "-", "=", "+"];
        (100..=145).chain(250..=255).flat_map(move |before| {
            inserted.into_iter().flat_map(move |middle| {
                ["x", "Ж", "."].into_iter().map(move |filler| {
                    let mut segment = filler.repeat(before / filler.len()) + middle;
                    segment.extend(std::iter::repeat_n('y', 255_usize.saturating_sub(segment.len())));
                    segment
                })
            })
        })
    }

    #[test]
    fn a_plain_name_spells_itself() {
        let some =
            ["a", "p42", "chest.dcm", "a..b", "-_", "con", "con.x", "com1", "console", ".a", "a.", "A", "é", "a b"];
        for segment in some.into_iter().map(ToOwned::to_owned).chain(long_segments()) {
            assert_eq!(is_plain(segment.as_bytes()), spelled(&segment) == segment, "{segment}");
        }
    }

    #[test]
    fn long_names_are_split_and_every_name_reads_back() {
        for segment in long_segments().chain(["Ж".repeat(127), ".".repeat(255), "a.B".repeat(85), "con".repeat(85)]) {
            let (path, mut read_back) = (spelled(&segment), Vec::new());
            for name in path.split('/') {
                assert!(name.len() <= MAX_NAME + 1 && !name.starts_with('.') && !name.ends_with('.'), "{path}");
                assert!(!is_device(name.trim_end_matches(CONTINUED).as_bytes()), "{path}");
                assert!(read(name.trim_end_matches(CONTINUED).as_bytes(), &mut read_back));
            }
            assert_eq!(String::from_utf8(read_back).unwrap(), segment);
        }
    }
}
