//! The keys of one cache, and what is known of their generations.

use std::iter;
use std::mem::replace;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use statehouse_core::{Fence, Namespace, Result, SchemaId};
use statehouse_redis::KeySpace;

use super::format::MOST;

/// In how many groups the keys of one cache are. More would spread finer over a large cluster, and each costs a request
/// every 10 ms under load.
pub(super) const GROUPS: usize = 32;

/// For how long a generation that was read may be used without reading it again.
const FRESH: Duration = Duration::from_millis(20);

/// From when on one caller reads it again, so that hundreds don't when it ends.
const RENEW: Duration = Duration::from_millis(10);

/// How long `clear` waits before it returns: longer than [`FRESH`] by more than two clocks' rates can differ.
pub(super) const SETTLE: Duration = Duration::from_millis(22);

/// Some of the keys of a cache, which are in one slot together with the generation that they share.
///
/// Every entry carries the generation that was current when it was written, and is dead under any other; `clear` begins a
/// new one in each group. So a failure of one server of a cluster concerns the groups there and no others, and a script
/// sees the generation and the entry in one step. Only reads, which are no scripts, may work with a generation that is known
/// already:
///
/// - It may be used for 20 ms from when it was *asked for*. `clear` returns 22 ms after the new one was stored. A read
///   that begins after that began more than 20 ms after any request that could have been answered with the old one, so it
///   asks again, in the same round trip. This compares durations and no clocks. (A machine that is suspended with its
///   monotonic clock stopped may use the old generation for those 20 ms after it goes on.)
/// - Under load that is one more request every 10 ms, and every script brings the generation along.
pub(super) struct Group {
    /// What every key of the group begins with.
    prefix: Vec<u8>,
    /// What the key of every entry of the cache's schema begins with.
    entry_prefix: Vec<u8>,
    generation_key: Vec<u8>,
    seen: Mutex<Option<Seen>>,
    /// When the last clear that this process has done was asked for.
    cleared: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy)]
struct Seen {
    generation: u64,
    /// When it was asked for.
    asked: Instant,
    /// Whether somebody reads it again.
    renewing: bool,
}

/// The groups of one cache, with entries of one schema.
pub(super) fn groups(namespace: &Namespace, name: &str, schema: SchemaId) -> Result<Vec<Group>> {
    let keys = KeySpace::new(namespace, "cache", name)?;
    let of = |number| {
        let prefix = keys.tagged(format!("{name}/{number}"), "");
        let entry_prefix = [prefix.as_slice(), schema.0.to_string().as_bytes(), b":"].concat();
        let generation_key = [prefix.as_slice(), b"generation"].concat();
        Group { prefix, entry_prefix, generation_key, seen: Mutex::default(), cleared: Mutex::default() }
    };
    Ok((0..GROUPS).map(of).collect())
}

/// The keys of many entries, one behind another.
pub(super) struct Entries {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Entries {
    pub(super) fn with_capacity(count: usize) -> Self {
        // As long as most are.
        Self { bytes: Vec::with_capacity(64 * count), ends: Vec::with_capacity(count) }
    }

    pub(super) fn push(&mut self, group: &Group, key: &str) {
        self.bytes.extend_from_slice(&group.entry_prefix);
        self.bytes.extend_from_slice(key.as_bytes());
        self.ends.push(self.bytes.len());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[*start..*end])
    }
}

/// The number of the group of a key.
pub(super) fn group_of(key: &str) -> usize {
    crc32fast::hash(key.as_bytes()) as usize % GROUPS
}

impl Group {
    pub(super) fn generation_key(&self) -> &[u8] {
        &self.generation_key
    }

    /// The key of the generation of a tag.
    pub(super) fn tag_key(&self, hash: [u8; 8]) -> Vec<u8> {
        let mut full = self.generation_key.clone();
        full.extend_from_slice(format!(":{:016x}", u64::from_be_bytes(hash)).as_bytes());
        full
    }

