use std::sync::Arc;

use statehouse_core::Result;

use super::document::read;
use crate::cursor::Cursor;
use crate::{Document, DocumentId, Fragment, Highlight, Hit};

/// One hit of a [`Search`](crate::Search).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found<D> {
    /// The document.
    pub document: D,
    /// Its id.
    pub id: DocumentId,
    /// The score, unless the order is by fields alone.
    pub score: Option<f32>,
    highlights: Vec<(Arc<str>, Vec<Fragment>)>,
    cursor: Cursor,
}

impl<D: Document> Found<D> {
    pub(super) fn new(hit: Hit) -> Result<Self> {
        let (document, id) = (read(&hit.record)?, hit.id().clone());
        let cursor = Cursor::new(hit.of, hit.score, hit.sort, id.clone());
        Ok(Self { document, id, score: hit.score, highlights: hit.highlights, cursor })
    }

    /// Its place in the order of the search, for a page [behind it](crate::Search::after).
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The fragments of a highlighted field; empty if nothing matched there.
    #[must_use]
    pub fn highlight(&self, field: impl Into<Highlight>) -> &[Fragment] {
        let field = field.into().field;
        self.highlights.iter().find(|(name, _)| *name == field).map_or(&[], |(_, fragments)| fragments)
    }
}
