//! The numbers of many documents at a time: a column is unpacked far faster in blocks than one by one.

use tantivy::DocId;
use tantivy::columnar::{Column, ColumnIndex};

/// How many documents are handed out and read at once at most: as many as tantivy unpacks of a column in one go.
pub(super) const BLOCK: usize = 64;

/// A column, and the memory that its numbers are read into.
pub(super) struct Numbers {
    column: Column<u64>,
    block: [u64; BLOCK],
    /// The numbers in a row with the document of each, where not every document has one number.
    docs: Vec<DocId>,
    rows: Vec<u32>,
    values: Vec<u64>,
}

/// What a block of documents has.
pub(super) enum Block<'a> {
    /// One number each.
    One(&'a [u64]),
    /// None, one or several.
    Any(Runs<'a>),
}

/// The numbers of document after document.
pub(super) struct Runs<'a> {
    docs: &'a [DocId],
    values: &'a [u64],
}

impl<'a> Runs<'a> {
    /// Of all the documents in a row.
    pub(super) const fn all(&self) -> &'a [u64] {
        self.values
    }

    /// Of the next document. They are to be asked for in order, and none left out that has a number.
    #[inline]
    pub(super) fn of(&mut self, doc: DocId) -> &'a [u64] {
        let count = self.docs.iter().take_while(|other| **other == doc).count();
        let (run, values) = self.values.split_at(count);
        self.docs = &self.docs[count..];
        self.values = values;
        run
    }
}

impl Numbers {
    pub(super) const fn new(column: Column<u64>) -> Self {
        Self { column, block: [0; BLOCK], docs: Vec::new(), rows: Vec::new(), values: Vec::new() }
    }

    pub(super) const fn column(&self) -> &Column<u64> {
        &self.column
    }

    /// Whether a document may have several.
    pub(super) const fn has_several(&self) -> bool {
        matches!(self.column.index, ColumnIndex::Multivalued(_))
    }

    /// Reads those of a block of documents, which are in order.
    #[inline]
    pub(super) fn read(&mut self, docs: &[DocId]) -> Block<'_> {
        match (&self.column.index, docs) {
            (ColumnIndex::Full, [first, .., last]) if (last - first) as usize + 1 == docs.len() => {
                let block = &mut self.block[..docs.len()];
                self.column.values.get_range((*first).into(), block);
                Block::One(block)
            }
            (ColumnIndex::Full, _) => {
                let block = &mut self.block[..docs.len()];
                self.column.values.get_vals(docs, block);
                Block::One(block)
            }
            _ => self.read_rows(docs),
        }
    }

    fn read_rows(&mut self, docs: &[DocId]) -> Block<'_> {
        self.docs.clear();
        self.rows.clear();
        self.column.row_ids_for_docs(docs, &mut self.docs, &mut self.rows);
        self.values.resize(self.rows.len(), 0);
        self.column.values.get_vals(&self.rows, &mut self.values);
        Block::Any(Runs { docs: &self.docs, values: &self.values })
    }
}
