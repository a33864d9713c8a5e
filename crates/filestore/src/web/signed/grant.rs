//! What a signed URL allows, as it is signed and as it is written.
//!
//! | parameter | holds |
//! | --- | --- |
//! | `expires` | until when, in seconds since 1970 |
//! | `type` | the content type that is stored |
//! | `length`, `max-length` | how many bytes are stored, or at most |
//! | `sha256` | the digest of what is stored |
//! | `create` | `1` if nothing is replaced |
//! | `filename` | the name under which a browser saves it |
//! | `show` | `inline`, `attachment`, `safe` or `stored`; else as the server does |
//! | `key` | the id of the key that has signed |
//! | `signature` | 64 hexadecimal digits |
//!
//! Signed are also the method, the namespace, the purpose and the file's name: `format.rs` says how. Others beside these are
//! not looked at.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::super::disposition::Disposition;
use super::format::message;
use crate::digest::Digest;
use crate::options::Verb;

/// RFC 3986's unreserved characters are left as they are.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// And what divides a path.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// The longest query that is looked at.
pub(super) const LONGEST: usize = 4096;

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// In seconds since 1970.
    pub(super) expires: u64,
    pub(crate) content_type: Option<String>,
    pub(crate) len: Option<u64>,
    pub(crate) max_len: Option<u64>,
    pub(crate) sha256: Option<Digest>,
    pub(crate) create: bool,
    pub(crate) file_name: Option<String>,
    pub(crate) disposition: Option<Disposition>,
}

impl Grant {
    pub(super) const fn until(expires: u64) -> Self {
        Self {
            expires,
            content_type: None,
            len: None,
            max_len: None,
            sha256: None,
            create: false,
            file_name: None,
            disposition: None,
        }
    }

    /// The parameters, in the order of the table.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let show = self.disposition.map(|disposition| match disposition {
            Disposition::Safe => "safe".to_owned(),
            Disposition::Attachment => "attachment".to_owned(),
            Disposition::Inline => "inline".to_owned(),
            Disposition::Stored => "stored".to_owned(),
        });
        let all = [
            ("expires", Some(self.expires.to_string())),
            ("type", self.content_type.clone()),
            ("length", number(self.len)),
            ("max-length", number(self.max_len)),
            ("sha256", self.sha256.map(|digest| digest.to_string())),
            ("create", self.create.then(|| "1".to_owned())),
            ("filename", self.file_name.clone()),
            ("show", show),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// What is signed.
    pub(super) fn message(&self, verb: Verb, place: &[&str], key: &str) -> Vec<u8> {
        message(verb, place, key, &self.parameters())
    }

    /// The URL's query.
    pub(super) fn query(&self, key: &str, signature: &str) -> String {
        let encode = |(name, value): (&str, String)| format!("{name}={}", utf8_percent_encode(&value, QUERY));
        let ends = [("key", key.to_owned()), ("signature", signature.to_owned())];
        self.parameters().into_iter().chain(ends).map(encode).collect::<Vec<_>>().join("&")
    }
}

/// A name as a URL's path has it.
pub(super) fn path(name: &str) -> String {
    utf8_percent_encode(name, PATH).to_string()
}

/// A grant as a URL says it, with the key and the signature; nothing of it is to be believed yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) grant: Grant,
    pub(super) key: String,
    pub(super) signature: String,
}

