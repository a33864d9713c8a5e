//! Whatever is asked: an async thread is held for a moment only, and a deadline ends the work.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_testkit::longest_poll;

use crate::print::print;
use crate::tantivy::collapse::Collapse;
use crate::tantivy::collect::settle_ties;
use crate::tantivy::found::Found;
use crate::work::Stop;
use crate::{
    Cursor, DocumentId, Facet, Field, Highlight, HitsOptions, MAX_SORTS, MAX_TERM_LEN, Operation, Query, Record,
    Schema, SearchIndex, SearchIndexExt, SearchOptions, SearchRequest, Sort, TantivyConfig, TantivyIndex, Value,
};

/// The contract's millisecond, for code that was compiled to be fast.
const LIMIT: Duration = if cfg!(debug_assertions) { Duration::from_millis(10) } else { Duration::from_millis(1) };

/// Who has the generation's client while no work runs: the set, the handle, and who counts.
const IDLE: usize = 3;

fn schema() -> Schema {
    Schema::builder()
        .field(Field::text("title"))
        .field(Field::keyword("code").sortable())
        .field(Field::i64("rank").sortable())
        .build()
        .unwrap()
}

/// 5,000 documents of different words, and one of a megabyte.
async fn large() -> TantivyIndex {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    let word = |n: usize| format!("w{:x}", n.wrapping_mul(2_654_435_761) % 1_000_003);
    let small = (0..5_000_usize).map(|n| {
        let title = (0..10).map(|k| word(10 * n + k)).collect::<Vec<_>>().join(" ");
        Record::new(n.to_string()).unwrap().with("title", title).with("code", word(n)).with("rank", n as i64)
    });
    let giant = Record::new("giant").unwrap().with("title", "a b ".repeat(250_000));
    index.bulk(small.chain([giant]).map(Operation::Upsert).collect()).await.unwrap().check().unwrap();
    index
}

fn hostile() -> Vec<(&'static str, SearchRequest)> {
    let words = |count: usize| (0..count).map(|n| format!("w{n:x}abc")).collect::<Vec<_>>().join(" ");
    let all = || SearchRequest::new(Query::all());
    let wide = (0..1_000).fold(Query::bool(), |query, n| query.should(Query::prefix("title", format!("w{n:x}"))));
    let facets = (0..32).fold(all(), |request, _| request.with_facet(Facet::field("code").with_size(1_000)));
    let sorts = (0..16).fold(all().with_size(20), |request, _| request.with_sort(Sort::by("rank").descending()));
    let marked = |query: Query| SearchRequest::new(query).with_highlight(Highlight::field("title"));
    vec![
        ("fuzzy words", Query::matches("title", words(500)).fuzzy().into()),
        ("a long fuzzy term", Query::fuzzy("title", "w".repeat(255)).into()),
        ("many prefixes", wide.into()),
        ("many facets", facets),
        ("many sort keys", sorts),
        ("a page of all", all().with_size(10_000)),
        ("the giant", Query::ids(["giant"]).into()),
        ("a phrase in the giant", Query::phrase("title", "b a b a").into()),
        ("a phrase marked in the giant", marked(Query::phrase("title", "a b ".repeat(500)).into())),
        ("fuzzy words marked in the giant", marked(Query::matches("title", words(400)).fuzzy().into())),
        ("a sloppy phrase of twins in the giant", Query::phrase("title", "a b ".repeat(100)).slop(1_000).into()),
        ("many terms", Query::terms("rank", 0..65_000_i64).into()),
        ("many ids", Query::ids((0..65_000).map(|n: u32| n.to_string())).into()),
        ("many texts", Query::terms("code", (0..65_000).map(|n: u32| n.to_string())).into()),
        ("a range", Query::range("rank").at_least(1_i64).into()),
        ("everything but", Query::bool().must_not(Query::term("rank", 1_i64)).into()),
        ("the largest cursor", behind(all().with_size(20))),
        ("the largest cursor, few terms", behind(Query::term("code", "w1").into())),
    ]
}

