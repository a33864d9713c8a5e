use std::time::Duration;

use statehouse_core::Namespace;
use statehouse_search::{
    DocumentId, Facet, Field, Highlight, OpenSearchConfig, OpenSearchIndex, Operation, Query, Record, Schema,
    SearchIndex, SearchIndexExt, SearchOptions, SearchRequest, Sort, TantivyConfig,
};
use statehouse_testkit::{OpenSearchNode, longest_poll};

use crate::harness::Harness;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// What one poll may take of its thread's time, in microseconds.
const MOST: f64 = 1_000.0;

const ROUNDS: usize = 5;

/// How long searches of every kind hold an async thread: those that should run in place, and those that should not.
pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    let schema = Schema::builder()
        .field(Field::text("title"))
        .field(Field::keyword("code").sortable())
        .field(Field::i64("rank").sortable())
        .build()?;
    let small = TantivyConfig::memory().open(schema.clone()).await?;
    small.bulk(rows().collect::<Result<_, _>>()?).await?.check()?;
    longest(harness, "longest poll, small documents", &small).await?;
    let large = TantivyConfig::memory().open(schema).await?;
    let giant = Record::new("giant")?.with("title", "a b ".repeat(250_000));
    let giant = Operation::Upsert(giant);
    large.bulk(rows().chain([Ok(giant.clone())]).collect::<Result<_, _>>()?).await?.check()?;
    longest(harness, "longest poll, one document of 1 MB", &large).await?;
    on_a_server(harness, large.schema(), giant).await
}

/// What is done with the answers of a server: marked, read, put in order.
async fn on_a_server(harness: &mut Harness, schema: &Schema, giant: Operation) -> Outcome {
    let node = OpenSearchNode::start().await;
    let (host, port) = node.address().split_once(':').ok_or("an address")?;
    let config = OpenSearchConfig::new([(host.to_owned(), port.parse()?)])?.with_replicas(0);
    let index = OpenSearchIndex::open(config, &Namespace::new("polls")?, schema.clone()).await?;
    for chunk in rows().collect::<Result<Vec<_>, _>>()?.chunks(2_000) {
        index.bulk(chunk.to_vec()).await?.check()?;
    }
    index.bulk(vec![giant]).await?.check()?;
    index.refresh().await?;
    longest(harness, "longest poll, OpenSearch, a document of 1 MB", &index).await
}

fn word(n: usize) -> String {
    format!("w{:x}", n.wrapping_mul(2_654_435_761) % 1_000_003)
}

fn rows() -> impl Iterator<Item = Result<Operation, statehouse_core::Error>> {
    (0..20_000_usize).map(|n| {
        let title = (0..10).map(|k| word(10 * n + k)).collect::<Vec<_>>().join(" ");
        let record = Record::new(n.to_string())?.with("title", format!("a {title} b")).with("code", word(n));
        Ok(Operation::Upsert(record.with("rank", n as i64)))
    })
}

async fn longest(harness: &mut Harness, name: &str, index: &dyn SearchIndex) -> Outcome {
    let options = SearchOptions::default().with_deadline(Duration::from_millis(500));
    let mut longest = Duration::ZERO;
    for round in 0..ROUNDS {
        for request in requests() {
            let (_, searching) = longest_poll(index.search_with(&request, options.clone())).await;
            let (_, counting) = longest_poll(index.count_with(&request.query, options.clone())).await;
            let took = searching.max(counting);
            // The first round makes what is made once: tables, threads, pages.
            longest = if round == 0 { longest } else { longest.max(took) };
        }
        for id in ["giant", "7", "absent"] {
            let id = DocumentId::new(id)?;
            longest = longest.max(longest_poll(index.get(&id)).await.1);
        }
    }
    harness.limited("search", name, "us", longest.as_secs_f64() * 1e6, MOST);
    Ok(())
}

fn requests() -> Vec<SearchRequest> {
    let words = |count: usize| (0..count).map(|n| format!("w{n:x}abc")).collect::<Vec<_>>().join(" ");
    let all = || SearchRequest::new(Query::all());
    let wide = (0..1_000).fold(Query::bool(), |query, n| query.should(Query::prefix("title", format!("w{n:x}"))));
    let several = (0..60).fold(Query::bool(), |query, n| query.should(Query::matches("title", word(n))));
    let marked = |query: Query| SearchRequest::new(query).with_highlight(Highlight::field("title"));
    vec![
        Query::matches("title", "a b").into(),
        SearchRequest::new(Query::matches("title", "a b")).with_size(20).with_sort(Sort::by("code")),
        SearchRequest::new(Query::matches("title", "a")).with_from(80).with_size(20),
        several.into(),
        all().with_size(20).with_sort(Sort::by("rank").descending()),
        Query::phrase("title", "a b").into(),
        Query::phrase("title", "b a b a").slop(100).into(),
        Query::matches("title", words(500)).fuzzy().into(),
        Query::fuzzy("title", "w".repeat(255)).into(),
        wide.into(),
        all().with_facet(Facet::field("code").with_size(1_000)),
        all().with_size(10_000),
        Query::ids(["giant"]).into(),
        marked(Query::phrase("title", "a b ".repeat(500)).into()),
        marked(Query::matches("title", words(400)).fuzzy().into()),
        Query::terms("rank", 0..65_000_i64).into(),
        Query::ids((0..65_000).map(|n: u32| n.to_string())).into(),
        Query::terms("code", (0..65_000).map(|n: u32| n.to_string())).into(),
        Query::terms("rank", 0..120_i64).into(),
        Query::range("rank").at_least(1_i64).into(),
        Query::bool().must_not(Query::term("rank", 1_i64)).into(),
    ]
}
