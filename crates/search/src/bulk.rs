use crate::{DocumentId, Record};

/// One change in a bulk.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Writes the document whether or not one with its id exists.
    Upsert(Record),
    /// Removes the document.
    Delete {
        /// Which one.
        id: DocumentId,
        /// The external version of the delete: it removes only an older document.
        version: Option<u64>,
    },
}

impl Operation {
    /// The external version, if it has one.
    #[must_use]
    pub const fn version(&self) -> Option<u64> {
        match self {
            Self::Upsert(record) => record.version(),
            Self::Delete { version, .. } => *version,
        }
    }

    /// The document that it changes.
    #[must_use]
    pub const fn id(&self) -> &DocumentId {
        match self {
            Self::Upsert(record) => record.id(),
            Self::Delete { id, .. } => id,
        }
    }
}
