//! By which changes a session became what it is.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use statehouse_core::{Result, Timestamp, Version};

use crate::token::random;

/// Tells one change of a session from all others, so that its repetition is known for what it is: 64 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SaveId([u8; Self::LEN]);

impl SaveId {
    /// Its length in bytes.
    pub const LEN: usize = 8;

    /// A new one.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](statehouse_core::ErrorKind::Unavailable) if the operating system gives no random bytes.
    pub fn generate() -> Result<Self> {
        DRAWN.with_borrow_mut(Drawn::next).map(Self)
    }

    /// The one with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

/// Random bytes of the operating system for the next ids: each save asks for one, and asking costs more than all else of it. An id is no
/// secret.
struct Drawn {
    bytes: [u8; SaveId::LEN * 64],
    left: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; SaveId::LEN * 64], left: 0 }) };
}

impl Drawn {
    fn next(&mut self) -> Result<[u8; SaveId::LEN]> {
        if self.left == 0 {
            (self.bytes, self.left) = (random()?, 64);
        }
        self.left -= 1;
        let at = self.left * SaveId::LEN;
        Ok(std::array::from_fn(|byte| self.bytes[at + byte]))
    }
}

impl fmt::Debug for SaveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaveId({:016x})", u64::from_be_bytes(self.0))
    }
}

/// The last changes of a session, the latest last.
///
/// A change whose answer was lost is repeated within the deadline of its request, and others may have been made in
/// between. After a minute nobody repeats one, and more than sixteen are not kept: what a repetition then does not find is
/// an outcome that nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saves {
    /// All changes that led to later versions are here.
    since: Version,
    /// Each with the version that it led to.
    saves: Vec<(Version, SaveId)>,
}

impl Saves {
    const KEPT: usize = 16;
    const REPEATED_FOR: Duration = Duration::from_secs(60);

    /// None, of a session that was changed up to this version.
    pub(super) const fn none_since(since: Version) -> Self {
        Self { since, saves: Vec::new() }
    }

    /// That of a create, which led to the first version.
    pub(super) fn of_create(save: SaveId) -> Self {
        Self { since: Version::default(), saves: vec![(Version::default(), save)] }
    }

    /// Whether there was nothing but the create of this id.
    pub(super) fn are_only(&self, save: SaveId) -> bool {
        self.saves == [(Version::default(), save)]
    }

    pub(super) fn contain(&self, save: SaveId) -> bool {
        self.saves.iter().any(|(_, id)| *id == save)
    }

    pub(super) fn are_complete_since(&self, version: Version) -> bool {
        self.since <= version
    }

    /// These, of a session that was at version `before`, and then the one that led to `version` at `now`.
    pub(super) fn followed_by(&self, save: SaveId, before: Version, version: Version, now: Timestamp) -> Self {
        let last = Timestamp::from_micros(before.get());
        if self.saves.is_empty() || now.since(last) > Self::REPEATED_FOR {
            return Self { since: before, saves: vec![(version, save)] };
        }
        let mut next = self.clone();
        if next.saves.len() == Self::KEPT {
            next.since = next.saves.remove(0).0;
        }
        next.saves.push((version, save));
        next
    }

    pub(super) const fn since(&self) -> Version {
        self.since
    }

    pub(super) fn is_empty(&self) -> bool {
        self.saves.is_empty()
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        for (version, id) in &self.saves {
            out.put_u64_le(version.get());
            out.put_slice(&id.0);
        }
    }

    /// Reads what [`put`](Self::put) wrote, at least one.
    pub(super) fn take(since: Version, mut bytes: &[u8]) -> Option<Self> {
        const ENTRY: usize = 8 + SaveId::LEN;
        let count = bytes.len() / ENTRY;
        if !(1..=Self::KEPT).contains(&count) || !bytes.len().is_multiple_of(ENTRY) {
            return None;
        }
        let mut saves = Vec::with_capacity(count);
        while bytes.has_remaining() {
            let version = Version::new(bytes.get_u64_le());
            let mut id = [0; SaveId::LEN];
            bytes.copy_to_slice(&mut id);
            saves.push((version, SaveId(id)));
        }
        Some(Self { since, saves })
    }
}
