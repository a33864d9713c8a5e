//! Shows that two backends give the same hits in the same order, on your own documents and queries.
//!
//! ```no_run
//! # async fn check(embedded: &dyn statehouse_search::SearchIndex, distributed: &dyn statehouse_search::SearchIndex,
//! #     corpus: Vec<statehouse_search::Record>) -> Result<(), statehouse_core::Error> {
//! use statehouse_search::parity::{Kind, assert_same, draw};
//!
//! let mut requests = Vec::new();
//! for kind in Kind::ALL {
//!     requests.extend(draw(*kind, &["title", "synonym"], &corpus, 300, 7)?);
//! }
//! assert_same(embedded, distributed, corpus, &requests).await;
//! # Ok(())
//! # }
//! ```
//!
//! Compare behind a [`merge`](crate::SearchIndexExt::merge) of both, if anything was updated or deleted: a server counts
//! replaced documents in its statistics until it merges them away.

use std::sync::Arc;

use statehouse_core::{Error, Result};

use crate::{
    BulkOptions, FieldBoost, MinimumMatch, Operation, Operator, Query, Record, Refresh, SearchIndex, SearchIndexExt,
    SearchRequest, SearchResponse, Value,
};

/// How much two scores may differ, relative to the larger, and still be the same: 1e-5.
pub const TOLERANCE: f32 = 1e-5;

/// How many documents are written at once.
const BATCH: usize = 2_000;

/// What a comparison found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// How many requests were compared.
    pub runs: usize,
    /// How many had equal totals and facets and the same hits in the same order.
    pub equal: usize,
    /// How many had equal totals and differed only in the order of scores that are the same within [`TOLERANCE`].
    pub tied: usize,
    /// The others: the request's place in the list, and how the answers differ.
    pub differences: Vec<(usize, String)>,
}

/// Writes the corpus to both indexes, runs every request on both, and panics unless all answers are the same.
///
/// # Panics
/// If a write or search fails, or answers differ by more than ties: naming the first differences.
pub async fn assert_same(
    embedded: &dyn SearchIndex,
    distributed: &dyn SearchIndex,
    corpus: Vec<Record>,
    requests: &[SearchRequest],
) -> Report {
    load(embedded, corpus.clone()).await.expect("the corpus is written to the first index");
    load(distributed, corpus).await.expect("the corpus is written to the second index");
    let report = compare(embedded, distributed, requests).await.expect("every search succeeds");
    let shown: Vec<_> = report.differences.iter().take(5).map(|(at, how)| (&requests[*at].query, how)).collect();
    assert!(shown.is_empty(), "{} of {} answers differ, first {shown:#?}", report.differences.len(), report.runs);
    report
}

/// Writes records in batches and makes them visible.
///
/// # Errors
/// The first that a bulk or one of its operations has.
pub async fn load(index: &dyn SearchIndex, corpus: Vec<Record>) -> Result<()> {
    let mut rest = corpus.into_iter().map(Operation::Upsert).peekable();
    while rest.peek().is_some() {
        let batch = rest.by_ref().take(BATCH).collect();
        let refresh = if rest.peek().is_some() { Refresh::None } else { Refresh::Now };
        index.bulk_with(batch, BulkOptions::default().with_refresh(refresh)).await?.check()?;
    }
    Ok(())
}

/// Runs every request on both indexes.
///
/// # Errors
/// The first that a search has.
pub async fn compare(left: &dyn SearchIndex, right: &dyn SearchIndex, requests: &[SearchRequest]) -> Result<Report> {
    let mut report = Report { runs: requests.len(), ..Report::default() };
    for (at, request) in requests.iter().enumerate() {
        let (a, b) = (left.search(request).await?, right.search(request).await?);
        match difference(&a, &b) {
            None if a.ids() == b.ids() => report.equal += 1,
            None => report.tied += 1,
            Some(how) => report.differences.push((at, how)),
        }
    }
    Ok(report)
}