/// Behind the largest cursor that there is, which has a text for each sort key.
fn behind(request: SearchRequest) -> SearchRequest {
    let sort = (0..MAX_SORTS).map(|n| Some(Value::Text(format!("w{n:x}").repeat(MAX_TERM_LEN / 4)))).collect();
    let request = (0..MAX_SORTS).fold(request, |request, _| request.with_sort(Sort::by("code")));
    let id = DocumentId::new("w".repeat(DocumentId::MAX_LEN)).unwrap();
    let cursor = Cursor::new(print(&schema(), &request), None, sort, id);
    request.with_after(cursor)
}

/// Opens, reads as many as three pages, and lets go of the state.
async fn all_hits(index: &TantivyIndex, request: &SearchRequest) -> statehouse_core::Result<()> {
    let size = request.size.min(1_000);
    let options = HitsOptions::default().with_page_size(size).with_deadline(Duration::from_secs(1));
    let mut hits = index.hits_with(request, options).await?;
    for _ in 0..3 * size {
        if hits.next().await?.is_none() {
            break;
        }
    }
    Ok(())
}

/// What is looked up for a cursor counts like the terms of the query.
#[tokio::test]
async fn a_short_search_behind_a_cursor_runs_in_place_while_it_looks_up_little() {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    let rows = (0..4).map(|n| Record::new(n.to_string()).unwrap().with("title", "w1").with("code", "x"));
    index.bulk(rows.map(Operation::Upsert).collect()).await.unwrap().check().unwrap();
    index.refresh().await.unwrap();
    let segments = index.client().unwrap().snapshot().segments.len();
    let in_place = |request: &SearchRequest| {
        let size = crate::size::Size::of_request(request).unwrap();
        crate::tantivy::inplace::search((&index.client().unwrap(), index.schema()), request, size).unwrap().is_some()
    };
    let words = |count: usize| {
        let words = (0..count).map(|n| format!("w{n:x}")).collect::<Vec<_>>().join(" ");
        let request = SearchRequest::new(Query::matches("title", words));
        (0..3).fold(request, |request, _| request.with_sort(Sort::by("code")))
    };
    // The query itself counts one, and the cursor its id and a text for each key.
    let most = 200 / segments - 1;
    for (count, cursor_too) in [(most, false), (most - 4, true)] {
        let request = words(count);
        let hit = index.search(&request).await.unwrap().hits.remove(0);
        assert!(in_place(&request), "{count} terms");
        assert_eq!(in_place(&request.with_after(hit.cursor())), cursor_too, "{count} terms and a cursor");
    }
}

#[tokio::test]
async fn no_request_holds_an_async_thread() {
    let index = large().await;
    for (name, request) in hostile() {
        // The first time takes what is made once: tables, pages, threads.
        for warm in [false, true] {
            let options = SearchOptions::default().with_deadline(Duration::from_secs(1));
            let (_, search) = longest_poll(index.search_with(&request, options.clone())).await;
            let (_, count) = longest_poll(index.count_with(&request.query, options)).await;
            assert!(!warm || search.max(count) <= LIMIT, "{name}: {search:?} and {count:?}");
        }
    }
    for (name, request) in hostile().into_iter().filter(|(_, request)| request.facets.is_empty()) {
        for warm in [false, true] {
            let (_, took) = longest_poll(all_hits(&index, &request)).await;
            assert!(!warm || took <= LIMIT, "all hits of {name}: {took:?}");
        }
    }
    let (found, get) = longest_poll(async { index.get(&DocumentId::new("giant").unwrap()).await }).await;
    assert!(found.unwrap().is_some() && get <= LIMIT, "{get:?}");
}

