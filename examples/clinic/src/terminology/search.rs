//! How a diagnosis is found while it is being typed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use statehouse::cache::TypedCache;
use statehouse::search::{self, BoolQuery, Facet, Fragment, Highlight, Index, Sort};
use statehouse::{ErrorKind, Startup};

use super::query::{Missing, Words};
use super::{Concept, Edition, chapters, everyday};
use crate::error::{AppError, Result, SOON};
use crate::metrics::Reads;

/// How many hits are shown.
const HITS: u64 = 20;
/// How long somebody who types waits for an answer: then they are told, and ask again.
const WITHIN: Duration = Duration::from_secs(4);

/// The concepts of one edition, and how far they are loaded.
#[derive(Debug)]
pub(crate) struct Concepts {
    index: Index<Concept>,
    /// How many hits a query has in each chapter: many people type the same beginnings.
    counts: TypedCache<ChapterCounts>,
    reads: Reads,
    edition: Edition,
    /// Before it is finished this replica is not ready, and says how far it is.
    loading: Startup,
}

const READY: u64 = u64::MAX;

/// How far the terminology is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(u64, Edition);

impl State {
    pub(crate) const fn is_ready(self) -> bool {
        self.0 == READY
    }
}

impl State {
    /// What somebody is told who searches before all are there. The picker goes on by itself.
    fn refusal(self) -> AppError {
        let percent = self.0 * 100 / self.1.len();
        let words = format!("The diagnoses are still being loaded: {percent} % so far. Try again in a moment.");
        AppError { code: Some("loading"), ..AppError::unavailable(words, SOON) }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            READY => write!(f, "{} concepts", self.1.len()),
            0 => f.write_str("waiting to be loaded"),
            loaded => write!(f, "{} % loaded", loaded * 100 / self.1.len()),
        }
    }
}

/// The answer to what was typed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    /// How many concepts match in all.
    total: u64,
    /// Where they are: chapters that have some, whichever chapter was asked for.
    chapters: Vec<InChapter>,
    hits: Vec<FoundConcept>,
    /// Whether nothing has all of the words, so that these have most of them.
    partial: bool,
}

#[derive(Debug, Serialize)]
struct InChapter {
    chapter: String,
    title: &'static str,
    count: u64,
}

#[derive(Debug, Serialize)]
struct FoundConcept {
    code: String,
    /// Whether a diagnosis can be coded with it; else it is a category, which codes below it divide.
    billable: bool,
    title: Vec<Segment>,
    /// The inclusion term and the everyday name in which something matched.
    terms: Vec<Vec<Segment>>,
}

/// Hits by the number of the chapter, the most first.
pub(crate) type ChapterCounts = Vec<(String, u64)>;

/// A piece of text, and whether it matched.
type Segment = (String, bool);

impl Concepts {
    pub(crate) fn new(
        index: Index<Concept>,
        counts: TypedCache<ChapterCounts>,
        edition: Edition,
        loading: Startup,
    ) -> Self {
        Self { index, counts, reads: Reads::of("chapter-counts"), edition, loading }
    }

    /// How the cache of counts by chapter was read.
    pub(crate) const fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(crate) const fn index(&self) -> &Index<Concept> {
        &self.index
    }

    pub(crate) const fn edition(&self) -> Edition {
        self.edition
    }

    pub(crate) fn state(&self) -> State {
        let loaded = if self.loading.is_finished() { READY } else { self.loading.done().0 };
        State(loaded, self.edition)
    }

    /// Told how far it is, and when it is finished.
    pub(super) const fn loading(&self) -> &Startup {
        &self.loading
    }

    /// The concept with exactly this code.
    pub(crate) async fn find(&self, code: &str) -> Result<Option<Concept>> {
        self.require_ready()?;
        match self.index.get(code).await {
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(None),
            found => Ok(found?),
        }
    }

