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
//! With `OpenSearchIndex` in place of `TantivyConfig` the same code asks a cluster, and finds the same. `Indexes` opens either by
//! URL, and hands out indexes by name.
//!
//! # Concepts
//! - **[`Index`]** is what applications use: documents of one type, a [`Document`](trait@Document), with a handle for each of its fields.
//! - **[`SearchIndex`]** is what backends implement: a [`Record`] for each document, an [`Operation`] for each change, a
//!   [`Query`] and a [`SearchRequest`]. Its documentation is the contract.
//! - **Schemas.** A [`Schema`] says what each [`Field`] can be asked for and by which [analyzer](analysis) its text becomes
//!   terms. It is stored with the index. One with more or fewer fields opens it, with new fields added in place; whatever
//!   else changes is refused, see [`SchemaDiff`].
//! - **Generations.** A `Reindex` fills a second index by another schema beside the live one, while that is searched and
//!   written, and puts it in its place: see [`SearchIndex`].
//! - **Filling.** A `MassIndexer` writes rows of any source, several batches at a time, and says up to which row a crash loses none.
//! - **Versions.** A write with the version of its source is applied only over an older document, and only behind an older
//!   delete, so that events may come twice or out of order.
//! - **Visibility** and **durability** are two questions: [`Refresh`] says when searches see a write, [`Durability`] what its
//!   acknowledgement promises.
//! - **Reading on.** The first 10,000 hits are pages by their number; behind that a page begins behind the [`Cursor`] of the last hit,
//!   which may be in a URL. [`Hits`] are all of them, one after another, of one state of the index.
//! - **Totals** are exact, unless less is asked for: counted [up to a number](Total), they leave an embedded index free to
//!   stop once the page is certain.
//! - **Facets.** What is counted beside the hits is counted exactly, over all that match, in the pass that finds them: values,
//!   ranges, buckets and sums. A [post-filter](SearchRequest::with_post_filter) narrows the hits alone, so that the other values of
//!   a facet stay when one is chosen.
//! - **Collapsed hits.** Of the hits with the same value of a field [only the first](SearchRequest::with_collapse): the best visit
//!   of each patient.
//! - **Synonyms** are rules like those of Solr. Of single words they may be part of the index, by its
//!   [analyzer](analysis::Analyzer::synonyms); of any words they are part of a query: [`Synonyms`].
//! - **Did you mean.** [`Suggest`] corrects the words of a text by those of a field.
//! - **Scores** are BM25 on texts and constants elsewhere. A [function score](FunctionScoreQuery) lets the value of a field have a
//!   part in them: how popular, how recent, how near.
//! - **The same hits.** Both backends analyze text alike and score in Lucene's arithmetic; ties are ordered by id. What could
//!   not mean the same on both is refused, never approximated.
//!
//! # What it is not
//! Not the place where documents live: the application's database is, and an index can be built anew from it. There are no
//! transactions: each operation of a bulk succeeds or fails on its own. There are no vectors, no scripts, no nested documents,
//! and no aggregations but counts by value ([`Facet`]), in ranges ([`RangeFacet`]) and buckets ([`Histogram`]), and sums
//! ([`Stats`]): none within another.
//!
//! # Backends and capabilities
//! | | `TantivyIndex` in memory | `TantivyIndex` in a folder | `OpenSearchIndex` |
//! | --- | --- | --- | --- |
//! | URL | `memory:` | `tantivy:///folder` | `opensearch+https://host`, `opensearch+http:` |
//! | [`SHARED`](capability::SHARED) | no | no: one process for a folder | yes |
//! | [`DURABLE`](capability::DURABLE) | no | yes | yes |
//! | [`GLOBAL_STATISTICS`](capability::GLOBAL_STATISTICS) | yes | yes | with one shard |
//! | [`LIVE_STATISTICS`](capability::LIVE_STATISTICS) | yes | yes | no: after a merge |
//! | of more words than a [phrase prefix](PhrasePrefixQuery) may stand for | the first | the first | the first of one segment after another; the first after a merge |
//! | [function scores](FunctionScoreQuery) of | signed numbers, fractions, dates | likewise | likewise |
//! | all hits of one state: [`POINT_IN_TIME`](capability::POINT_IN_TIME) | yes | yes | yes |
//! | corrections of words: [`SUGGEST`](capability::SUGGEST) | yes | yes | yes; not where more than 1,000 terms are as near |
//! | one hit of each group: [`COLLAPSE`](capability::COLLAPSE) | yes | yes | yes |
//! | another generation beside the live one: [`REINDEX`](capability::REINDEX) | yes | yes | yes; writes pause for half a second as it becomes live |
//! | a new field is added in place | yes | yes | if the index has its analyzer |
//! | bulks under a lock: [`FENCED`](capability::FENCED) | yes, at once | yes, at once | but for what was on its way |
//! | a delete's version is remembered | an hour, unless set | likewise, also over a restart | an hour, unless set, in the server's memory |
//!
//! OpenSearch has to be of version 3 or newer.
//!
//! # Features
//! | feature | adds | cost |
//! | --- | --- | --- |
//! | `derive` | `#[derive(Document)]` | `statehouse-derive`, with `syn` and `quote` when compiling |
//! | `tantivy` | `TantivyIndex` | `tantivy`, `tokio` without I/O, `serde_json`, `postcard`, `sha2` |
//! | `opensearch` | `OpenSearchIndex`, with and without TLS | `reqwest`, `rustls` with `ring`, `tokio`, `serde_json`, `sha2` |
//! | `conformance` | the suite for testing a backend of your own, and the comparison of two | no further crates beside a backend's |
//!
//! None is on by default.
//!
//! # Errors
//! Every error is a [`statehouse_core::Error`]. What the schema does not allow is `InvalidInput`, and what the backend cannot do
//! exactly `Unsupported`, before anything is sent. An outage is `Unavailable` or `Timeout`, and never an empty result. A bulk whose
//! answer was lost is `OutcomeUnknown`; sending it again with the same versions is safe. That one operation of a bulk failed or
//! came too late is in its [`BulkReport`]; a typed [`Write`] makes an error of it.
//!
//! # Consistency and durability
//! See [`SearchIndex`] for the contract. By default a write returns when it survives a crash, and is found by searches soon after;
//! [`get`](SearchIndexExt::get) sees it at once. In a folder a [`Queued`](Durability::Queued) write waits for the next commit, a
//! second at most unless set; a [`Logged`](Durability::Logged) one returns when it stands in a log that is synced, as durable and, where many
//! wait at a time, far cheaper than a commit each. OpenSearch acknowledges no write before its log is synced, and an index that is set up otherwise is
//! refused.
//!
//! # Logs and metrics
//! Of level `WARN`: hits that something else has written into the index, by their number
//! (`search.foreign`), and what an index's folder leaves in doubt, such as another owner. Of level
//! `ERROR`: a commit of queued writes that failed and is tried again.
//!
//! With the feature `metrics` of statehouse-core, besides the durations of operations:
//!
//! | counter | by | counts |
//! | --- | --- | --- |
//! | `statehouse.search.writes` | `backend`, `outcome`: `created`, `updated`, `deleted`, `not_found`, `stale` or `failed` | operations of bulks that were answered |
//! | `statehouse.search.syncs` | `backend` | times that the log of an embedded index was synced, for all `Logged` writes that waited |
//! | `statehouse.search.retries` | `reason`: `not_sent`, `unanswered`, the answer's status, or `refused_items` | requests to OpenSearch that were sent again |
//! | `statehouse.search.io` | `server.address`, `network.io.direction`: `receive` or `transmit` | bytes of bodies to and from OpenSearch |
//!
//! Ids, texts and the names of indexes are in none of them.
//!
//! Spans are those that [`statehouse_core::span`] describes: an operation of a backend, and in it `opensearch.request` around each try of
//! a request to OpenSearch.
//!
//! # Testing your own backend
//! Implement [`SearchIndex`]. With the feature `conformance` the macro `search_conformance!` makes one test for each behavior of
//! the contract; a backend passes how to make an empty index, and how its time passes. The module `parity` shows that two indexes
//! give the same hits in the same order, on documents and queries of your own.