/// What would take minutes ends with its deadline, on the thread that does it too: else the next ones would wait for it.
#[tokio::test]
async fn a_deadline_ends_the_work_itself() {
    let index = Arc::new(large().await);
    let twins = SearchRequest::new(Query::phrase("title", "a ".repeat(1_000)).slop(1 << 30));
    let options = SearchOptions::default().with_deadline(Duration::from_millis(50));
    let error = index.search_with(&twins, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.operation(), Some("search.search"));
    // The work holds the index until it has ended.
    let ended = async {
        while Arc::strong_count(&index.client().unwrap()) > IDLE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
}

#[tokio::test]
async fn a_short_search_runs_in_place() {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    let rows = (0..100).map(|n| Record::new(n.to_string()).unwrap().with("title", "short text").with("rank", n as i64));
    index.bulk(rows.map(Operation::Upsert).collect()).await.unwrap().check().unwrap();
    let in_place = |request: &SearchRequest| {
        let size = crate::size::Size::of_request(request).unwrap();
        crate::tantivy::inplace::search((&index.client().unwrap(), index.schema()), request, size).unwrap().is_some()
    };
    let short = || SearchRequest::new(Query::matches("title", "short text"));
    for request in [
        short(),
        short().with_sort(Sort::by("rank")),
        short().with_filter(Query::term("rank", 7_i64)),
        short().with_filter(Query::range("rank").above(1_i64)),
    ] {
        assert!(in_place(&request), "{request:?}");
    }
    for request in [
        short().with_facet(Facet::field("code")),
        short().with_highlight(Highlight::field("title")),
        short().with_size(21),
        short().with_from(95),
        short().with_filter(Query::prefix("code", "w")),
        Query::matches("title", "short").fuzzy().into(),
    ] {
        assert!(!in_place(&request), "{request:?}");
    }
    // One large document makes all of them too large: which one is found is not known before.
    let giant = Record::new("giant").unwrap().with("title", "x".repeat(100_000));
    index.bulk(vec![Operation::Upsert(giant)]).await.unwrap().check().unwrap();
    assert!(!in_place(&short()));
}

/// The positions of its words may take long to compare, however few documents have them.
#[tokio::test]
async fn a_phrase_in_a_large_document_does_not_run_in_place() {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    let in_place = |request: SearchRequest| {
        let size = crate::size::Size::of_request(&request).unwrap();
        crate::tantivy::inplace::search((&index.client().unwrap(), index.schema()), &request, size).unwrap().is_some()
    };
    let phrase = || Query::phrase("title", "a b").into();
    index
        .bulk(vec![Operation::Upsert(Record::new("small").unwrap().with("title", "a b"))])
        .await
        .unwrap()
        .check()
        .unwrap();
    assert!(in_place(phrase()));
    let medium = Record::new("medium").unwrap().with("title", "a b ".repeat(1_000));
    index.bulk(vec![Operation::Upsert(medium)]).await.unwrap().check().unwrap();
    assert!(!in_place(phrase()));
    assert!(in_place(Query::matches("title", "a b").into()));
}

/// What splits, folds, joins and stems in every way, and what is long in each.
fn hostile_texts() -> Vec<String> {
    let pieces = [
        "a",
        "a ",
        "ab ",
        "a\u{301}",
        "\u{301}",
        "👩\u{200d}⚕️",
        "🇩🇪",
        "日",
        "ア",
        "한",
        "\u{1100}",
        "ภ",
        "x.",
        "1,",
        "a'b ",
        "a_",
        "\u{feff}",
        "\u{200b}",
        "ß",
        "İ ",
        "ﬁ ",
        "ǆ",
        "\u{10ffff}",
        "\u{5d0}\"\u{5d0}",
        "e-mail ",
        "the ",
        "running ",
        ".",
    ];
    pieces.into_iter().map(|piece| piece.repeat(crate::MAX_QUERY_TEXT / piece.len())).collect()
}

#[tokio::test]
async fn hostile_texts_end_with_a_deadline_of_100_ms() {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    let texts = hostile_texts();
    let records = texts
        .iter()
        .enumerate()
        .map(|(n, text)| Operation::Upsert(Record::new(n.to_string()).unwrap().with("title", text.repeat(8))));
    index.bulk(records.collect()).await.unwrap().check().unwrap();
    for (number, text) in texts.iter().enumerate() {
        let kinds: [(&str, Query); 11] = [
            ("match", Query::matches("title", text.as_str()).into()),
            ("fuzzy match", Query::matches("title", text.as_str()).fuzzy().into()),
            ("phrase", Query::phrase("title", text.as_str()).into()),
            ("sloppy phrase", Query::phrase("title", text.as_str()).slop(crate::MAX_POSITIONS).into()),
            ("phrase prefix", Query::phrase_prefix("title", text.as_str()).into()),
            ("sloppy phrase prefix", Query::phrase_prefix("title", text.as_str()).slop(crate::MAX_POSITIONS).into()),
            ("match prefix", Query::matches_prefix("title", text.as_str()).into()),
            ("starts with words", Query::starts_with_words("title", text.as_str()).into()),
            ("prefix", Query::prefix("title", text.as_str()).into()),
            ("fuzzy", Query::fuzzy("title", text.as_str()).into()),
            ("wildcard", Query::wildcard("title", format!("*{text}")).into()),
        ];
        for (kind, query) in kinds {
            let request = SearchRequest::new(query).with_highlight(Highlight::field("title"));
            let options = SearchOptions::default().with_deadline(Duration::from_millis(100));
            let found = tokio::time::timeout(Duration::from_secs(10), index.search_with(&request, options)).await;
            let found = found.unwrap_or_else(|_| panic!("{kind} of text {number} has no answer"));
            let known = [ErrorKind::Timeout, ErrorKind::InvalidInput, ErrorKind::TooLarge];
            assert!(
                found.as_ref().err().is_none_or(|error| known.contains(&error.kind())),
                "{kind} {number}: {found:?}"
            );
            let ended = async {
                while Arc::strong_count(&index.client().unwrap()) > IDLE {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
            assert!(ended.is_ok(), "{kind} of text {number} goes on behind its deadline");
        }
    }
}

/// What is looked up for hits that are found already, names of groups and ids of ties, ends with its deadline, too.
#[tokio::test]
async fn names_and_ids_are_not_looked_up_in_vain() {
    let schema = Schema::builder().field(Field::keyword("code").sortable()).build().unwrap();
    let index = TantivyConfig::memory().open(schema).await.unwrap();
    for id in ["a", "b"] {
        let row = Record::new(id).unwrap().with("code", "x");
        index.bulk(vec![Operation::Upsert(row)]).await.unwrap().check().unwrap();
        index.refresh().await.unwrap();
    }
    let client = index.client().unwrap();
    let snapshot = client.snapshot();
    assert_eq!(snapshot.segments.len(), 2);
    let hits = || {
        let hit = |segment| {
            let mut found = Found::new((segment, 0, 0), None, Vec::new());
            found.group = Some(0);
            found
        };
        vec![hit(1), hit(0)]
    };
    let collapse = Collapse::of(&snapshot, &SearchRequest::new(Query::all()).with_collapse("code")).unwrap().unwrap();
    let mut found = hits();
    collapse.firsts(&snapshot, &mut found, &Stop::default()).unwrap();
    assert_eq!(found.len(), 1, "one name in both");
    collapse.firsts(&snapshot, &mut hits(), &Stop::set()).unwrap_err();
    let (mut found, by_code) = (hits(), []);
    settle_ties(&snapshot, &mut found, (&by_code, 2), &Stop::default()).unwrap();
    assert_eq!(found.iter().map(|hit| hit.id.as_deref()).collect::<Vec<_>>(), [Some("a"), Some("b")]);
    settle_ties(&snapshot, &mut hits(), (&by_code, 2), &Stop::set()).unwrap_err();
}
