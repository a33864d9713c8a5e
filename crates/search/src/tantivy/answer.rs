//! The answer to a request, from what one snapshot holds.

use statehouse_core::Result;

use super::collapse::Collapse;
use super::collect::{Window, top};
use super::counting::Counting;
use super::found::Found;
use super::mapping::Wanted;
use super::snapshot::Snapshot;
use super::sought::Sought;
use crate::print::print;
use crate::work::Stop;
use crate::{Hit, Projection, Schema, SearchRequest, SearchResponse, highlight};

/// Answers a request whose terms were found and ranked.
pub(super) fn search(
    schema: &Schema,
    snapshot: &Snapshot,
    sought: &Sought,
    request: &SearchRequest,
    stop: &Stop,
) -> Result<SearchResponse> {
    let window = usize::try_from(request.from + request.size).unwrap_or(usize::MAX);
    let size = if request.size == 0 { 0 } else { window };
    let (after, collapse) = (request.after.as_ref(), Collapse::of(snapshot, request)?);
    let window = Window { sort: &request.sort, after, size, collapse, total: request.total };
    let mut counting = Counting::new(snapshot, request, stop)?;
    let (total, found) = top(snapshot, sought, window, &mut counting, stop)?;
    let skipped = usize::try_from(request.from).unwrap_or(usize::MAX);
    let hits = hits((schema, snapshot), request, found.into_iter().skip(skipped), stop)?;
    let mut response = SearchResponse::new(total, hits);
    (response.total, response.relation) = request.total.of(total);
    counting.finish(request, &mut response)?;
    Ok(response)
}

/// What a request returns of documents that were found.
pub(super) fn hits(
    (schema, snapshot): (&Schema, &Snapshot),
    request: &SearchRequest,
    found: impl Iterator<Item = Found>,
    stop: &Stop,
) -> Result<Vec<Hit>> {
    let wanted = match &request.projection {
        // Highlighting needs the text, whatever is returned.
        _ if !request.highlight.is_empty() => snapshot.all_of(schema),
        Projection::All => snapshot.all_of(schema),
        Projection::Id => Wanted::None,
        Projection::Fields(names) => Wanted::Fields(names),
    };
    let of = print(schema, request);
    let mut marker = highlight::Marker::new(&snapshot.mapping.schema, request, stop)?;
    let hits = found.map(|found| {
        stop.check()?;
        let sort = found.sort_values(snapshot, &request.sort);
        let record = snapshot.hit(&found, wanted)?;
        let highlights = marker.mark(&record)?;
        let mut hit = Hit::new(request.projection.apply(record), found.score);
        (hit.sort, hit.highlights, hit.of) = (sort, highlights, of);
        Ok(hit)
    });
    hits.collect()
}
