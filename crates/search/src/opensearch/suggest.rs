//! What may have been meant, by the server's term suggester.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use statehouse_core::Result;
use tokio::time::Instant;

use super::OpenSearchIndex;
use super::client::{Call, SHORT_ANSWER};
use super::error;
use super::generations::Home;
use super::search::Sharded;
use crate::analysis::Token;
use crate::work::away;
use crate::{SearchOptions, Suggest, Suggestion, Suggestions};

/// How many terms the server ranks for each word. It knows only on each shard whether a word is there, so
/// all are asked for and chosen from on this side, by how many documents have the word over all shards.
const RANKED: usize = 200;

impl OpenSearchIndex {
    pub(super) async fn suggest_of(&self, asked: &Suggest, options: &SearchOptions) -> Result<Suggestions> {
        self.check_open()?;
        self.schema.check_suggest(asked)?;
        let words = asked.words(&self.schema)?;
        let mut reading = self.reading(options.deadline)?;
        if words.is_empty() {
            return Ok(Suggestions::new(asked.text.clone(), Vec::new()));
        }
        loop {
            let home = reading.home().await?;
            let done = self.suggest_in(&home, (asked, &words), reading.left()).await;
            if let Some(found) = reading.settle(&home, done).await? {
                return Ok(found);
            }
        }
    }

    async fn suggest_in(
        &self,
        home: &Arc<Home>,
        (asked, words): (&Suggest, &[Token]),
        left: Duration,
    ) -> Result<Suggestions> {
        let start = Instant::now();
        let call = Call::ask(format!("/{}/_search", home.address), &body(asked, words)).within(Some(left));
        let answer = self.client.send(&call).await?;
        if answer.len() <= SHORT_ANSWER {
            return read(asked, words, &answer);
        }
        let (asked, words) = (asked.clone(), words.to_vec());
        away(Some(left.saturating_sub(start.elapsed())), move |_| read(&asked, &words, &answer)).await
    }
}

/// Each word by itself, so that the server's own analysis of a text has no part in it.
fn body(asked: &Suggest, words: &[Token]) -> Json {
    let suggester = |token: &Token| {
        let term = json!({
            "field": &*asked.field, "analyzer": "keyword", "suggest_mode": "always",
            "size": RANKED, "shard_size": RANKED, "max_inspections": RANKED,
            "max_edits": asked.max_edits, "prefix_length": Suggest::PREFIX, "min_word_length": Suggest::LEAST_LETTERS,
            "max_term_freq": i32::MAX, "min_doc_freq": 0,
        });
        json!({ "text": token.text, "term": term })
    };
    let suggesters = words.iter().enumerate().map(|(at, token)| (at.to_string(), suggester(token)));
    let filters = words.iter().map(|token| json!({ "term": { &*asked.field: { "value": token.text } } }));
    json!({
        "size": 0,
        "track_total_hits": true,
        "suggest": suggesters.collect::<HashMap<_, _>>(),
        "aggs": { "w": { "filters": { "filters": filters.collect::<Vec<_>>() } } },
    })
}

#[derive(Deserialize)]
struct Answer {
    timed_out: bool,
    #[serde(flatten)]
    sharded: Sharded,
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

fn read(asked: &Suggest, words: &[Token], answer: &[u8]) -> Result<Suggestions> {
    let mut answer: Answer = serde_json::from_slice(answer).map_err(error::of_broken_body)?;
    answer.sharded.check_all()?;
    if answer.timed_out {
        return Err(error::of_stopped());
    }
    let counts = answer.aggregations.w.buckets;
    let other = || error::of_other_question("OpenSearch answered with suggestions for other words");
    if counts.len() != words.len() || answer.suggest.len() != words.len() {
        return Err(other());
    }
    let mut corrections = Vec::new();
    for ((at, token), Bucket { doc_count }) in words.iter().enumerate().zip(counts) {
        let entries = answer.suggest.remove(&at.to_string()).ok_or_else(other)?;
        let [Entry { text, options }] = <[Entry; 1]>::try_from(entries).map_err(|_| other())?;
        if text != token.text || options.len() > RANKED {
            return Err(other());
        }
        let found = options.into_iter().map(|Found { text, score, freq }| (score, Suggestion::new(text, freq)));
        corrections.extend(asked.best(token, doc_count, found.collect()));
    }
    Ok(Suggestions::new(asked.text.clone(), corrections))
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::read;
    use crate::{Field, Schema, Suggest};

    fn entry(text: &str) -> String {
        format!(r#"[{{"text":"{text}","options":[{{"text":"fever","score":0.75,"freq":3}}]}}]"#)
    }

    fn answer(suggest: &str, counts: &[u64], failed: u32) -> String {
        let counts: Vec<_> = counts.iter().map(|count| format!(r#"{{"doc_count":{count}}}"#)).collect();
        let counted = format!(r#""aggregations":{{"w":{{"buckets":[{}]}}}}"#, counts.join(","));
        let shards = format!(r#""_shards":{{"total":2,"successful":{},"failed":{failed}}}"#, 2 - failed);
        format!(r#"{{"timed_out":false,{shards},"suggest":{{{suggest}}},{counted}}}"#)
    }

    #[test]
    fn suggestions_are_for_the_words_that_were_asked_for() {
        let schema = Schema::builder().field(Field::text("title")).build().unwrap();
        let asked = Suggest::new("title", "a fevr");
        let words = asked.words(&schema).unwrap();
        let (right, wrong) = (format!(r#""0":{}"#, entry("fevr")), format!(r#""0":{}"#, entry("fevre")));
        let twice = format!(r#"{right},"1":{}"#, entry("fevr"));
        let slow = answer(&right, &[0], 0).replace("\"timed_out\":false", "\"timed_out\":true");
        for (body, kind) in [
            (answer(&right, &[0], 0), None),
            (answer(&wrong, &[0], 0), Some(ErrorKind::Unexpected)),
            (answer(&twice, &[0], 0), Some(ErrorKind::Unexpected)),
            (answer(r#""0":[]"#, &[0], 0), Some(ErrorKind::Unexpected)),
            (answer(&right, &[0, 0], 0), Some(ErrorKind::Unexpected)),
            (answer(&right, &[0], 1), Some(ErrorKind::Unavailable)),
            (slow, Some(ErrorKind::Timeout)),
            ("{}".to_owned(), Some(ErrorKind::Unexpected)),
        ] {
            let found = read(&asked, &words, body.as_bytes());
            assert_eq!(found.as_ref().err().map(|error| error.kind()), kind, "{body}");
            assert!(found.map_or(true, |found| found.corrected().as_deref() == Some("a fever")));
        }
        assert_eq!(read(&asked, &words, answer(&right, &[1], 0).as_bytes()).unwrap().corrected(), None);
    }
}
