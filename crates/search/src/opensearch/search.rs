//! A [`SearchRequest`] as a body for `_search`, and the answer as a [`SearchResponse`].

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use statehouse_core::{Error, ErrorKind, Result};

use super::client::Call;
use super::counts::{self, Answers};
use super::error;
use super::mapping::{ID, biased, needs_presence, presence, sort_value};
use super::onward::Onward;
use super::query::compile;
use super::source::{self, Read};
use crate::cursor::Cursor;
use crate::highlight::Marker;
use crate::print::print;
use crate::size::{Size, TermCount};
use crate::work::Stop;
use crate::{
    FieldKind, Hit, HitPage, Missing, Order, Projection, Query, Schema, SearchRequest, SearchResponse, SortKey, Total,
    TotalRelation, Value,
};

/// The search, if the schema allows it.
///
/// Besides, which request the cursors of its hits are of: to find that out may take as long as to compile it.
pub(super) fn call(schema: &Schema, path: &str, request: &SearchRequest, size: Size) -> Result<(Call, u64)> {
    let terms = schema.terms_of_request(request, size)?;
    Ok((Call::ask(path, &body(schema, request, terms)?), print(schema, request)))
}

/// The count, if the schema allows it.
pub(super) fn count_call(schema: &Schema, path: String, query: &Query, size: Size) -> Result<Call> {
    let terms = schema.terms_of([query], size)?;
    Ok(Call::ask(path, &json!({ "query": compile(schema, query, terms)? })))
}

/// The body of a search. The request must have passed [`Schema::check_request`].
pub(super) fn body(schema: &Schema, request: &SearchRequest, counted: TermCount) -> Result<Json> {
    let mut body = json!({
        "query": filtered(schema, &request.query, &request.filters, counted)?,
        "from": request.from,
        "size": request.size,
        "sort": sort(schema, request)?,
        "track_total_hits": tracked(request.total),
        "version": true,
        "_source": needs_source(request),
    });
    if let Some(cursor) = &request.after {
        body["search_after"] = after(schema, request, cursor)?;
    }
    if !request.post_filters.is_empty() {
        // Also where nothing is counted: scores are to be the same, to the last bit, whether or not something is.
        let filters = request.post_filters.iter().map(|filter| compile(schema, filter, counted));
        body["post_filter"] = json!({ "bool": { "filter": filters.collect::<Result<Vec<_>>>()? } });
    }
    if let Some(field) = request.collapsed() {
        body["collapse"] = json!({ "field": &**field });
    }
    if request.counted() > 0 || request.collapsed().is_some() {
        body["aggs"] = counts::ask(schema, request, counted)?.into();
    }
    Ok(body)
}

/// How far the server is to count. One more than is wanted, so that it is seen from the number itself whether there are more.
fn tracked(total: Total) -> Json {
    match total {
        Total::Exact => json!(true),
        Total::AtLeast(most) => json!(most + 1),
    }
}

fn filtered(schema: &Schema, query: &Query, filters: &[Query], counted: TermCount) -> Result<Json> {
    let query = compile(schema, query, counted)?;
    if filters.is_empty() {
        return Ok(query);
    }
    let filters: Vec<_> = filters.iter().map(|filter| compile(schema, filter, counted)).collect::<Result<_>>()?;
    Ok(json!({ "bool": { "must": query, "filter": filters } }))
}

/// The sort keys of the request, the score if it has none, and the id. A number is two keys: see [`presence`].
fn sort(schema: &Schema, request: &SearchRequest) -> Result<Vec<Json>> {
    let mut keys = Vec::new();
    if request.sort.is_empty() {
        keys.push(json!({ "_score": { "order": "desc" } }));
    }
    for sort in &request.sort {
        let order = match sort.order {
            Order::Ascending => "asc",
            Order::Descending => "desc",
        };
        let missing = match sort.missing {
            Missing::First => "_first",
            Missing::Last => "_last",
        };
        match &sort.key {
            SortKey::Score => keys.push(json!({ "_score": { "order": order } })),
            SortKey::Field(name) => {
                keys.push(json!({ &**name: { "order": order, "missing": missing } }));
                let field = schema.require(name)?;
                if needs_presence(field) {
                    keys.push(json!({ presence(field): { "order": "asc", "missing": missing } }));
                }
            }
        }
    }
    keys.push(json!({ ID: { "order": "asc" } }));
    Ok(keys)
}

