use std::sync::Arc;

use statehouse_core::{Namespace, Result};

use crate::topology::slot::hash_tag;

/// Builds the keys of one service's store: `namespace:service:name:key`.
///
/// Three things keep keys apart and keep hash tags deliberate:
/// - The namespace, service and name are dotted lowercase words without `:`, so that no two prefixes can overlap.
/// - `{`, `}` and `%` of the caller's part are written as `%7B`, `%7D` and `%25`. A key therefore never carries a
///   hash tag of its own: in a cluster keys spread over all slots, whoever chose them, and every two different keys
///   stay different.
/// - Only [`tagged`](Self::tagged) keys have a hash tag, the caller's part, so that all parts of one key are in one
///   slot and a script may touch them together.
///
/// ```
/// use statehouse_core::Namespace;
/// use statehouse_redis::KeySpace;
///
/// let keys = KeySpace::new(&Namespace::new("clinic.prod")?, "cache", "rates")?;
/// assert_eq!(keys.key("EUR/USD"), b"clinic.prod:cache:rates:EUR/USD");
/// assert_eq!(keys.key("{a}"), b"clinic.prod:cache:rates:%7Ba%7D");
/// assert_eq!(keys.tagged("EUR/USD", "lease"), b"clinic.prod:cache:rates:{EUR/USD}:lease");
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpace {
    prefix: Arc<str>,
}

impl KeySpace {
    /// The key space of one store, for example of the `cache` that is named `rates`.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if `service` or `name` is not as
    /// [`Namespace::new`] accepts.
    pub fn new(namespace: &Namespace, service: &str, name: &str) -> Result<Self> {
        let (service, name) = (Namespace::new(service)?, Namespace::new(name)?);
        Ok(Self { prefix: format!("{namespace}:{service}:{name}:").into() })
    }

    /// The Redis key of `key`. It has no hash tag.
    #[must_use]
    pub fn key(&self, key: impl AsRef<[u8]>) -> Vec<u8> {
        let key = key.as_ref();
        let mut full = Vec::with_capacity(self.prefix.len() + key.len());
        full.extend_from_slice(self.prefix.as_bytes());
        push_escaped(&mut full, key);
        full
    }

    /// The Redis key of one `part` of `key`, in the same slot as every other part of that key.
    ///
    /// An empty `key` is given the tag `%`, which no other key has.
    #[must_use]
    pub fn tagged(&self, key: impl AsRef<[u8]>, part: &str) -> Vec<u8> {
        let key = key.as_ref();
        let mut full = Vec::with_capacity(self.prefix.len() + key.len() + part.len() + 3);
        full.extend_from_slice(self.prefix.as_bytes());
        full.push(b'{');
        if key.is_empty() {
            full.push(b'%'); // `{}` would be no tag at all
        }
        push_escaped(&mut full, key);
        full.extend_from_slice(b"}:");
        full.extend_from_slice(part.as_bytes());
        full
    }

    /// The Redis key of a `part` in the same slot as `other`, which may be of any space: for what has to be asked where that lies.
    #[must_use]
    pub fn beside(&self, other: &[u8], part: &str) -> Vec<u8> {
        let mut full = self.prefix.as_bytes().to_vec();
        full.push(b'{');
        full.extend_from_slice(hash_tag(other));
        full.extend_from_slice(b"}:");
        full.extend_from_slice(part.as_bytes());
        full
    }

    /// What all keys of this space begin with, ending in `:`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

fn push_escaped(full: &mut Vec<u8>, key: &[u8]) {
    for byte in key {
        match byte {
            b'{' => full.extend_from_slice(b"%7B"),
            b'}' => full.extend_from_slice(b"%7D"),
            b'%' => full.extend_from_slice(b"%25"),
            other => full.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::topology::slot::slot_of;

    fn keys() -> KeySpace {
        KeySpace::new(&Namespace::new("test").unwrap(), "cache", "rates").unwrap()
    }

    #[test]
    fn different_keys_stay_different() {
        let texts = ["", "%", "a", "{a}", "%7Ba%7D", "{a}:lease", "a}", "}", "{", "{}", "a:lease"];
        let mut seen = HashSet::new();
        for text in texts {
            assert!(seen.insert(keys().key(text)), "{text:?}");
            assert!(seen.insert(keys().tagged(text, "lease")), "{text:?}");
        }
    }

    #[test]
    fn the_parts_of_a_key_share_a_slot_whatever_the_key_is() {
        for text in ["", "a", "}", "{", "{}", "}{", "a}b", "é", "%"] {
            let parts = ["entry", "lease", ""].map(|part| slot_of(&keys().tagged(text, part)));
            assert_eq!(parts, [parts[0]; 3], "{text:?}");
        }
    }

    #[test]
    fn a_part_beside_another_key_is_in_its_slot() {
        for other in [keys().key("a"), keys().key("{}"), keys().tagged("a}", "b"), keys().tagged("", "b")] {
            let beside = keys().beside(&other, "probe");
            assert!(slot_of(&beside) == slot_of(&other) && beside != other);
        }
    }

    #[test]
    fn braces_in_keys_are_no_hash_tags() {
        let slots: HashSet<u16> = (0..100).map(|n| slot_of(&keys().key(format!("{{same}}{n}")))).collect();
        assert!(slots.len() > 90, "{}", slots.len());
    }

    #[test]
    fn names_that_could_overlap_are_refused() {
        let namespace = Namespace::new("test").unwrap();
        for name in ["", "a:b", "A", "{a}", "a/b"] {
            assert!(KeySpace::new(&namespace, "cache", name).is_err(), "{name:?}");
        }
    }
}
