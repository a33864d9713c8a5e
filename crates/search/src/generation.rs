//! Generations of an index: what a reindex makes, compares and exchanges.

use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result};

use crate::{DocumentId, Schema};

/// A whole index of one schema. An index has one that is live, and at most one beside it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Generation {
    /// Its number: those that are made later have higher ones, also than those that were dropped.
    pub number: u32,
    /// What it holds, with fields that nobody uses any more. It has no fields if it cannot be read.
    pub schema: Arc<Schema>,
    /// What it is for now.
    pub state: GenerationState,
    /// How many documents it holds.
    pub documents: u64,
    /// A checksum over the ids and versions of all of them, in whatever order: two generations that have it in common hold
    /// the same. None unless it is [asked for](crate::GenerationsOptions::checksums).
    pub checksum: Option<u64>,
}

impl Generation {
    /// A generation without documents.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use statehouse_search::{Digest, DocumentId, Field, Generation, GenerationState, Schema};
    ///
    /// let schema = Arc::new(Schema::builder().field(Field::text("title")).build()?);
    /// let found = Generation::new(1, schema, GenerationState::Live).with_documents(12);
    /// assert_eq!((found.documents, found.checksum), (12, None));
    /// let mut digest = Digest::default();
    /// digest.add(DocumentId::new("a")?, 1);
    /// let found = found.with_digest(digest);
    /// assert_eq!((found.documents, found.checksum), (1, Some(digest.checksum)));
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    #[must_use]
    pub const fn new(number: u32, schema: Arc<Schema>, state: GenerationState) -> Self {
        Self { number, schema, state, documents: 0, checksum: None }
    }

    /// With so many documents.
    #[must_use]
    pub const fn with_documents(mut self, documents: u64) -> Self {
        self.documents = documents;
        self
    }

    /// With these documents.
    #[must_use]
    pub const fn with_digest(mut self, digest: Digest) -> Self {
        (self.documents, self.checksum) = (digest.documents, Some(digest.checksum));
        self
    }
}

/// What a generation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerationState {
    /// What is written by every handle is in it. It is searched by each handle whose schema it has.
    Live,
    /// It is being filled, or was not finished: it is no answer to anything yet.
    Filling,
    /// It holds what the live one holds, by another schema: what a build before, or behind, searches.
    Kept,
    /// It was live, or kept, and does not hold what the live one does: that one was filled from elsewhere, or the process ended
    /// between the writes to both. Nobody searches it; `rollback` makes it the same, and live.
    Behind,
    /// It cannot be read: it is damaged, or of another release. The live one goes on without it: nothing is written to it, it is
    /// never made live, and no other is begun before it is dropped. A release that can read it compares it first.
    Unreadable,
}

/// How many documents there are, and a checksum over their ids and versions.
///
/// ```
/// use statehouse_search::{Digest, DocumentId};
///
/// let (a, b) = (DocumentId::new("a")?, DocumentId::new("b")?);
/// let mut one = Digest::default();
/// one.add(&a, 1);
/// one.add(&b, 7);
/// let mut other = Digest::default();
/// other.add(&b, 7);
/// other.add(&a, 1);
/// assert_eq!(one, other);
/// other.add(&a, 2);
/// assert_ne!(one, other);
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Digest {
    /// How many.
    pub documents: u64,
    /// The sum of a hash of each, modulo 2⁶⁴.
    pub checksum: u64,
}

impl Digest {
    /// Adds a document.
    pub fn add(&mut self, id: impl AsRef<str>, version: u64) {
        let Self { documents, checksum } = Self::of(id.as_ref(), version);
        self.documents += documents;
        self.checksum = self.checksum.wrapping_add(checksum);
    }

    /// That of one document.
    pub(crate) fn of(id: &str, version: u64) -> Self {
        // FNV-1a, and the finish of SplitMix64: no bit of a sum depends on few of the id's.
        let bytes = id.bytes().chain([0xFF]).chain(version.to_le_bytes());
        let hash =
            bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self { documents: 1, checksum: hash ^ (hash >> 31) }
    }
}

/// What a generation must hold to become live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// As many documents as the live one, of the same ids and versions, at the moment in which it takes its place.
    #[default]
    SameAsLive,
    /// Whatever it was given: for what was filled from elsewhere and compared there.
    Nothing,
}

/// Which documents of a generation to list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scan {
    /// Of which generation.
    pub generation: u32,
    /// Those whose ids come behind this one, as UTF-8 bytes; all if none.
    pub after: Option<DocumentId>,
    /// At most so many, at least one.
    pub limit: usize,
}

impl Scan {
    /// The first documents of a generation, a thousand.
    #[must_use]
    pub const fn of(generation: u32) -> Self {
        Self { generation, after: None, limit: 1_000 }
    }

    /// Those behind an id.
    #[must_use]
    pub fn after(mut self, id: Option<DocumentId>) -> Self {
        self.after = id;
        self
    }

    /// At most so many.
    #[must_use]
    pub const fn limit(mut self, most: usize) -> Self {
        self.limit = most;
        self
    }
}

pub(crate) fn unsupported<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "the backend has no generations: see capability::REINDEX"))
}

/// Whether fields are renamed as they were when the later one of both was begun, which is the one beside or the live one. Who goes back need
/// not say it.
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
pub(crate) fn are_its_names(
    (live, of_live): (u32, &[(String, String)]),
    (beside, of_beside): (u32, &[(String, String)]),
    renamed: &[(String, String)],
) -> bool {
    if beside > live {
        return of_beside == renamed;
    }
    let back = of_live.iter().map(|(old, new)| (new, old));
    renamed.is_empty() || back.eq(renamed.iter().map(|(old, new)| (old, new)))
}

/// Refuses to rename what is no field of one's own on either side.
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
pub(crate) fn check_renamed(live: &Schema, wanted: &Schema, renamed: &[(String, String)]) -> Result<()> {
    for (old, new) in renamed {
        let of = |schema: &Schema, name: &str| schema.field(name).is_some_and(|field| field.source().is_none());
        if !of(live, old) || !of(wanted, new) {
            let message =
                format!("a field is renamed from one of the live generation to one of the new: not {old:?} to {new:?}");
            return Err(Error::invalid_input(message));
        }
    }
    Ok(())
}