    /// The concepts that what was typed can mean: those that can be coded first, and the best of each first.
    pub(crate) async fn search(&self, typed: &str, chapter: Option<&str>) -> Result<Found> {
        self.require_ready()?;
        let Some(words) = Words::of(typed) else { return Ok(Found::default()) };
        let late = || AppError::unavailable("The search takes too long at the moment. Try again.", SOON);
        let mut found = Found::default();
        for missing in words.steps() {
            let search = self.search_for(&words, *missing, chapter);
            found = tokio::time::timeout(WITHIN, search).await.map_err(|_| late())??;
            found.partial = *missing != Missing::None;
            // Within a chapter there may be none of those that all chapters have.
            if found.total > 0 || !found.chapters.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    async fn search_for(&self, words: &Words, missing: Missing, chapter: Option<&str>) -> statehouse::Result<Found> {
        let query = words.query(missing);
        let one = |field| Highlight::from(field).with_max_fragments(1);
        let mut search = self.index.query(query.clone()).top(HITS);
        search = search.sort(Concept::billable().descending()).sort(Sort::by_score()).deadline(WITHIN);
        search = search.highlight(one(Concept::title())).highlight(one(Concept::terms()));
        if let Some(chapter) = chapter {
            search = search.filter(Concept::chapter().is(chapter));
        }
        let counts = self.by_chapter(words, missing, &query);
        let (page, chapters) = tokio::try_join!(search.into_future(), counts)?;
        let hits = page.hits.iter().map(|hit| FoundConcept::of(hit, words)).collect();
        let chapters = chapters.iter().filter_map(InChapter::of).collect();
        Ok(Found { total: page.total, chapters, hits, partial: false })
    }

    /// From the cache, or counted if that cannot be.
    async fn by_chapter(
        &self,
        words: &Words,
        missing: Missing,
        query: &BoolQuery,
    ) -> statehouse::Result<Arc<ChapterCounts>> {
        self.reads.read();
        let key = counts_key(self.edition, words, missing);
        match self.counts.get_or_load(key, || self.count_by_chapter(query)).await {
            Ok(counts) => Ok(counts),
            Err(_) => Ok(Arc::new(self.count_by_chapter(query).await?)),
        }
    }

    async fn count_by_chapter(&self, query: &BoolQuery) -> statehouse::Result<ChapterCounts> {
        self.reads.load();
        let all = Facet::from(Concept::chapter()).with_size(chapters().count());
        let page = self.index.query(query.clone()).top(0).facet(all).deadline(WITHIN).await?;
        Ok(page
            .facet(Concept::chapter())
            .iter()
            .map(|found| (found.value.as_text().unwrap_or_default().to_owned(), found.count))
            .collect())
    }

    fn require_ready(&self) -> Result<()> {
        let state = self.state();
        if state.is_ready() {
            return Ok(());
        }
        Err(state.refusal())
    }
}

impl InChapter {
    fn of((chapter, count): &(String, u64)) -> Option<Self> {
        let (chapter, title) = chapters().find(|(number, _)| number == chapter)?;
        Some(Self { chapter, title, count: *count })
    }
}

impl FoundConcept {
    fn of(found: &search::Found<Concept>, words: &Words) -> Self {
        let title = found.highlight(Concept::title()).first().map(segments);
        let terms = found.highlight(Concept::terms()).iter().map(segments);
        let everyday = everyday::found(&found.document.code, words).map(|(name, marks)| cut(name, &marks));
        Self {
            code: found.document.code.clone(),
            billable: found.document.billable,
            title: title.unwrap_or_else(|| vec![(found.document.title.clone(), false)]),
            terms: terms.chain(everyday).collect(),
        }
    }
}

/// The text of a fragment, cut where a match begins and ends.
fn segments(fragment: &Fragment) -> Vec<Segment> {
    cut(&fragment.text, &fragment.marks)
}

fn cut(whole: &str, marks: &[Range<usize>]) -> Vec<Segment> {
    let (mut segments, mut at) = (Vec::new(), 0);
    let mut push = |text: &str, hit| {
        if !text.is_empty() {
            segments.push((text.to_owned(), hit));
        }
    };
    for mark in marks {
        push(&whole[at..mark.start], false);
        push(&whole[mark.clone()], true);
        at = mark.end;
    }
    push(&whole[at..], false);
    segments
}

/// Under which the counts are cached. What somebody typed may be about a patient, and whoever operates Redis reads the names
/// of its keys: it is a hash.
fn counts_key(edition: Edition, words: &Words, missing: Missing) -> String {
    let digest = Sha256::digest(format!("{missing:?}/{words}"));
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}/{digest}", edition.index_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_searches_while_the_terminology_is_loaded_is_told_how_far_it_is() {
        let edition = Edition::named("2025-04").unwrap();
        for (loaded, percent) in [(0, "0 %"), (edition.len() / 2 + 1, "50 %"), (edition.len() - 1, "99 %")] {
            let refusal = State(loaded, edition).refusal();
            assert!(refusal.message.contains(percent), "{}", refusal.message);
            assert_eq!((refusal.code, refusal.retry_after), (Some("loading"), Some(SOON)));
        }
        assert!(State(READY, edition).is_ready());
    }

    #[test]
    fn what_was_typed_is_in_no_key_of_the_cache_and_decides_it() {
        let edition = Edition::named("2025-04").unwrap();
        let mut keys = std::collections::BTreeSet::new();
        for typed in ["heart attack", "heart attack ", "heart", "attack", "hérpes", "e11"] {
            let words = Words::of(typed).unwrap();
            for missing in [Missing::None, Missing::AllButOne] {
                let key = counts_key(edition, &words, missing);
                assert_eq!(key, counts_key(edition, &Words::of(typed).unwrap(), missing));
                let digest = key.strip_prefix(&format!("{}/", edition.index_name())).unwrap();
                assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
                assert!(typed.split(' ').all(|word| word.len() < 4 || !key.contains(word)), "{typed}: {key}");
                assert!(keys.insert(key), "{typed}: another text has this key");
            }
        }
    }

    #[test]
    fn a_fragment_is_cut_where_a_match_begins_and_ends() {
        let text = "Acute hämatom";
        assert_eq!(cut(text, std::slice::from_ref(&(0..5))), [("Acute".into(), true), (" hämatom".into(), false)]);
        assert_eq!(cut(text, &[6..9, 9..14]), [("Acute ".into(), false), ("hä".into(), true), ("matom".into(), true)]);
        assert_eq!(cut(text, &[]), [("Acute hämatom".into(), false)]);
    }
}