/// Reads a query. None for one that lacks something, says something twice, or says what nobody signs.
pub(super) fn read(query: &str) -> Option<Claimed> {
    if query.len() > LONGEST {
        return None;
    }
    let mut claimed = Claimed { grant: Grant::until(0), key: String::new(), signature: String::new() };
    let mut seen = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8().ok()?.into_owned();
        if !claimed.take(name, value)? {
            continue;
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    let has_all = ["expires", "key", "signature"].iter().all(|name| seen.contains(name));
    has_all.then_some(claimed)
}

impl Claimed {
    /// Takes a parameter; false if it is none of these.
    fn take(&mut self, name: &str, value: String) -> Option<bool> {
        let grant = &mut self.grant;
        match name {
            "expires" => grant.expires = number(&value)?,
            "type" => grant.content_type = Some(value),
            "length" => grant.len = Some(number(&value)?),
            "max-length" => grant.max_len = Some(number(&value)?),
            "sha256" => grant.sha256 = Some(value.parse().ok()?),
            "create" => grant.create = Some(value == "1").filter(|create| *create)?,
            "filename" => grant.file_name = Some(value),
            "show" => {
                grant.disposition = match value.as_str() {
                    "attachment" => Some(Disposition::Attachment),
                    "inline" => Some(Disposition::Inline),
                    "safe" => Some(Disposition::Safe),
                    "stored" => Some(Disposition::Stored),
                    _ => return None,
                }
            }
            "key" => self.key = value,
            "signature" => self.signature = value,
            _ => return Some(false),
        }
        Some(true)
    }
}

/// A number as it is written here, in one way only.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Grant {
        Grant {
            content_type: Some("image/png; a=b&c".to_owned()),
            len: Some(5),
            max_len: Some(9),
            sha256: Some(Digest::of(b"x")),
            create: true,
            file_name: Some("Röntgen & 1+1 %.png".to_owned()),
            disposition: Some(Disposition::Inline),
            ..Grant::until(1_800_000_000)
        }
    }

    #[test]
    fn a_grant_is_read_as_it_was_written() {
        let dispositions = [Disposition::Safe, Disposition::Attachment, Disposition::Inline, Disposition::Stored];
        let shown = dispositions.map(|shown| Grant { disposition: Some(shown), ..Grant::until(7) });
        for grant in [full(), Grant::until(7)].into_iter().chain(shown) {
            let query = grant.query("k", "s");
            let claimed = Claimed { grant, key: "k".to_owned(), signature: "s".to_owned() };
            assert_eq!(read(&format!("utm=1&{query}&x")), Some(claimed), "others beside it are not looked at");
        }
    }

    #[test]
    fn what_nobody_writes_is_not_read() {
        let query = Grant::until(7).query("k", "s");
        for wrong in [
            "",
            "expires=7",
            "expires=7&key=k",
            &query.replace("expires=7", "expires=07"),
            &query.replace("expires=7", "expires=+7"),
            &query.replace("expires=7", "expires=99999999999999999999"),
            &format!("{query}&expires=8"),
            &format!("{query}&create=0"),
            &format!("{query}&show=yes"),
            &format!("{query}&sha256=1"),
            &format!("{query}&type=%ff"),
            &format!("{query}&{}", "x".repeat(LONGEST)),
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_two_grants_are_signed_alike() {
        let place = ["ns", "purpose", "a/b"];
        let one = full();
        let mut others = vec![one.clone(); 8];
        others[0].expires += 1;
        others[1].content_type = None;
        others[2].len = Some(6);
        others[3].max_len = None;
        others[4].sha256 = Some(Digest::of(b"y"));
        others[5].create = false;
        others[6].file_name = Some("b".to_owned());
        others[7].disposition = None;
        let mut messages: Vec<_> = others.iter().map(|other| other.message(Verb::Get, &place, "k")).collect();
        messages.push(one.message(Verb::Get, &place, "k"));
        messages.push(one.message(Verb::Put, &place, "k"));
        messages.push(one.message(Verb::Get, &place, "j"));
        messages.push(one.message(Verb::Get, &["ns", "purposea", "/b"], "k"));
        messages.push(one.message(Verb::Get, &["other", "purpose", "a/b"], "k"));
        messages.push(one.message(Verb::Get, &["ns", "purpose", "a/c"], "k"));
        let count = messages.len();
        messages.sort();
        messages.dedup();
        assert_eq!(messages.len(), count);
    }
}
