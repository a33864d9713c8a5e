//! What a request has counted beside its hits, as aggregations.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};
use statehouse_core::{Error, ErrorKind, Result};

use super::error;
use super::mapping::sort_value;
use super::query::compile;
use crate::size::TermCount;
use crate::{
    Facet, FacetRange, FacetValue, Histogram, Interval, Query, RangeCount, RangeFacet, Schema, SearchRequest,
    SearchResponse, Stats, Value,
};

/// The answers, by what [`ask`] has called them.
pub(super) type Answers<'a> = HashMap<String, &'a RawValue>;

/// The aggregations that count it: facets by their place in the request, and of other kinds with a letter before it.
pub(super) fn ask(schema: &Schema, request: &SearchRequest, counted: TermCount) -> Result<Map<String, Json>> {
    let facets = request.facets.iter().enumerate().map(|(at, facet)| Ok((at.to_string(), terms(facet))));
    let ranges = request.ranges.iter().enumerate();
    let ranges = ranges.map(|(at, facet)| Ok((format!("r{at}"), filters(schema, facet, counted)?)));
    let histograms = request.histograms.iter().enumerate();
    let histograms = histograms.map(|(at, histogram)| Ok((format!("h{at}"), buckets_of(histogram))));
    let stats = request.stats.iter().enumerate();
    let stats = stats.map(|(at, name)| Ok((format!("s{at}"), json!({ "stats": { "field": &**name } }))));
    let groups =
        request.collapsed().map(|field| Ok((GROUPS.to_owned(), values_of_hits(schema, request, field, counted)?)));
    facets.chain(ranges).chain(histograms).chain(stats).chain(groups).collect()
}

/// What the values of the field are called that hits are collapsed by.
const GROUPS: &str = "c";

/// How many hits have a value of a field, and how many values they have. The server itself notices several of one hit only where
/// that might be on the page.
fn values_of_hits(schema: &Schema, request: &SearchRequest, field: &str, counted: TermCount) -> Result<Json> {
    let filters = request.post_filters.iter().map(|filter| compile(schema, filter, counted));
    let mut filters = filters.collect::<Result<Vec<_>>>()?;
    filters.push(json!({ "exists": { "field": field } }));
    let values = json!({ "v": { "value_count": { "field": field } } });
    Ok(json!({ "filter": { "bool": { "filter": filters } }, "aggs": values }))
}

/// The server's own order is that of a [`Facet`]. Of several shards each answers with many more values than are asked
/// for: one that is frequent in all may be rare in each.
fn terms(facet: &Facet) -> Json {
    json!({ "terms": { "field": &*facet.field, "size": facet.size, "shard_size": 10 * Facet::MAX_SIZE } })
}

/// Not the server's own ranges, which compare every number in double precision.
fn filters(schema: &Schema, facet: &RangeFacet, counted: TermCount) -> Result<Json> {
    let filter = |range: &FacetRange| {
        let query = Query::range(Arc::clone(&facet.field));
        let query = range.from.iter().fold(query, |query, from| query.at_least(from.clone()));
        let query = range.to.iter().fold(query, |query, to| query.below(to.clone()));
        compile(schema, &query.into(), counted)
    };
    let filters = facet.ranges.iter().map(filter).collect::<Result<Vec<_>>>()?;
    Ok(json!({ "filters": { "filters": filters } }))
}

/// Only the buckets that something is in: those between are put there on this side, for both backends alike.
fn buckets_of(histogram: &Histogram) -> Json {
    let mut options = json!({ "field": &*histogram.field, "min_doc_count": 1 });
    let kind = match histogram.interval {
        Interval::Number { width, offset } => {
            (options["interval"], options["offset"]) = (width.into(), offset.into());
            "histogram"
        }
        Interval::Millis { width, offset } => {
            (options["fixed_interval"], options["offset"]) = (format!("{width}ms").into(), offset.into());
            "date_histogram"
        }
        Interval::Week | Interval::Month | Interval::Year => {
            options["calendar_interval"] = match histogram.interval {
                Interval::Week => "week".into(),
                Interval::Month => "month".into(),
                _ => "year".into(),
            };
            "date_histogram"
        }
    };
    json!({ kind: options })
}

#[derive(Deserialize)]
struct Terms {
    doc_count_error_upper_bound: i64,
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    key: Json,
    doc_count: u64,
}

#[derive(Deserialize)]
struct Filters {
    buckets: Vec<Filtered>,
}

