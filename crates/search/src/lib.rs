//! A search index with the same hits in tantivy and in OpenSearch.
//!
//! ```
//! use statehouse_search::{Field, Query, Record, Schema, SearchRequest};
//!
//! let schema = Schema::builder().field(Field::text("title")).field(Field::keyword("chapter")).build()?;
//! schema.check_record(&Record::new("A00")?.with("title", "Cholera").with("chapter", "1"))?;
//! schema.check_request(&SearchRequest::new(Query::matches("title", "cholera")))?;
//! # Ok::<(), statehouse_core::Error>(())
//! ```
//!
//! # Concepts
//! A [`Schema`] names fields and analyzers. A [`Record`] is a document: an id, a version, and fields. A [`Query`] is one tree
//! that both backends compile; a [`SearchRequest`] adds filters, order, page and highlighting. [`SearchIndex`] is what
//! backends implement; applications usually hold an [`Index`] of their own [`Document`](trait@Document) type.
//!
//! # What makes answers equal
//! Text is analysed by one definition: the words of Unicode 12.1 as Lucene finds them, its ASCII folding, Porter 2. The
//! embedded backend scores in Lucene's own arithmetic and expands fuzzy terms, prefixes and sloppy phrases by its rules.
//! Ties are broken by id. What a backend cannot do exactly is refused as `Unsupported`.
//!
//! A server's own statistics count replaced and deleted documents until it merges them away, and differ between shards:
//! no client can undo that, so compare on one shard and before updates.
//!
//! # Backends
//! | | `TantivyIndex` (feature `tantivy`) | `OpenSearchIndex` (feature `opensearch`) |
//! | --- | --- | --- |
//! | where | in this process: memory or a folder | a cluster |
//! | writers | one process for each folder | any number |
//! | durable once acknowledged | `Durability::Committed`, the default | always |
//! | traces of deletes | 60 seconds, in memory | `index.gc_deletes` |
//!
//! # Testing your own backend
//! Feature `conformance` has `search_conformance!`, which emits a test for each behavior, and `parity`, which compares two
//! backends on your documents.

pub mod analysis;
pub mod capability;
#[cfg(feature = "opensearch")]
pub mod opensearch;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(any(test, feature = "conformance"))]
pub mod parity;

mod api;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod distance;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod highlight;
mod operation;
mod query;
mod record;
mod request;
mod schema;
#[cfg(feature = "tantivy")]
mod tantivy;
mod typed;
mod validate;

pub use api::{SearchIndex, SearchIndexExt};
pub use operation::{BulkOptions, BulkReport, Durability, Operation, Outcome, Refresh};
pub use query::{
    AllQuery, BoolQuery, ConstantQuery, DisMaxQuery, ExistsQuery, FieldBoost, Fuzziness, FuzzyQuery, IdsQuery,
    MatchPrefixQuery, MatchQuery, MinimumMatch, MultiMatchMode, MultiMatchQuery, Operator, PhraseQuery, PrefixQuery,
    PrefixWords, Query, RangeQuery, TermQuery, TermsQuery,
};
pub use record::{DocumentId, Record, Value};
pub use request::{
    Fragment, Highlight, Hit, Missing, Order, Projection, SearchOptions, SearchRequest, SearchResponse, Sort, SortKey,
};
pub use schema::{Field, FieldKind, MAX_TERM_LEN, Norms, Schema, SchemaBuilder};
#[cfg(feature = "derive")]
pub use statehouse_derive::Document;
#[cfg(feature = "tantivy")]
pub use tantivy::{TantivyConfig, TantivyIndex};
pub use typed::{
    Document, FieldValue, FieldValues, Found, Index, KeywordField, Millis, Page, Search, TextField, ValueField, Write,
};
pub use validate::{MAX_CLAUSES, MAX_DEPTH, MAX_QUERY_TEXT, MAX_TERMS, MAX_VERSION};

/// Names that code written by the derive macro uses.
#[doc(hidden)]
pub mod __private {
    pub use statehouse_core::Result;
}