/// How two answers differ beyond ties.
fn difference(a: &SearchResponse, b: &SearchResponse) -> Option<String> {
    let totals = [a, b].map(|response| (response.total, response.relation));
    if totals[0] != totals[1] || a.hits.len() != b.hits.len() {
        return Some(format!("totals {totals:?}, hits {} and {}", a.hits.len(), b.hits.len()));
    }
    if a.facets != b.facets {
        return Some(format!("facets {:?} and {:?}", a.facets, b.facets));
    }
    if (&a.ranges, &a.histograms) != (&b.ranges, &b.histograms) || !same_stats(a, b) {
        let counted =
            |response: &SearchResponse| format!("{:?} {:?} {:?}", response.ranges, response.histograms, response.stats);
        return Some(format!("counted {} and {}", counted(a), counted(b)));
    }
    for (place, (x, y)) in a.hits.iter().zip(&b.hits).enumerate() {
        let (Some(s), Some(t)) = (x.score, y.score) else {
            if x.id() == y.id() && x.sort == y.sort {
                continue;
            }
            return Some(format!("place {place}: {} and {}", x.id(), y.id()));
        };
        if !same(s, t) {
            return Some(format!("place {place}: {} scores {s}, {} scores {t}", x.id(), y.id()));
        }
        // A tie at the end of the page may have been cut differently.
        let last = b.hits.last().and_then(|hit| hit.score).is_some_and(|last| same(s, last));
        let twin = b.hits.iter().find(|hit| hit.id() == x.id()).and_then(|hit| hit.score);
        if x.id() != y.id() && !twin.map_or(last, |twin| same(s, twin)) {
            return Some(format!("place {place}: {} and {} at score {s}", x.id(), y.id()));
        }
    }
    None
}

/// Whether sums are the same but for the order in which they were added up.
fn same_stats(a: &SearchResponse, b: &SearchResponse) -> bool {
    let mut pairs = a.stats.iter().zip(&b.stats);
    a.stats.len() == b.stats.len() && pairs.all(|((field, a), (other, b))| field == other && a.is_close_to(b))
}

fn same(a: f32, b: f32) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// A kind of query that [`draw`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Any of one to four words.
    Match,
    /// All of two to four words.
    MatchAll,
    /// Two thirds of two to four words.
    MatchMost,
    /// Any of one to three words, each with a letter changed.
    MatchFuzzy,
    /// The best of several fields.
    BestFields,
    /// The sum of several fields.
    MostFields,
    /// Two to four words in order.
    Phrase,
    /// Two to four words, perhaps in another order, within two positions.
    SloppyPhrase,
    /// The beginning of a word.
    Prefix,
    /// Words, the last one cut off.
    MatchPrefix,
    /// Words, each cut off.
    StartsWithWords,
    /// A word with a letter changed.
    Fuzzy,
    /// A single word, exactly.
    Term,
    /// Needed, optional and excluded words together.
    Bool,
    /// The best of two matches.
    DisMax,
    /// A word with some of its letters behind a sign.
    Wildcard,
    /// One or two words, cut off or with a letter changed, exact ones first.
    ExactFirst,
    /// Two to four words in order, the last one cut off.
    PhrasePrefix,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Match,
        Self::MatchAll,
        Self::MatchMost,
        Self::MatchFuzzy,
        Self::BestFields,
        Self::MostFields,
        Self::Phrase,
        Self::SloppyPhrase,
        Self::Prefix,
        Self::MatchPrefix,
        Self::StartsWithWords,
        Self::Fuzzy,
        Self::Term,
        Self::Bool,
        Self::DisMax,
        Self::Wildcard,
        Self::ExactFirst,
        Self::PhrasePrefix,
    ];
}

/// Draws requests of a kind from the texts of a corpus: the same ones for the same seed. Each asks for the top 100.
///
/// # Errors
/// `InvalidInput` if there is no field, or no document has words in the first one.
pub fn draw(kind: Kind, fields: &[&str], corpus: &[Record], count: usize, seed: u64) -> Result<Vec<SearchRequest>> {
    let field = *fields.first().ok_or_else(|| Error::invalid_input("queries are drawn from at least one field"))?;
    let texts: Vec<&str> = corpus.iter().flat_map(|r| r.values(field)).filter_map(Value::as_text).collect();
    if !texts.iter().any(|text| text.split_whitespace().next().is_some()) {
        return Err(Error::invalid_input("the corpus has no text in the first field").with_key(field));
    }
    let mut draw = Draw { numbers: Numbers::new(seed ^ kind as u64), texts: &texts };
    let request = |draw: &mut Draw<'_>| SearchRequest::new(query(kind, field, fields, draw)).with_size(100);
    Ok((0..count).map(|_| request(&mut draw)).collect())
}