pub mod analysis;
pub mod capability;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod layered;
#[cfg(any(test, feature = "conformance"))]
pub mod parity;

mod api;
mod bulk;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod connect;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod counters;
mod counts;
mod cursor;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod distance;
mod facet;
mod generation;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod highlight;
mod histogram;
mod hits;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod indexes;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod lease;
mod limits;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod mass_indexer;
#[cfg(feature = "opensearch")]
mod opensearch;
mod operation;
mod options;
mod outcome;
mod print;
mod query;
mod record;
#[cfg(any(test, feature = "conformance", feature = "opensearch", feature = "tantivy"))]
mod reindex;
mod request;
mod schema;
mod size;
mod stats;
mod suggest;
#[cfg(feature = "tantivy")]
mod tantivy;
mod total;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod translate;
mod typed;
mod validate;
mod wildcard;
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
mod work;

pub use api::{SearchIndex, SearchIndexExt};
pub use bulk::Operation;
pub use cursor::Cursor;
pub use facet::{Facet, FacetRange, FacetValue, RangeCount, RangeFacet};
pub use generation::{Digest, Generation, GenerationState, Scan, Verify};
pub use histogram::{Bucket, Empty, Histogram, Interval};
pub use hits::{End, HitPage, HitPages, Hits};
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
pub use indexes::Indexes;
pub use layered::LayeredIndex;
pub use limits::{
    MAX_BOOST, MAX_CLAUSES, MAX_DEPTH, MAX_EXACT_WORDS, MAX_FACETS, MAX_FUNCTION, MAX_FUZZY_TERM, MAX_FUZZY_TEXT,
    MAX_HIGHLIGHTS, MAX_PATTERN, MAX_PATTERN_ASTERISKS, MAX_POSITIONS, MAX_PROJECTED, MAX_QUERY_TEXT, MAX_REQUEST_TEXT,
    MAX_SORTS, MAX_TERM_LEN, MAX_TERMS, MAX_VALUE_BYTES, MAX_VERSION,
};
#[cfg(any(feature = "opensearch", feature = "tantivy"))]
pub use mass_indexer::{MassIndexed, MassIndexer};
#[cfg(feature = "opensearch")]
pub use opensearch::{OpenSearchConfig, OpenSearchIndex};
pub use options::{
    ActivateOptions, BeginOptions, BulkOptions, Durability, EnsureOptions, GenerationOptions, GenerationsOptions,
    GetOptions, HitsOptions, MergeOptions, Reach, Refresh, RefreshOptions, SearchOptions,
};
pub use outcome::{BulkReport, Outcome};
pub use query::{
    AllQuery, BoolQuery, BoostMode, ConstantQuery, Curve, Decay, DisMaxQuery, ExactFirstQuery, ExistsQuery, FieldBoost,
    FieldValueFactor, FunctionScoreQuery, Fuzziness, FuzzyQuery, IdsQuery, MatchPrefixQuery, MatchQuery, MinimumMatch,
    Modifier, MultiMatchMode, MultiMatchQuery, Operator, ParsedQuery, PhrasePrefixQuery, PhraseQuery, PrefixQuery,
    PrefixWords, Query, QueryWarning, QueryWarningKind, RangeQuery, ScoreFunction, SimpleQueryString, Synonyms,
    TermQuery, TermsQuery, WildcardQuery,
};
pub use record::{DocumentId, Record, Value};
#[cfg(any(test, feature = "conformance", feature = "opensearch", feature = "tantivy"))]
pub use reindex::{Progress, Reindex, Reindexed, Rows, rollback, rows_of};
pub use request::{Fragment, Highlight, Hit, Missing, Order, Projection, SearchRequest, SearchResponse, Sort, SortKey};
pub use schema::diff::{SchemaChange, SchemaDiff};
pub use schema::{Field, FieldKind, Norms, Schema, SchemaBuilder};
#[cfg(feature = "derive")]
pub use statehouse_derive::Document;
pub use stats::Stats;
pub use suggest::{Correction, Suggest, SuggestMode, Suggestion, Suggestions};
#[cfg(feature = "tantivy")]
pub use tantivy::{TantivyConfig, TantivyIndex};
pub use total::{Total, TotalRelation};
pub use typed::{
    CollapseField, Document, DocumentHits, FieldValue, FieldValues, Found, Index, KeywordField, Millis, Page, Search,
    TextField, Unversioned, ValueField, ValueRanges, Write,
};

/// Names that code written by the derive macro uses.
#[doc(hidden)]
pub mod __private {
    pub use statehouse_core::Result;
}