/// A cursor as the server gives and takes it: a value for each of its own sort keys.
pub(super) fn after(schema: &Schema, request: &SearchRequest, cursor: &Cursor) -> Result<Json> {
    // A double stands for exactly the score that the server has: it goes through no decimal of its own.
    let score = || json!(cursor.score.map(f64::from));
    let mut keys = Vec::new();
    if request.sort.is_empty() {
        keys.push(score());
    }
    for (sort, value) in request.sort.iter().zip(&cursor.sort) {
        let SortKey::Field(name) = &sort.key else {
            keys.push(score());
            continue;
        };
        let field = schema.require(name)?;
        keys.push(match value {
            Some(value) => key_of(value),
            None => missing_key(field.kind(), (sort.order == Order::Ascending) == (sort.missing == Missing::Last)),
        });
        if needs_presence(field) {
            keys.push(if value.is_some() { json!("1") } else { Json::Null });
        }
    }
    keys.push(json!(cursor.id.as_str()));
    Ok(keys.into())
}

fn key_of(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::I64(number) | Value::Date(number) => json!(number),
        Value::U64(number) => json!(biased(*number)),
        Value::F64(number) => json!(number),
        Value::Bool(truth) => json!(i64::from(*truth)),
    }
}

/// What the server sorts a missing value as: the largest or the smallest that there is.
fn missing_key(kind: &FieldKind, as_largest: bool) -> Json {
    match kind {
        FieldKind::Text { .. } | FieldKind::Keyword { .. } => Json::Null,
        FieldKind::F64 if as_largest => json!("Infinity"),
        FieldKind::F64 => json!("-Infinity"),
        // Sorted in 32 bits.
        FieldKind::Bool if as_largest => json!(i32::MAX),
        FieldKind::Bool => json!(i32::MIN),
        _ if as_largest => json!(i64::MAX),
        _ => json!(i64::MIN),
    }
}

/// Whether to send the stored documents: whole, because the server does not keep the order of the fields when it
/// leaves some out.
fn needs_source(request: &SearchRequest) -> bool {
    request.projection != Projection::Id || !request.highlight.is_empty()
}

/// An answer of which only the shards matter.
#[derive(Deserialize)]
pub(super) struct Sharded {
    #[serde(rename = "_shards")]
    shards: Shards,
}

impl Sharded {
    /// Whether every copy of every shard was asked and answered. Copies that are not there are no failures.
    pub(super) fn check(&self) -> Result<bool> {
        self.shards.check().map(|()| self.shards.successful >= self.shards.total)
    }

    /// Fails unless every shard was asked and answered.
    pub(super) fn check_all(&self) -> Result<()> {
        self.shards.check_all()
    }
}

/// The answer to a count.
#[derive(Deserialize)]
pub(super) struct Count {
    count: u64,
    #[serde(rename = "_shards")]
    shards: Shards,
}

impl Count {
    pub(super) fn check(&self) -> Result<u64> {
        self.shards.check_all().map(|()| self.count)
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: Shards,
    #[serde(borrow)]
    hits: Hits<'a>,
    #[serde(borrow, default)]
    aggregations: Answers<'a>,
}

#[derive(Deserialize)]
struct Shards {
    #[serde(default)]
    total: u32,
    #[serde(default)]
    successful: u32,
    failed: u32,
    #[serde(default)]
    failures: Vec<ShardFailure>,
}

#[derive(Deserialize)]
struct ShardFailure {
    reason: Option<error::Exception>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    total: Counted,
    #[serde(borrow)]
    hits: Vec<RawHit<'a>>,
}

impl Hits<'_> {
    /// Where each of them is, in the server's own words.
    fn sorts(&self) -> Vec<&[Json]> {
        self.hits.iter().map(|hit| &*hit.sort).collect()
    }
}

