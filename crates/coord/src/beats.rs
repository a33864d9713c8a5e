//! Beats: who says again and again that it is there, without writing its record anew.

use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Version};

use crate::key::CoordKey;
use crate::options::PutOptions;

statehouse_core::deadline_options! {
    /// Options of asking who beats.
    BeatsOptions
}

/// What a beat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a backend must not overlook one")]
pub enum BeatKind {
    /// It is there as before: that changes nothing for the others.
    Again,
    /// It has come, or its record was changed: the others are to look.
    Anew,
    /// It goes.
    Last,
}

/// Options of a beat.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_coord::{BeatOptions, CoordKey, CoordStore, CoordStoreExt, MemoryCoordStore};
///
/// let (store, key, lives) = (MemoryCoordStore::new(), CoordKey::new("member/7")?, Duration::from_secs(6));
/// let version = store.put(&key, "a record").await?.stored().expect("no condition");
/// let came = store.beat_with(&key, version, BeatOptions::anew(lives)).await?;
/// assert!(came.is_there);
/// let options = BeatOptions::again(lives).with_deadline(Duration::from_secs(1));
/// let beaten = store.beat_with(&key, version, options).await?;
/// assert_eq!((beaten.is_there, beaten.changes), (true, came.changes), "nothing has changed");
/// let left = store.beat_with(&key, version, BeatOptions::last()).await?;
/// assert!(left.was_there && left.changes > came.changes);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BeatOptions {
    /// What it says.
    pub kind: BeatKind,
    /// For how long it counts; that of the last one makes no difference.
    pub lives: Duration,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl BeatOptions {
    statehouse_core::with_deadline!();

    /// It is there as before, for so long.
    #[must_use]
    pub const fn again(lives: Duration) -> Self {
        Self { kind: BeatKind::Again, lives, deadline: None }
    }

    /// It has come, or its record was changed; it is there for so long.
    #[must_use]
    pub const fn anew(lives: Duration) -> Self {
        Self { kind: BeatKind::Anew, lives, deadline: None }
    }

    /// It goes.
    #[must_use]
    pub const fn last() -> Self {
        Self { kind: BeatKind::Last, lives: Duration::from_secs(1), deadline: None }
    }

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the rule.
    pub fn check(&self) -> Result<()> {
        PutOptions::default().with_time_to_live(self.lives).check()
    }
}

/// What a beat is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beaten {
    /// Whether it counts from now on. If not, though it was not the last one, it has changed nothing.
    pub is_there: bool,
    /// Whether the beat before counted until now.
    pub was_there: bool,
    /// Which change of the group was the last one: higher after each, and another one whenever anything is not as it was.
    pub changes: Version,
    /// For how long nobody of the others is over; none if nobody has beaten before. It may be less than that, down to when this one would
    /// have been over.
    pub ends_in: Option<Duration>,
}

impl Beaten {
    /// An answer, for authors of backends.
    #[must_use]
    pub const fn new((was_there, is_there): (bool, bool), changes: Version, ends_in: Option<Duration>) -> Self {
        Self { is_there, was_there, changes, ends_in }
    }
}

/// Who beats in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beats {
    /// As [`Beaten::changes`]. It says nothing of who is over since the last beat of anybody.
    pub changes: Version,
    /// The keys of their records, each with after how long it is over, in no particular order.
    pub living: Vec<(CoordKey, Duration)>,
}

impl Beats {
    /// An answer, for authors of backends.
    #[must_use]
    pub const fn new(changes: Version, living: Vec<(CoordKey, Duration)>) -> Self {
        Self { changes, living }
    }
}

/// What a store answers that counts no beats.
pub(crate) fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "this store counts no beats (capability beats)")
}