fn query(kind: Kind, field: &str, fields: &[&str], draw: &mut Draw<'_>) -> Query {
    let name: Arc<str> = field.into();
    match kind {
        Kind::Match => Query::matches(name, draw.words(1, 4)).into(),
        Kind::MatchAll => Query::matches(name, draw.words(2, 4)).operator(Operator::And).into(),
        Kind::MatchMost => Query::matches(name, draw.words(2, 4)).minimum_match(MinimumMatch::Percent(67)).into(),
        Kind::MatchFuzzy => {
            let words = draw.words(1, 3);
            Query::matches(name, draw.misspelt(&words)).fuzzy().into()
        }
        Kind::BestFields => Query::multi_match(boosted(fields), draw.words(1, 4)).tie_breaker(0.3).into(),
        Kind::MostFields => Query::multi_match(boosted(fields), draw.words(1, 4)).most_fields().into(),
        Kind::Phrase => Query::phrase(name, draw.words(2, 4)).into(),
        Kind::SloppyPhrase => {
            let words = draw.words(2, 4);
            Query::phrase(name, draw.shuffled(&words)).slop(2).into()
        }
        Kind::Prefix => {
            let word = draw.words(1, 1);
            Query::prefix(name, draw.beginning(&word)).into()
        }
        Kind::MatchPrefix => {
            let words = draw.words(2, 4);
            Query::matches_prefix(name, draw.beginning(&words)).into()
        }
        Kind::StartsWithWords => {
            let words = draw.words(1, 3);
            let cut: Vec<_> = words.split(' ').map(|word| draw.beginning(word)).collect();
            Query::starts_with_words(name, cut.join(" ")).into()
        }
        Kind::Fuzzy => {
            let word = draw.words(1, 1);
            Query::fuzzy(name, draw.misspelt(&word)).into()
        }
        Kind::Term => Query::term(name, draw.words(1, 1)).into(),
        Kind::Bool => Query::bool()
            .must(Query::matches(Arc::clone(&name), draw.words(1, 2)))
            .should(Query::matches(Arc::clone(&name), draw.words(1, 2)).boost(2.0))
            .should(Query::prefix(Arc::clone(&name), draw.words(1, 1)))
            .must_not(Query::matches(name, draw.words(1, 1)))
            .into(),
        Kind::ExactFirst => {
            let words = draw.words(1, 2);
            let misspelt = draw.misspelt(&words);
            Query::exact_first(name, draw.beginning(&misspelt)).into()
        }
        Kind::PhrasePrefix => {
            let words = draw.words(2, 4);
            Query::phrase_prefix(name, draw.beginning(&words)).into()
        }
        Kind::Wildcard => {
            let word = draw.words(1, 1);
            Query::wildcard(name, draw.pattern(&word)).into()
        }
        Kind::DisMax => {
            let queries = [1.0, 1.7].map(|boost| Query::matches(Arc::clone(&name), draw.words(1, 3)).boost(boost));
            Query::dis_max(queries).tie_breaker(0.2).into()
        }
    }
}

fn boosted(fields: &[&str]) -> Vec<FieldBoost> {
    let mut boost = 1.5_f32;
    let next = |field: &&str| {
        boost += 0.5;
        FieldBoost::new(*field, boost)
    };
    fields.iter().map(next).collect()
}

/// Numbers from a seed (SplitMix64).
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let end = end.max(1) as u64;
        usize::try_from((mixed ^ (mixed >> 31)) % end).unwrap_or_default()
    }
}

/// What is drawn by numbers.
struct Draw<'a> {
    numbers: Numbers,
    texts: &'a [&'a str],
}

impl Draw<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.numbers.below(end)
    }

    /// So many words that stand together in some text; fewer if it is shorter.
    fn words(&mut self, least: usize, most: usize) -> String {
        loop {
            let text = self.texts[self.below(self.texts.len())];
            let words: Vec<&str> = text.split_whitespace().collect();
            let count = (least + self.below(most - least + 1)).min(words.len());
            if count > 0 {
                let start = self.below(words.len() - count + 1);
                return words[start..start + count].join(" ");
            }
        }
    }

    fn beginning(&mut self, text: &str) -> String {
        let length = text.chars().count();
        let last = text.rsplit(' ').next().map_or(0, |word| word.chars().count());
        let kept = 1 + self.below(last);
        text.chars().take(length - last + kept).collect()
    }

    /// Each word with one letter replaced, removed, doubled or swapped with the next.
    fn misspelt(&mut self, text: &str) -> String {
        let words = text.split(' ').map(|word| {
            let mut letters: Vec<char> = word.chars().collect();
            let at = self.below(letters.len());
            match self.below(4) {
                0 => letters[at] = 'e',
                1 if letters.len() > 1 => drop(letters.remove(at)),
                2 if at + 1 < letters.len() => letters.swap(at, at + 1),
                _ => letters.insert(at, letters[at]),
            }
            letters.into_iter().collect::<String>()
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn pattern(&mut self, text: &str) -> String {
        let letters = text.chars().map(|c| match self.below(4) {
            0 => "?".to_owned(),
            1 => "*".to_owned(),
            _ => format!("\\{c}"),
        });
        letters.collect()
    }

    fn shuffled(&mut self, text: &str) -> String {
        let mut words: Vec<&str> = text.split(' ').collect();
        if words.len() > 1 && self.below(2) == 0 {
            let at = self.below(words.len() - 1);
            words.swap(at, at + 1);
        }
        words.join(" ")
    }
}