#[derive(Deserialize)]
struct Counted {
    value: u64,
    relation: String,
}

impl Counted {
    /// Whether it was counted as far as it was to be.
    fn is_counted(&self, total: Total) -> bool {
        let more = matches!(total, Total::AtLeast(most) if self.value > most);
        self.relation == "eq" || (self.relation == "gte" && more)
    }
}

#[derive(Deserialize)]
struct RawHit<'a> {
    #[serde(rename = "_index", borrow)]
    index: Option<Cow<'a, str>>,
    #[serde(rename = "_id", borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "_version")]
    version: Option<u64>,
    #[serde(rename = "_score")]
    score: Option<f32>,
    #[serde(rename = "_source", borrow)]
    source: Option<&'a RawValue>,
    #[serde(default)]
    sort: Vec<Json>,
    /// The value that it was collapsed by.
    #[serde(borrow, default)]
    fields: HashMap<Cow<'a, str>, &'a RawValue>,
}

impl Shards {
    /// An answer from some of the shards only is no answer.
    fn check_all(&self) -> Result<()> {
        self.check()?;
        // Where no copy of a shard is there, the server counts it neither as successful nor as failed.
        if self.successful < self.total { Err(error::of_missing_shard()) } else { Ok(()) }
    }

    /// No shard that was asked may have failed.
    fn check(&self) -> Result<()> {
        if self.failed == 0 {
            return Ok(());
        }
        if self.failures.iter().filter_map(|failure| failure.reason.as_ref()).any(error::Exception::says_several_values)
        {
            return Err(error::of_several_values());
        }
        let cause = self.failures.iter().find_map(|failure| failure.reason.as_ref()?.kind()).map(str::to_owned);
        let message =
            format!("{} of the index's shards failed ({})", self.failed, cause.as_deref().unwrap_or("unsaid"));
        Err(Error::new(ErrorKind::Unavailable, message).with_backend(error::BACKEND).with_retry(error::BACK_OFF))
    }
}

impl<'a> Answer<'a> {
    fn read(body: &'a [u8], total: Total) -> Result<Self> {
        let answer: Self = serde_json::from_slice(body).map_err(error::of_broken_body)?;
        answer.shards.check_all()?;
        if answer.timed_out {
            return Err(error::of_stopped());
        }
        if answer.hits.total.is_counted(total) {
            return Ok(answer);
        }
        let message = "OpenSearch did not count all hits";
        Err(Error::new(ErrorKind::Unexpected, message).with_backend(error::BACKEND))
    }
}

/// The search from a place that the server has named.
pub(super) fn call_from(
    (schema, path): (&Schema, &str),
    request: &SearchRequest,
    size: Size,
    onward: &Onward,
) -> Result<Call> {
    let terms = schema.terms_of_request(request, size)?;
    let mut body = body(schema, request, terms)?;
    onward.write(&mut body);
    Ok(Call::ask(path, &body))
}

/// The answer of `index` in our own words. The hits are `of` this request.
///
/// None if the page begins behind a cursor and something else has written all of it: there is no hit to read on behind. Then
/// it says where to read on.
pub(super) fn response(
    (schema, of): (&Schema, u64),
    index: &str,
    (request, onward): (&SearchRequest, &mut Onward),
    body: &[u8],
    stop: &Stop,
) -> Result<Option<SearchResponse>> {
    let answer = Answer::read(body, request.total)?;
    let found = hits((schema, of), index, (request, onward.size()), &answer.hits, stop)?;
    if request.after.is_some() && onward.passes(&found, &answer.hits.sorts()) {
        return Ok(None);
    }
    let (hits, skipped) = onward.ours(found, request.size);
    let mut response = SearchResponse::new(answer.hits.total.value, hits);
    (response.total, response.relation) = request.total.of(answer.hits.total.value);
    response.skipped = skipped;
    counts::read(schema, request, &answer.aggregations, &mut response)?;
    Ok(Some(response))
}

