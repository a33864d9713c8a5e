//! The answer to a request, from what one snapshot holds.

use statehouse_core::Result;

use super::client::Client;
use super::facet::Counting;
use super::mapping::Wanted;
use super::snapshot::Snapshot;
use super::weight::{self, Weight};
use super::{collect, plan};
use crate::limits::TermCount;
use crate::work::Stop;
use crate::{Hit, Projection, Schema, SearchRequest, SearchResponse, highlight};

/// Finds the terms of a request.
pub(super) fn find(snapshot: &Snapshot, request: &SearchRequest, terms: TermCount, stop: &Stop) -> Result<Weight> {
    weight::find(snapshot, plan::plan(snapshot, &request.query, &request.filters, terms, stop)?, 1.0)
}

/// Answers a request whose terms were found and ranked.
pub(super) fn search(
    (client, schema): (&Client, &Schema),
    snapshot: &Snapshot,
    weight: &Weight,
    request: &SearchRequest,
    stop: &Stop,
) -> Result<SearchResponse> {
    let window = usize::try_from(request.from + request.size).unwrap_or(usize::MAX);
    let wanted_window = if request.size == 0 { 0 } else { window };
    let mut facets = Counting::new(snapshot, &request.facets, stop)?;
    let (total, found) = collect::top(snapshot, weight, &request.sort, wanted_window, &mut facets, stop)?;
    let skipped = usize::try_from(request.from).unwrap_or(usize::MAX);
    let wanted = match &request.projection {
        // Highlighting needs the text, whatever is returned.
        _ if !request.highlight.is_empty() => client.all_of(schema),
        Projection::All => client.all_of(schema),
        Projection::Id => Wanted::None,
        Projection::Fields(names) => Wanted::Fields(names),
    };
    let mut marker = highlight::Marker::new(&client.mapping.schema, request, stop)?;
    let hits = found.into_iter().skip(skipped).map(|found| {
        stop.check()?;
        let sort = found.sort_values(snapshot, &request.sort);
        let record = client.hit(snapshot, &found, wanted)?;
        let highlights = marker.mark(&record)?;
        let mut hit = Hit::new(request.projection.apply(record), found.score);
        hit.sort = sort;
        hit.highlights = highlights;
        Ok(hit)
    });
    let mut response = SearchResponse::new(total, hits.collect::<Result<_>>()?);
    response.facets = facets.finish()?;
    Ok(response)
}