#[derive(Deserialize)]
struct Filtered {
    doc_count: u64,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Summary {
    count: u64,
    min: Option<Json>,
    max: Option<Json>,
    sum: Json,
}

#[derive(Deserialize)]
struct Groups {
    doc_count: u64,
    v: Values,
}

#[derive(Deserialize)]
struct Values {
    value: u64,
}

/// Writes what was counted into the answer.
pub(super) fn read(
    schema: &Schema,
    request: &SearchRequest,
    answers: &Answers<'_>,
    response: &mut SearchResponse,
) -> Result<()> {
    for (at, facet) in request.facets.iter().enumerate() {
        let values = values(schema, facet, of(answers, &at.to_string())?)?;
        response.facets.push((Arc::clone(&facet.field), values));
    }
    for (at, facet) in request.ranges.iter().enumerate() {
        let counts = counts(facet, of(answers, &format!("r{at}"))?)?;
        response.ranges.push((Arc::clone(&facet.field), counts));
    }
    for (at, histogram) in request.histograms.iter().enumerate() {
        let buckets = buckets(histogram, of(answers, &format!("h{at}"))?)?;
        response.histograms.push((Arc::clone(&histogram.field), buckets));
    }
    for (at, name) in request.stats.iter().enumerate() {
        response.stats.push((Arc::clone(name), stats(&of(answers, &format!("s{at}"))?)?));
    }
    if request.collapsed().is_some() {
        let Groups { doc_count, v: Values { value } } = of(answers, GROUPS)?;
        if value > doc_count {
            return Err(error::of_several_values());
        }
    }
    Ok(())
}

fn of<'a, T: Deserialize<'a>>(answers: &Answers<'a>, name: &str) -> Result<T> {
    let Some(answer) = answers.get(name) else {
        let message = "OpenSearch did not count the values of a facet";
        return Err(Error::new(ErrorKind::Unexpected, message).with_backend(error::BACKEND));
    };
    serde_json::from_str(answer.get()).map_err(error::of_broken_body)
}

fn values(schema: &Schema, facet: &Facet, terms: Terms) -> Result<Vec<FacetValue>> {
    if terms.doc_count_error_upper_bound != 0 {
        let message = "the field has too many values to count them exactly over several shards";
        return Err(Error::new(ErrorKind::Unsupported, message).with_backend(error::BACKEND).with_key(&facet.field));
    }
    if terms.buckets.len() > facet.size {
        return Err(error::of_other_question("OpenSearch answered with more values of a facet than were asked for"));
    }
    let kind = schema.require(&facet.field)?.kind();
    let value = |bucket: Bucket| {
        let value: Option<Value> = sort_value(kind, &bucket.key);
        let value = value.ok_or_else(|| error::of_other_question("OpenSearch counted a value of another kind"))?;
        Ok(FacetValue::new(value, bucket.doc_count))
    };
    terms.buckets.into_iter().map(value).collect()
}

fn counts(facet: &RangeFacet, Filters { buckets }: Filters) -> Result<Vec<RangeCount>> {
    if buckets.len() != facet.ranges.len() {
        return Err(error::of_other_question("OpenSearch counted in other ranges than those of a facet"));
    }
    let counts = facet.ranges.iter().cloned().zip(buckets);
    Ok(counts.map(|(range, Filtered { doc_count })| RangeCount::new(range, doc_count)).collect())
}

fn buckets(histogram: &Histogram, Buckets { buckets }: Buckets) -> Result<Vec<crate::Bucket>> {
    let other = || error::of_other_question("OpenSearch counted in buckets that are none");
    if let Interval::Number { .. } = histogram.interval {
        let key = |bucket: Bucket| Ok((double(&bucket.key).ok_or_else(other)?, bucket.doc_count));
        return histogram.buckets(buckets.into_iter().map(key).collect::<Result<Vec<_>>>()?);
    }
    let key = |bucket: Bucket| Ok((bucket.key.as_i64().ok_or_else(other)?, bucket.doc_count));
    histogram.buckets(buckets.into_iter().map(key).collect::<Result<Vec<_>>>()?)
}

fn stats(Summary { count, min, max, sum }: &Summary) -> Result<Stats> {
    let end = |end: &Option<Json>| end.as_ref().and_then(double).filter(|_| *count > 0);
    let (Some(sum), true) = (double(sum), (end(min).is_some() && end(max).is_some()) == (*count > 0)) else {
        return Err(error::of_other_question("OpenSearch summed up what are no numbers"));
    };
    Ok(Stats::new(*count, end(min), end(max), sum))
}

/// A double, which the server writes as a text where it is infinite.
fn double(json: &Json) -> Option<f64> {
    json.as_f64().or_else(|| json.as_str()?.parse().ok())
}
