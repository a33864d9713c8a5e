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
