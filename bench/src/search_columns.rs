//! What is read from columns: ranges, sorting by numbers, facets. Synthetic documents in one segment, and in several.

use std::ops::Bound;

use statehouse_search::{
    Facet, Field, Operation, Query, Record, Schema, SearchIndex, SearchIndexExt, SearchOptions, SearchRequest, Sort,
    TantivyConfig, TantivyIndex,
};
use tantivy::aggregation::AggregationCollector;
use tantivy::aggregation::agg_req::Aggregations;
use tantivy::aggregation::agg_result::AggregationResults;
use tantivy::collector::{Count, TopDocs};
use tantivy::query::{AllQuery, BooleanQuery, Occur, RangeQuery, TermQuery};
use tantivy::schema::{FAST, INDEXED, IndexRecordOption, STORED, STRING, TEXT};
use tantivy::{DocAddress, Index, IndexWriter, Order, Searcher, TantivyDocument, Term, doc};

use crate::harness::{Bar, Case, Harness};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const DOCUMENTS: u64 = 100_000;
const CHAPTERS: u64 = 61;
const OPS: u32 = 40;
/// As many segments as neither side merges on its own.
const SEGMENTS: u64 = 7;
const RAW: &str = "raw tantivy, fast fields";

/// A number that looks drawn at random.
const fn drawn(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

fn words(n: u64) -> String {
    format!("word{} {}", drawn(n) % 4_000, if n.is_multiple_of(10) { "mid" } else { "other" })
}

/// An index as one writes it by hand, and its fields.
struct Raw {
    searcher: Searcher,
    title: tantivy::schema::Field,
    uses: tantivy::schema::Field,
}

impl Raw {
    fn new(segments: u64) -> Outcome<Self> {
        let mut schema = tantivy::schema::Schema::builder();
        let id = schema.add_text_field("id", STRING | STORED);
        let title = schema.add_text_field("title", TEXT | STORED);
        let uses = schema.add_u64_field("uses", INDEXED | FAST | STORED);
        let chapter = schema.add_text_field("chapter", STRING | FAST | STORED);
        let code = schema.add_text_field("code", STRING | FAST | STORED);
        let index = Index::create_in_ram(schema.build());
        let mut writer: IndexWriter = index.writer_with_num_threads(1, 128 << 20)?;
        writer.set_merge_policy(Box::new(tantivy::merge_policy::NoMergePolicy));
        for n in 0..DOCUMENTS {
            if n > 0 && n % (DOCUMENTS / segments + 1) == 0 {
                writer.commit()?;
            }
            let (chapter_of, code_of) = (format!("c{}", drawn(n) % CHAPTERS), format!("k{n}"));
            writer.add_document(
                doc!(id => n.to_string(), title => words(n), uses => drawn(n), chapter => chapter_of, code => code_of),
            )?;
        }
        writer.commit()?;
        let searcher = index.reader()?.searcher();
        assert_eq!(searcher.segment_readers().len() as u64, segments);
        Ok(Self { searcher, title, uses })
    }

    fn range(&self, low: u64, high: u64) -> RangeQuery {
        let term = |number| Term::from_field_u64(self.uses, number);
        RangeQuery::new(Bound::Included(term(low)), Bound::Excluded(term(high)))
    }

    /// The total, and the documents of the first ten.
    fn documents(&self, total: usize, top: impl Iterator<Item = DocAddress>) -> u64 {
        let documents: Result<Vec<TantivyDocument>, _> = top.map(|address| self.searcher.doc(address)).collect();
        assert_eq!(documents.map_or(0, |documents| documents.len()), 10);
        total as u64
    }

    fn best(&self, query: &dyn tantivy::query::Query) -> u64 {
        let found = self.searcher.search(query, &(TopDocs::with_limit(10).order_by_score(), Count));
        let (top, total) = found.expect("a search");
        self.documents(total, top.into_iter().map(|(_, address)| address))
    }

    fn most_used(&self) -> u64 {
        let top = TopDocs::with_limit(10).order_by_fast_field::<u64>("uses", Order::Desc);
        let (top, total) = self.searcher.search(&AllQuery, &(top, Count)).expect("a search");
        self.documents(total, top.into_iter().map(|(_, address)| address))
    }

    fn facet(&self, field: &str) -> AggregationResults {
        let asked = serde_json::json!({ "values": { "terms": { "field": field, "size": 10 } } });
        let asked: Aggregations = serde_json::from_value(asked).expect("an aggregation");
        let collector = AggregationCollector::from_aggs(asked, tantivy::aggregation::AggContextParams::default());
        self.searcher.search(&AllQuery, &collector).expect("a search")
    }
}

async fn ours(segments: u64) -> Outcome<TantivyIndex> {
    let schema = Schema::builder()
        .field(Field::text("title"))
        .field(Field::u64("uses").sortable())
        .field(Field::keyword("chapter").sortable())
        .field(Field::keyword("code").sortable())
        .build()?;
    let index = TantivyConfig::memory().with_threads(1).open(schema).await?;
    let record = |n: u64| {
        let record = Record::new(n.to_string())?.with("title", words(n)).with("uses", drawn(n));
        let record = record.with("chapter", format!("c{}", drawn(n) % CHAPTERS)).with("code", format!("k{n}"));
        Ok::<_, statehouse_core::Error>(Operation::Upsert(record))
    };
    let operations: Vec<_> = (0..DOCUMENTS).map(record).collect::<Result<_, _>>()?;
    for part in operations.chunks(usize::try_from(DOCUMENTS / segments + 1)?) {
        index.bulk(part.to_vec()).await?.check()?;
    }
    if segments == 1 {
        index.merge().await?;
    }
    Ok(index)
}

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    one_segment(harness).await?;
    several_segments(harness).await
}

