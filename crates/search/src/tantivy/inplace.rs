//! Reads that are so short that they run where they are asked for: a hop to another thread takes longer.
//!
//! Whether a read is short is known before it begins, from the sizes of the request, of the index and of the largest
//! document: an async thread is held for less than a millisecond whatever is asked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use statehouse_core::Result;

use super::answer;
use super::client::{Client, OPERATION};
use super::plan::has_column;
use super::sought;
use crate::size::Size;
use crate::work::{Stop, panicked};
use crate::{Projection, Query, Schema, SearchRequest, SearchResponse};

/// How many postings a search may read: about a quarter of a millisecond.
const POSTINGS: u64 = 30_000;

/// How many documents a search may rank, and how many it may return.
const WINDOW: u64 = 100;
const PAGE: u64 = 20;

/// In how many dictionaries terms may be looked up: each takes about a microsecond.
const LOOKUPS: usize = 200;

/// How many bytes of stored documents may be unpacked: about a quarter of a millisecond.
const UNPACKED: u64 = 384 << 10;

/// What is unpacked at least to read one document.
const BLOCK: u64 = 16 << 10;

/// How large documents may be in which the positions of terms are compared.
const PHRASED: u64 = 2_000;

/// The answer, if the search is short.
pub(super) fn search(
    (client, schema): (&Client, &Schema),
    request: &SearchRequest,
    size: Size,
) -> Result<Option<SearchResponse>> {
    let largest = client.largest_document();
    if !is_short(request, size, (schema, largest)) {
        return Ok(None);
    }
    guarded(|| {
        let terms = schema.terms_of_request(request, size)?;
        let snapshot = client.snapshot();
        // A cursor's id and its texts are looked up, too.
        let places = request.after.as_ref().map_or(0, |cursor| 1 + cursor.sort.len());
        if (terms.in_all() + places) * snapshot.segments.len() > LOOKUPS {
            return Ok(None);
        }
        let stop = Stop::default();
        let sought = sought::find(&snapshot, request, terms, &stop)?;
        let weight = &sought.weight;
        let keys = request.sort.len() + usize::from(request.collapse.is_some());
        let cost = weight.cost(&snapshot).saturating_mul(1 + 3 * keys as u64);
        if cost.saturating_add(weight.rank_cost(&snapshot)) > POSTINGS {
            return Ok(None);
        }
        let sought = sought.ranked(&snapshot, &stop)?;
        OPERATION.search.run(|| answer::search(schema, &snapshot, &sought, request, &stop)).map(Some)
    })
}

fn is_short(request: &SearchRequest, size: Size, (schema, largest): (&Schema, u64)) -> bool {
    let unpacked = match request.projection {
        Projection::Id => 0,
        _ => largest.saturating_add(BLOCK).saturating_mul(request.size),
    };
    let counted = request.counted() == 0 && request.highlight.is_empty() && request.sort.len() <= 3;
    let page = request.size <= PAGE && request.from.saturating_add(request.size) <= WINDOW;
    size.is_small()
        && counted
        && page
        && unpacked <= UNPACKED
        && request.queries().all(|query| is_exact(query, schema, largest))
}

/// Whether every term is known without reading a dictionary.
fn is_exact(query: &Query, schema: &Schema, largest: u64) -> bool {
    let all = |queries: &[Query]| queries.iter().all(|query| is_exact(query, schema, largest));
    match query {
        Query::All(_) | Query::None | Query::Term(_) | Query::Terms(_) | Query::Ids(_) => true,
        Query::Match(q) => q.fuzziness.is_none(),
        Query::MultiMatch(q) => q.fuzziness.is_none(),
        Query::Phrase(_) => largest <= PHRASED,
        Query::Bool(q) => [&q.must, &q.should, &q.filter, &q.must_not].into_iter().all(|queries| all(queries)),
        Query::DisMax(q) => all(&q.queries),
        Query::Constant(q) => is_exact(&q.query, schema, largest),
        Query::FunctionScore(q) => is_exact(&q.query, schema, largest),
        Query::Range(q) => schema.field(&q.field).is_some_and(has_column),
        Query::MatchPrefix(_)
        | Query::PhrasePrefix(_)
        | Query::Prefix(_)
        | Query::Wildcard(_)
        | Query::ExactFirst(_)
        | Query::Fuzzy(_)
        | Query::Exists(_) => false,
    }
}

/// Whether one document is read in no time, whichever it is.
pub(super) fn may_read_one(client: &Client) -> bool {
    client.largest_document() <= 64 << 10 && client.snapshot().segments.len() <= LOOKUPS
}

/// Runs work in place. A panic in it is an error here: what was read is not what was once written.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()))
}
