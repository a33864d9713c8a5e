//! A search index with the same hits in tantivy and in OpenSearch.
//!
#![cfg_attr(all(feature = "derive", feature = "tantivy"), doc = "```")]
#![cfg_attr(not(all(feature = "derive", feature = "tantivy")), doc = "```ignore")]
//! use std::sync::Arc;
//!
//! use statehouse_search::{Document, Index, TantivyConfig};
//!
//! #[derive(Debug, Document)]
//! struct Concept {
//!     #[document(id)]
//!     code: String,
//!     #[document(text)]
//!     title: String,
//!     #[document(keyword)]
//!     chapter: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), statehouse_core::Error> {
//! let index = TantivyConfig::memory().open(Concept::schema()?).await?;
//! let concepts: Index<Concept> = Index::new(Arc::new(index))?;
//!
//! let concept = Concept { code: "I21".into(), title: "Acute myocardial infarction".into(), chapter: "IX".into() };
//! concepts.upsert(concept).wait_until_visible().await?;
//!
//! let page = concepts
//!     .query(Concept::title().matches("infraction").fuzzy())
//!     .filter(Concept::chapter().is("IX"))
//!     .highlight(Concept::title())
//!     .await?;
//! let best = &page.hits[0];
//! assert_eq!(best.document.code, "I21");
//! assert_eq!(best.highlight(Concept::title())[0].to_html("<b>", "</b>"), "Acute myocardial <b>infarction</b>");
//! # Ok(())
//! # }
//! ```
//!
//! With `OpenSearchIndex` in place of `TantivyConfig` the same code asks a cluster, and finds the same.
//!
//! # Metrics
//! With the feature `metrics` of statehouse-core, besides the durations of operations:
//!
//! | counter | by | counts |
//! | --- | --- | --- |
//! | `statehouse.search.writes` | `backend`, `outcome`: `created`, `updated`, `deleted`, `not_found`, `stale` or `failed` | operations of bulks that were answered |
//! | `statehouse.search.retries` | `reason`: `not_sent`, `unanswered`, the answer's status, or `refused_items` | requests to OpenSearch that were sent again |
//! | `statehouse.search.io` | `server.address`, `network.io.direction`: `receive` or `transmit` | bytes of bodies to and from OpenSearch |
//!
//! Ids, texts and the names of indexes are in none of them.

pub mod analysis;
pub mod capability;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod layered;
#[cfg(any(test, feature = "conformance"))]
pub mod parity;

mod api;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod connect;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod counters;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod distance;
mod facet;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod highlight;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod indexes;
mod limits;
#[cfg(feature = "opensearch")]
mod opensearch;
mod operation;
mod options;
mod outcome;
mod query;
mod record;
mod request;
mod schema;
#[cfg(feature = "tantivy")]
mod tantivy;
mod typed;
mod validate;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod work;

pub use api::{SearchIndex, SearchIndexExt};
pub use facet::{Facet, FacetValue};
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
pub use indexes::Indexes;
pub use layered::LayeredIndex;
pub use limits::{
    MAX_BOOST, MAX_CLAUSES, MAX_DEPTH, MAX_FACETS, MAX_FUZZY_TERM, MAX_HIGHLIGHTS, MAX_POSITIONS, MAX_PROJECTED,
    MAX_QUERY_TEXT, MAX_REQUEST_TEXT, MAX_SORTS, MAX_TERMS, MAX_VALUE_BYTES, MAX_VERSION,
};
#[cfg(feature = "opensearch")]
pub use opensearch::{OpenSearchConfig, OpenSearchIndex};
pub use operation::Operation;
pub use options::{BulkOptions, Durability, GetOptions, MergeOptions, Refresh, RefreshOptions, SearchOptions};
pub use outcome::{BulkReport, Outcome};
pub use query::{
    AllQuery, BoolQuery, ConstantQuery, DisMaxQuery, ExistsQuery, FieldBoost, Fuzziness, FuzzyQuery, IdsQuery,
    MatchPrefixQuery, MatchQuery, MinimumMatch, MultiMatchMode, MultiMatchQuery, Operator, PhraseQuery, PrefixQuery,
    PrefixWords, Query, RangeQuery, TermQuery, TermsQuery,
};
pub use record::{DocumentId, Record, Value};
pub use request::{Fragment, Highlight, Hit, Missing, Order, Projection, SearchRequest, SearchResponse, Sort, SortKey};
pub use schema::{Field, FieldKind, MAX_TERM_LEN, Norms, Schema, SchemaBuilder};
#[cfg(feature = "derive")]
pub use statehouse_derive::Document;
#[cfg(feature = "tantivy")]
pub use tantivy::{TantivyConfig, TantivyIndex};
pub use typed::{
    Document, FieldValue, FieldValues, Found, Index, KeywordField, Millis, Page, Search, TextField, Unversioned,
    ValueField, Write,
};

/// Names that code written by the derive macro uses.
#[doc(hidden)]
pub mod __private {
    pub use statehouse_core::Result;
}
