//! What a file on S3 says of the lock that it was stored under.

use statehouse_core::{Capabilities, Fence, Version};

use crate::capability::{CONDITIONAL_PARTS, CREATE_IF_ABSENT, DELETE_IF_MATCH, METADATA, REPLACE_IF_MATCH};
use crate::digest::{Digest, hex};

/// Whether a store can do all that this takes.
pub(super) fn can_fence(has: &Capabilities) -> bool {
    [CONDITIONAL_PARTS, CREATE_IF_ABSENT, DELETE_IF_MATCH, METADATA, REPLACE_IF_MATCH].iter().all(|one| has.has(*one))
}

/// Under which lock, and by which of its holders, a file was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) lock: String,
    pub(super) token: Version,
}

impl Stamp {
    pub(super) fn of(fence: &Fence) -> Self {
        Self { lock: digits(fence)[..32].to_owned(), token: fence.token() }
    }

    pub(super) fn encode(&self) -> String {
        format!("{}.{}", self.lock, self.token)
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let (lock, token) = text.split_once('.')?;
        let stamp = Self { lock: lock.to_owned(), token: Version::new(token.parse().ok()?) };
        // A number is written in one way only.
        let is_lock = lock.len() == 32 && lock.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_lock && stamp.encode() == text).then_some(stamp)
    }
}

/// What stands for the name of a lock.
pub(super) fn digits(fence: &Fence) -> String {
    hex(Digest::of(fence.mark().as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests {
    use statehouse_core::Key;

    use super::*;

    #[test]
    fn the_stamp_of_a_file_is_what_the_table_says() {
        let fence = Fence::new(Key::new("clinic.exports/lock/export").unwrap(), Version::new(1_795_223_382_034_413));
        let stamp = Stamp::of(&fence);
        assert_eq!(stamp.encode(), format!("{}.1795223382034413", &digits(&fence)[..32]));
        assert_eq!(Stamp::decode(&stamp.encode()), Some(stamp));
        let lock = &digits(&fence)[..32];
        for token in ["", "x", "-1", "+1", "01", "1.", "18446744073709551616"] {
            assert_eq!(Stamp::decode(&format!("{lock}.{token}")), None, "{token:?}");
        }
        for text in ["", "1", "abc.1", &format!("{}.1", lock.to_uppercase())] {
            assert_eq!(Stamp::decode(text), None, "{text:?}");
        }
    }
}
