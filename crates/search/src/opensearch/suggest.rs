//! What may have been meant: near terms by the server's term suggester, and how many living documents have them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use super::OpenSearchIndex;
use super::client::{Call, SHORT_ANSWER};
use super::error;
use super::generations::Home;
use super::search::Sharded;
use crate::suggest::words::{Candidate, Words, in_order};
use crate::work::away;
use crate::{SearchOptions, Suggest, Suggestion, Suggestions};

/// How many terms each shard ranks for a word, and the server over all shards: the nearest, then those that most documents
/// have or had.
const RANKED: usize = 1_000;

/// Of how many of those the living documents are counted. To say how many that is the suggester cannot: it counts deleted ones,
/// and only on the shards that ranked the term.
const COUNTED: usize = 100;

impl OpenSearchIndex {
    pub(super) async fn suggest_of(&self, asked: &Suggest, options: &SearchOptions) -> Result<Suggestions> {
        self.check_open()?;
        self.schema.check_suggest(asked)?;
        let words = Arc::new(Words::of(&self.schema, asked)?);
        let mut reading = self.reading(options.deadline)?;
        if words.terms().is_empty() {
            return Ok(words.corrected(asked, &[]));
        }
        let asked = Arc::new(asked.clone());
        loop {
            let home = reading.home().await?;
            let done = self.suggest_in(&home, (&asked, &words), reading.left()).await;
            if let Some(found) = reading.settle(&home, done).await? {
                return Ok(found);
            }
        }
    }

    async fn suggest_in(
        &self,
        home: &Arc<Home>,
        (asked, words): (&Arc<Suggest>, &Arc<Words>),
        left: Duration,
    ) -> Result<Suggestions> {
        let start = Instant::now();
        let left = || left.saturating_sub(start.elapsed());
        let call = Call::ask(&home.search_path, &body(asked, words.terms())).within(Some(left()));
        let answer = self.client.send(&call).await?;
        let sought = if answer.len() <= SHORT_ANSWER {
            ranked(asked, words.terms(), home.several, &answer)?
        } else {
            let (asked, words, several) = (Arc::clone(asked), Arc::clone(words), home.several);
            away(Some(left()), move |_| ranked(&asked, words.terms(), several, &answer)).await?
        };
        let sought = Arc::new(sought);
        if sought.iter().all(|sought| sought.candidates.is_empty()) {
            return chosen(asked, words, &sought, &[]);
        }
        let (field, of) = (Arc::clone(&asked.field), Arc::clone(&sought));
        let path = home.search_path.clone();
        let call = away(Some(left()), move |_| Ok(Call::ask(&path, &count_body(&field, &of)))).await?;
        let answer = self.client.send(&call.within(Some(left()))).await?;
        let (asked, words) = (Arc::clone(asked), Arc::clone(words));
        away(Some(left()), move |_| chosen(&asked, &words, &sought, &counted(&answer)?)).await
    }
}

fn count(field: &str, term: &str) -> Json {
    json!({ "term": { field: { "value": term } } })
}

/// Each word by itself, so that the server's own analysis of a text has no part in it.
fn body(asked: &Suggest, terms: &[String]) -> Json {
    let suggester = |text: &str| {
        let term = json!({
            "field": &*asked.field, "analyzer": "keyword", "suggest_mode": "always",
            "size": RANKED, "shard_size": RANKED, "max_inspections": 40,
            "max_edits": asked.max_edits, "prefix_length": Suggest::PREFIX, "min_word_length": Suggest::LEAST_LETTERS,
            "max_term_freq": i32::MAX, "min_doc_freq": 0,
        });
        json!({ "text": text, "term": term })
    };
    let suggesters = terms.iter().enumerate().map(|(at, term)| (at.to_string(), suggester(term)));
    let filters: Vec<_> = terms.iter().map(|term| count(&asked.field, term)).collect();
    let mut body = counts(&filters);
    body["suggest"] = json!(suggesters.collect::<HashMap<_, _>>());
    body
}

fn count_body(field: &str, sought: &[Sought]) -> Json {
    let candidates = sought.iter().flat_map(|sought| &sought.candidates);
    let filters: Vec<_> = candidates.map(|(_, candidate)| count(field, &candidate.text)).collect();
    counts(&filters)
}

/// How many documents match each of these.
fn counts(filters: &[Json]) -> Json {
    json!({ "size": 0, "track_total_hits": false, "aggs": { "w": { "filters": { "filters": filters } } } })
}

#[derive(Deserialize)]
struct Answer {
    timed_out: bool,
    #[serde(flatten)]
    sharded: Sharded,
    #[serde(default)]
    suggest: HashMap<String, Vec<Entry>>,
    aggregations: Counted,
}

