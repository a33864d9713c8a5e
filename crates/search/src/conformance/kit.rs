//! What the cases have in common.

use statehouse_core::conformance::Backend;

use crate::analysis::{Analyzer, Normalizer, Stemmer};
use crate::{
    BulkOptions, BulkReport, DocumentId, Field, Operation, Outcome, Query, Record, Refresh, Schema, SearchIndex,
    SearchIndexExt, SearchRequest, TotalRelation,
};

/// What the cases ask of a backend: an index of [`schema`], and another one beside it.
pub(super) trait SearchBackend: Backend<Service = dyn SearchIndex> {}

impl<B: Backend<Service = dyn SearchIndex>> SearchBackend for B {}

/// The schema that the suite's index is opened with.
#[must_use]
pub fn schema() -> Schema {
    with_synonyms("heart, cardiac\n tumor => tumour, neoplasm\n attack, attacks, infarct")
}

/// The same with other rules for its field `remark`.
pub(super) fn with_synonyms(rules: &str) -> Schema {
    let words = Analyzer::standard().lowercase().ascii_folding();
    let english = |words: Analyzer| words.stop_words(["of", "the"]).stem(Stemmer::Porter2);
    Schema::builder()
        .analyzer("english", english(words.clone()))
        .analyzer("worded", english(words.synonyms(rules)))
        .analyzer("whole", Analyzer::whole().lowercase())
        .analyzer("typed", Analyzer::standard().lowercase().edge_ngram(1, 10))
        .field(
            Field::text("title")
                .analyzed_by("english")
                .with_sub_field(Field::text("typed").analyzed_by("typed").searched_by("standard").without_norms()),
        )
        .field(Field::text("synonym").with_sub_field(Field::keyword("exact")))
        .field(Field::text("remark").analyzed_by("worded").searched_by("english"))
        .field(Field::text("label").analyzed_by("whole"))
        .field(Field::keyword("code").normalized(Normalizer::default().lowercase().ascii_folding()).sortable())
        .field(Field::keyword("tag"))
        .field(Field::i64("rank").sortable())
        .field(Field::u64("size"))
        .field(Field::f64("ratio").sortable())
        .field(Field::bool("leaf").sortable())
        .field(Field::date("day").sortable())
        .field(Field::keyword("note").not_indexed())
        .field(Field::text("hidden").not_stored())
        .build()
        .expect("the suite's schema is valid")
}

/// Writes and waits until searches see it.
pub(super) async fn put(index: &dyn SearchIndex, records: impl IntoIterator<Item = Record>) {
    let operations = records.into_iter().map(Operation::Upsert).collect();
    write(index, operations).await.check().expect("every write succeeds");
}

pub(super) async fn write(index: &dyn SearchIndex, operations: Vec<Operation>) -> BulkReport {
    index.bulk_with(operations, BulkOptions::default().with_refresh(Refresh::Now)).await.expect("the bulk succeeds")
}

pub(super) fn record(id: &str) -> Record {
    Record::new(id).expect("the id is valid")
}

pub(super) fn id(text: &str) -> DocumentId {
    DocumentId::new(text).expect("the id is valid")
}

pub(super) fn delete(text: &str, version: Option<u64>) -> Operation {
    Operation::Delete { id: id(text), version }
}

/// Documents with these titles, under the ids `0`, `1`, `2` and so on.
pub(super) async fn put_titles(index: &dyn SearchIndex, titles: &[&str]) {
    put(index, titles.iter().enumerate().map(|(at, title)| record(&at.to_string()).with("title", *title))).await;
}

pub(super) async fn ids(index: &dyn SearchIndex, query: impl Into<Query>) -> Vec<String> {
    found(index, &SearchRequest::new(query).with_size(100)).await
}

pub(super) async fn found(index: &dyn SearchIndex, request: &SearchRequest) -> Vec<String> {
    let response = index.search(request).await.expect("the search succeeds");
    assert!(response.hits.len() as u64 <= response.total || response.relation == TotalRelation::AtLeast);
    response.ids().into_iter().map(str::to_owned).collect()
}

/// The ids without regard to their order.
pub(super) async fn id_set(index: &dyn SearchIndex, query: impl Into<Query>) -> Vec<String> {
    let mut ids = ids(index, query).await;
    ids.sort();
    ids
}

pub(super) async fn scores(index: &dyn SearchIndex, query: impl Into<Query>) -> Vec<f32> {
    let response = index.search(&SearchRequest::new(query)).await.expect("the search succeeds");
    response.hits.iter().map(|hit| hit.score.expect("a search by score has scores")).collect()
}

pub(super) fn kinds(report: &BulkReport) -> Vec<&'static str> {
    let kind = |outcome: &Outcome| match outcome {
        Outcome::Created { .. } => "created",
        Outcome::Updated { .. } => "updated",
        Outcome::Deleted { .. } => "deleted",
        Outcome::Stale => "stale",
        Outcome::NotFound => "not found",
        Outcome::Failed(_) => "failed",
    };
    report.outcomes.iter().map(kind).collect()
}