    /// The key of the mark of a lock; see `statehouse_redis::REFUSE_STALE`.
    pub(super) fn mark_key(&self, fence: &Fence) -> Vec<u8> {
        [&self.prefix[..], b"mark:", fence.mark().as_bytes()].concat()
    }

    /// Behind the hash tag nothing in a key is special.
    pub(super) fn entry_key(&self, key: &str) -> Vec<u8> {
        [&self.entry_prefix[..], key.as_bytes()].concat()
    }

    /// The current generation, if that is known and it is not this caller's turn to read it again.
    pub(super) fn fresh(&self) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_mut()?;
        let age = seen.asked.elapsed();
        let turn = age > RENEW && !replace(&mut seen.renewing, true);
        (age <= FRESH && !turn).then_some(seen.generation)
    }

    /// The generation that was current when it was last looked at.
    pub(super) fn last_seen(&self) -> Option<u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).map(|seen| seen.generation)
    }

    /// Takes note of a clear.
    pub(super) fn note_cleared(&self, asked: Instant) {
        let mut cleared = self.cleared.lock().unwrap_or_else(PoisonError::into_inner);
        *cleared = (*cleared).max(Some(asked));
    }

    /// Whether this process has cleared it with a call no earlier than this.
    pub(super) fn is_cleared_since(&self, since: Instant) -> bool {
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|cleared| cleared >= since)
    }

    /// Takes note of what is stored at [`generation_key`](Self::generation_key).
    pub(super) fn see(&self, stored: Option<&[u8]>, asked: Instant) -> Option<u64> {
        let generation = generation(stored?)?;
        self.note(generation, asked);
        Some(generation)
    }

    /// Takes note of what a script has answered: zero if the group has no generation.
    pub(super) fn note_if_any(&self, generation: u64, asked: Instant) {
        if generation > 0 {
            self.note(generation, asked);
        }
    }

    fn note(&self, generation: u64, asked: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| seen.asked <= asked) {
            *seen = Some(Seen { generation, asked, renewing: false });
        }
    }
}

/// The generation that a stored text says. What no script has written is none: a script replaces it by a new one.
fn generation(stored: &[u8]) -> Option<u64> {
    let (digits, schemas) = stored.split_at_checked(16)?;
    let plain = digits.iter().all(u8::is_ascii_digit)
        && stored.len() < 300
        && schemas.first().is_none_or(|byte| *byte == b' ')
        && schemas.iter().all(|byte| *byte == b' ' || byte.is_ascii_digit());
    let number = std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?;
    (1..MOST).contains(&number).then_some(number)
}

/// What is stored where no schema but this one is in use.
pub(super) fn sole_schema(generation: u64, schema: SchemaId) -> String {
    format!("{generation:016} {}", schema.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_many_entries_are_those_of_each() {
        let groups = groups(&Namespace::new("a").unwrap(), "main", SchemaId(7)).unwrap();
        let keys = ["", "x", "long and with {braces}"];
        let mut entries = Entries::with_capacity(1);
        keys.iter().zip(&groups).for_each(|(key, group)| entries.push(group, key));
        assert!(entries.iter().eq(keys.iter().zip(&groups).map(|(key, group)| group.entry_key(key))));
        assert_eq!(groups[3].entry_key("x"), b"a:cache:main:{main/3}:7:x");
    }

    #[test]
    fn a_generation_is_what_a_script_has_written_and_nothing_else() {
        let of = |text: &str| generation(text.as_bytes());
        assert_eq!(of("1795223382034413"), Some(1_795_223_382_034_413));
        assert_eq!(of("1795223382034413 5 6"), Some(1_795_223_382_034_413));
        assert_eq!(of(&sole_schema(7, SchemaId(5))), Some(7));
        let long = format!("1795223382034413{}", " 5".repeat(200));
        for text in [
            "",
            "0",
            "5",
            "0000000000000000",
            "3000000000000000",
            "9000000000000000",
            "9007199254740993",
            "inf",
            "nan",
            "1795223382034413x",
            "+795223382034413",
            "1795223382034.13",
            "0x00000000000010",
            " 795223382034413",
            "17952233820344139",
            &long,
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