#[derive(Deserialize)]
struct Entry {
    text: String,
    options: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    text: String,
    score: f32,
    freq: u64,
}

#[derive(Deserialize)]
struct Counted {
    w: Buckets,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    doc_count: u64,
}

/// What may have been meant by one word.
#[derive(Debug, Default, PartialEq)]
struct Sought {
    /// How many documents have it.
    own: u64,
    /// The best, with how many documents have or had each.
    candidates: Vec<Candidate>,
    /// How similar another one is at most, and how many documents one of those has at most.
    rest: Option<(f32, u64)>,
}

impl Sought {
    fn new(asked: &Suggest, (term, own): (&str, u64), found: Vec<Candidate>, several: bool) -> Self {
        if !asked.corrects(own) {
            return Self { own, ..Self::default() };
        }
        let mut candidates = found;
        in_order(&mut candidates);
        let last = candidates.get(RANKED - 1).map(|(similarity, last)| (*similarity, last.documents));
        // No shard leaves out one that is more similar than the last; of those that are as similar, each sends some.
        let most = |similarity: f32, documents: u64| match last {
            Some((last, _)) if several && similarity <= last => (similarity, u64::MAX),
            _ => (similarity, documents),
        };
        candidates.retain(|near| asked.is_near(term, near) && most(near.0, near.1.documents).1 > own);
        let last = last.filter(|(similarity, _)| *similarity >= Suggest::LEAST_SIMILARITY);
        let next = candidates.get(COUNTED).map(|(similarity, next)| most(*similarity, next.documents));
        candidates.truncate(COUNTED);
        Self { own, candidates, rest: next.or_else(|| last.map(|(last, documents)| most(last, documents))) }
    }

    /// Whether it is certain that none of the rest is among the best.
    fn is_settled(&self, best: &[Candidate], size: usize) -> bool {
        let Some((similarity, documents)) = self.rest else { return true };
        best.get(size - 1).is_some_and(|(last, term)| (*last, term.documents) > (similarity, documents))
    }
}

fn read(answer: &[u8]) -> Result<Answer> {
    let answer: Answer = serde_json::from_slice(answer).map_err(error::of_broken_body)?;
    answer.sharded.check_all()?;
    if answer.timed_out { Err(error::of_stopped()) } else { Ok(answer) }
}

fn other() -> Error {
    error::of_other_question("OpenSearch answered with suggestions for other words")
}

fn ranked(asked: &Suggest, terms: &[String], several: bool, answer: &[u8]) -> Result<Vec<Sought>> {
    let Answer { mut suggest, aggregations, .. } = read(answer)?;
    let counts = aggregations.w.buckets;
    if counts.len() != terms.len() || suggest.len() != terms.len() {
        return Err(other());
    }
    let sought = terms.iter().enumerate().zip(counts).map(|((at, term), Bucket { doc_count })| {
        let entries = suggest.remove(&at.to_string()).ok_or_else(other)?;
        let [Entry { text, options }] = <[Entry; 1]>::try_from(entries).map_err(|_| other())?;
        let mut seen = HashSet::from([term.as_str()]);
        if text != *term || options.len() > RANKED || !options.iter().all(|option| seen.insert(&option.text)) {
            return Err(other());
        }
        let found = options.into_iter().map(|Found { text, score, freq }| (score, Suggestion::new(text, freq)));
        Ok(Sought::new(asked, (term, doc_count), found.collect(), several))
    });
    sought.collect()
}

/// How many documents have each of the candidates.
fn counted(answer: &[u8]) -> Result<Vec<u64>> {
    Ok(read(answer)?.aggregations.w.buckets.into_iter().map(|bucket| bucket.doc_count).collect())
}

fn chosen(asked: &Suggest, words: &Words, sought: &[Sought], counts: &[u64]) -> Result<Suggestions> {
    if counts.len() != sought.iter().map(|sought| sought.candidates.len()).sum::<usize>() {
        return Err(other());
    }
    let mut counts = counts.iter();
    let found = words.terms().iter().zip(sought).map(|(term, sought)| {
        let living = sought.candidates.iter().zip(&mut counts);
        let living = living.map(|((near, found), count)| (*near, Suggestion::new(found.text.clone(), *count)));
        let best = asked.best(term, sought.own, living);
        if !sought.is_settled(&best, asked.size) {
            return Err(too_many(asked));
        }
        Ok(best.into_iter().map(|(_, suggestion)| suggestion).collect())
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(words.corrected(asked, &found))
}

fn too_many(asked: &Suggest) -> Error {
    let message = "so many terms are near a word that OpenSearch does not say which come first; ask for fewer suggestions or edits";
    Error::new(ErrorKind::Unsupported, message).with_backend(error::BACKEND).with_key(&asked.field)
}

#[cfg(test)]
mod tests;