async fn one_segment(harness: &mut Harness) -> Outcome {
    let (ours, raw) = (ours(1).await?, Raw::new(1)?);
    let most = (0..DOCUMENTS).map(drawn).max().unwrap_or_default();
    let range = |low, high| Query::range("uses").at_least(low).below(high);
    let mid = TermQuery::new(Term::from_field_text(raw.title, "mid"), IndexRecordOption::WithFreqs);
    let filtered = BooleanQuery::new(vec![
        (Occur::Must, Box::new(mid)),
        (Occur::Must, Box::new(tantivy::query::BoostQuery::new(Box::new(raw.range(0, most / 2)), 0.0))),
    ]);
    let (narrow, wide) = (raw.range(most / 2, most / 2 + most / 100), raw.range(0, most / 2));
    let mid = SearchRequest::new(Query::matches("title", "mid")).with_filter(range(0, most / 2));
    let (some, half) = (range(most / 2, most / 2 + most / 100), range(0, most / 2));
    let all = || SearchRequest::new(Query::all());
    row(harness, "range over 1 % of the documents", &ours, &some.into(), || raw.best(&narrow)).await;
    row(harness, "range over half of the documents", &ours, &half.into(), || raw.best(&wide)).await;
    row(harness, "a mid term, filtered by a range", &ours, &mid, || raw.best(&filtered)).await;
    let sorted = all().with_sort(Sort::by("uses").descending());
    row(harness, "sort by a number", &ours, &sorted, || raw.most_used()).await;
    for (name, field) in [("facet of 61 values", "chapter"), ("facet of 100,000 values", "code")] {
        facet(harness, (name, field), &ours, &raw).await;
    }
    Ok(())
}

/// The peer's aggregation takes a hundred values of each segment and adds up those; ours adds up all.
async fn several_segments(harness: &mut Harness) -> Outcome {
    let (ours, raw) = (ours(SEGMENTS).await?, Raw::new(SEGMENTS)?);
    let sorted = SearchRequest::new(Query::all()).with_sort(Sort::by("uses").descending());
    row(harness, "sort by a number, 7 segments", &ours, &sorted, || raw.most_used()).await;
    facet(harness, ("facet of 61 values, 7 segments", "chapter"), &ours, &raw).await;
    facet(harness, ("facet of 100,000 values, 7 segments", "code"), &ours, &raw).await;
    Ok(())
}

async fn facet(harness: &mut Harness, (name, field): (&'static str, &str), ours: &TantivyIndex, raw: &Raw) {
    let request = SearchRequest::new(Query::all()).with_size(0).with_facet(Facet::field(field));
    let counted = || {
        assert_eq!(raw.facet(field).0.len(), 1);
        DOCUMENTS
    };
    compare(harness, (name, "raw terms aggregation", 0.8), ours, &request, counted).await;
}

async fn row(
    harness: &mut Harness,
    name: &'static str,
    ours: &TantivyIndex,
    request: &SearchRequest,
    theirs: impl Fn() -> u64,
) {
    compare(harness, (name, RAW, 0.9), ours, request, theirs).await;
}

/// Compares after both have found as many.
async fn compare(
    harness: &mut Harness,
    (name, peer, bar): (&'static str, &'static str, f64),
    ours: &TantivyIndex,
    request: &SearchRequest,
    theirs: impl Fn() -> u64,
) {
    let found = async || {
        let found = ours.search_with(request, SearchOptions::default()).await;
        found.map_or(0, |found| found.total)
    };
    assert_eq!(found().await, theirs(), "{name}");
    let case = Case { service: "search", name, peer, bar: Bar::Ratio(bar), ops: OPS };
    harness
        .compare(
            case,
            async || {
                for _ in 0..OPS {
                    assert!(found().await > 0);
                }
            },
            async || (0..OPS).for_each(|_| assert!(theirs() > 0)),
        )
        .await;
}