/// One page of all hits.
pub(super) struct Found {
    pub(super) total: u64,
    /// None if something else has written all of it.
    pub(super) page: Option<HitPage>,
}

/// The same as a page of all hits.
pub(super) fn found(
    of: (&Schema, u64),
    index: &str,
    (request, onward): (&SearchRequest, &mut Onward),
    body: &[u8],
    stop: &Stop,
) -> Result<Found> {
    let answer = Answer::read(body, Total::Exact)?;
    let total = answer.hits.total.value;
    let found = hits(of, index, (request, onward.size()), &answer.hits, stop)?;
    let sorts = answer.hits.sorts();
    let page = if onward.passes(&found, &sorts) { None } else { Some(onward.page(found, &sorts, request.size)) };
    Ok(Found { total, page })
}

fn hits(
    (schema, of): (&Schema, u64),
    index: &str,
    (request, size): (&SearchRequest, u64),
    found: &Hits<'_>,
    stop: &Stop,
) -> Result<Vec<Option<Hit>>> {
    check_page((request, size), found)?;
    check_groups(request, found)?;
    let mut marker = Marker::new(schema, request, stop)?;
    let hit = |raw: &RawHit<'_>| {
        stop.check()?;
        source::check_index(index, raw.index.as_deref())?;
        let Read::Ours(full) = raw.read(schema)? else { return Ok(None) };
        let highlights = marker.mark(&full)?;
        let mut hit = Hit::new(source::project(full, schema, &request.projection), raw.score);
        hit.sort = sort_values(schema, request, &raw.sort)?;
        (hit.highlights, hit.of) = (highlights, of);
        Ok(Some(hit))
    };
    found.hits.iter().map(hit).collect()
}

/// Refuses a page that is not the one that was asked for.
fn check_page((request, size): (&SearchRequest, u64), hits: &Hits<'_>) -> Result<()> {
    let most = match request.total.of(hits.total.value) {
        (all, TotalRelation::Exact) => size.min(all.saturating_sub(request.from)),
        _ => size,
    };
    if hits.hits.len() as u64 > most {
        return Err(error::of_other_question("OpenSearch answered with more hits than there can be on the page"));
    }
    let mut seen = HashSet::with_capacity(hits.hits.len());
    if hits.hits.iter().all(|hit| seen.insert((hit.index.as_deref(), &*hit.id))) {
        return Ok(());
    }
    Err(error::of_other_question("OpenSearch answered with the same document twice"))
}

/// Refuses hits that are not one of each group.
fn check_groups(request: &SearchRequest, hits: &Hits<'_>) -> Result<()> {
    let Some(field) = request.collapsed() else { return Ok(()) };
    let mut seen = HashSet::with_capacity(hits.hits.len());
    if hits.hits.iter().all(|hit| seen.insert(hit.fields.get(&**field).map(|value| value.get()))) {
        return Ok(());
    }
    Err(error::of_other_question("OpenSearch answered with two hits of the same group"))
}

impl RawHit<'_> {
    fn read(&self, schema: &Schema) -> Result<Read> {
        // The last sort key is the id that we have written into the document.
        if self.sort.last().is_some_and(|id| id.as_str() != Some(&self.id)) {
            return Ok(Read::Foreign);
        }
        source::record(schema, &self.id, self.version, self.source)
    }
}

/// What each sort key of the request compared.
fn sort_values(schema: &Schema, request: &SearchRequest, raw: &[Json]) -> Result<Vec<Option<Value>>> {
    let mut raw = raw.iter();
    let mut values = Vec::with_capacity(request.sort.len());
    for sort in &request.sort {
        let value = raw.next().unwrap_or(&Json::Null);
        values.push(match &sort.key {
            SortKey::Score => None,
            SortKey::Field(name) => {
                let field = schema.require(name)?;
                let absent = needs_presence(field) && raw.next().is_none_or(Json::is_null);
                if absent { None } else { sort_value(field.kind(), value) }
            }
        });
    }
    Ok(values)
}
