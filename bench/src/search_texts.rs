//! Text queries on the 46,498 diagnoses of ICD-10-CM, in one segment and in several: ten documents and the exact total, or
//! one that is counted up to a thousand.

use statehouse_search::{
    Operator, Query, SearchIndex, SearchIndexExt, SearchOptions, SearchRequest, TantivyConfig, TantivyIndex, Total,
};
use tantivy::Term;
use tantivy::query::{BooleanQuery, FuzzyTermQuery, Occur, PhraseQuery, TermQuery};
use tantivy::schema::IndexRecordOption;

use crate::harness::{Bar, Case, Harness};
use crate::search::{Counted, Diagnosis, OURS, Raw, operation, schema};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
type Peer = Box<dyn tantivy::query::Query>;

const OPS: u32 = 200;
/// As many segments as neither side merges on its own.
const SEGMENTS: usize = 7;

pub(crate) async fn run(harness: &mut Harness, rows: &[Diagnosis]) -> Outcome {
    for segments in [1, SEGMENTS] {
        let ours = ours(rows, segments).await?;
        let raw = Raw::new(OURS)?;
        raw.fill(rows, segments)?;
        pairs(harness, rows, segments, (&ours, &raw)).await;
        for (name, query, peer) in kinds(&raw) {
            compare_both(harness, (name, segments), (&ours, &[SearchRequest::new(query)]), (&raw, &[peer])).await;
        }
    }
    Ok(())
}

/// It lives as long as the program, as the names of all rows do.
fn titled((name, segments): (&'static str, usize), how: &str) -> &'static str {
    if segments == 1 { format!("{name}{how}").leak() } else { format!("{name}{how}, {segments} segments").leak() }
}

async fn ours(rows: &[Diagnosis], segments: usize) -> Outcome<TantivyIndex> {
    let ours = TantivyConfig::memory().with_threads(1).open(schema()?).await?;
    for part in rows.chunks(rows.len().div_ceil(segments)) {
        ours.bulk(part.iter().map(operation).collect()).await?.check()?;
    }
    if segments == 1 {
        ours.merge().await?;
    }
    Ok(ours)
}

/// Queries that are each asked over and over, and what one writes by hand for them.
fn kinds(raw: &Raw) -> Vec<(&'static str, Query, Peer)> {
    let term = |word: &str| Term::from_field_text(raw.title, word);
    let of = |word: &str| -> Peer { Box::new(TermQuery::new(term(word), IndexRecordOption::WithFreqs)) };
    let all = |occur, words: [&str; 2]| -> Peer {
        Box::new(BooleanQuery::new(Vec::from(words.map(|word| (occur, of(word))))))
    };
    let phrase = |words: [&str; 2], slop| -> Peer {
        let mut phrase = PhraseQuery::new(words.map(term).to_vec());
        phrase.set_slop(slop);
        Box::new(phrase)
    };
    let fuzzy: Peer = Box::new(FuzzyTermQuery::new(term("fractura"), 1, true));
    let matches = |text: &str| Query::matches("title", text);
    vec![
        ("a common term", matches("unspecified").into(), of("unspecified")),
        ("a mid term", matches("poisoning").into(), of("poisoning")),
        (
            "two common terms, OR",
            matches("unspecified encounter").into(),
            all(Occur::Should, ["unspecified", "encounter"]),
        ),
        (
            "two common terms, AND",
            matches("unspecified encounter").operator(Operator::And).into(),
            all(Occur::Must, ["unspecified", "encounter"]),
        ),
        ("a phrase", Query::phrase("title", "initial encounter").into(), phrase(["initial", "encounter"], 0)),
        (
            "a phrase with slop 2",
            Query::phrase("title", "fracture femur").slop(2).into(),
            phrase(["fracture", "femur"], 2),
        ),
        ("a fuzzy word", Query::fuzzy("title", "fractura").into(), fuzzy),
    ]
}

/// A thousand queries of two words of a title each, so that all of them find something.
async fn pairs(harness: &mut Harness, rows: &[Diagnosis], segments: usize, (ours, raw): (&TantivyIndex, &Raw)) {
    let texts: Vec<[String; 2]> = (0..1_000_usize)
        .filter_map(|i| {
            let title = rows[i.wrapping_mul(7919) % rows.len()].title.to_lowercase();
            let words: Vec<_> = title.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3).collect();
            let at = i % words.len().saturating_sub(1).max(1);
            Some([(*words.get(at)?).to_owned(), (*words.get(at + 1)?).to_owned()])
        })
        .collect();
    let requests: Vec<_> =
        texts.iter().map(|words| SearchRequest::new(Query::matches("title", words.join(" ")))).collect();
    let term = |word: &str| -> Peer {
        let term = Term::from_field_text(raw.title, word);
        Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
    };
    let either = |words: &[String; 2]| -> Peer {
        Box::new(BooleanQuery::new(words.iter().map(|word| (Occur::Should, term(word))).collect()))
    };
    let peers: Vec<_> = texts.iter().map(either).collect();
    compare_both(harness, ("two words of a title, OR", segments), (ours, &requests), (raw, &peers)).await;
}

/// With an exact total, and with one that is counted as far as people look.
async fn compare_both(
    harness: &mut Harness,
    name: (&'static str, usize),
    (ours, requests): (&TantivyIndex, &[SearchRequest]),
    (raw, peers): (&Raw, &[Peer]),
) {
    let case = Case { service: "search", name: titled(name, ""), peer: "raw tantivy", bar: Bar::Ratio(0.95), ops: 0 };
    compare(harness, case, (ours, requests), (raw, peers), Counted::All).await;
    let some = |request: &SearchRequest| request.clone().with_total(Total::AtLeast(1_000));
    let requests: Vec<_> = requests.iter().map(some).collect();
    let peer = "raw tantivy, TopDocs alone";
    let case = Case { service: "search", name: titled(name, ", at least 1,000"), peer, bar: Bar::Ratio(0.6), ops: 0 };
    compare(harness, case, (ours, &requests), (raw, peers), Counted::None).await;
}

/// Compares after both have found as many.
async fn compare(
    harness: &mut Harness,
    case: Case,
    (ours, requests): (&TantivyIndex, &[SearchRequest]),
    (raw, peers): (&Raw, &[Peer]),
    counted: Counted,
) {
    for (request, peer) in requests.iter().zip(peers) {
        let found = ours.search(request).await.expect("a search");
        let (total, hits) = raw.search(&**peer, Counted::All).expect("a search");
        assert_eq!(Some((found.total, found.relation)), total.map(|total| request.total.of(total)), "{request:?}");
        assert_eq!(found.hits.len(), hits, "{request:?}");
    }
    let ops = OPS.max(u32::try_from(requests.len()).expect("a few"));
    harness
        .compare(
            Case { ops, ..case },
            async || {
                for request in requests.iter().cycle().take(ops as usize) {
                    assert!(
                        ours.search_with(request, SearchOptions::default()).await.is_ok_and(|found| found.total > 0)
                    );
                }
            },
            async || {
                for peer in peers.iter().cycle().take(ops as usize) {
                    assert!(raw.search(&**peer, counted).is_ok_and(|(_, hits)| hits > 0));
                }
            },
        )
        .await;
}
