//! What a word must be to be marked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::{Bound, Range};
use std::sync::Arc;

use statehouse_core::Result;

use super::phrase::{Phrase, Places};
use crate::analysis::Token;
use crate::distance::edit_distance;
use crate::wildcard::Pattern;
use crate::work::Stop;
use crate::{Field, Fuzziness, PhrasePrefixQuery, PrefixWords, Query, Schema, Value};

/// After how many tokens to ask whether the work is in vain.
pub(super) const CHUNK: usize = 4_096;

/// How many words of which it was found out whether they are marked are remembered.
const REMEMBERED: usize = 100_000;

/// The patterns of a query that are about one field.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    terms: HashSet<String>,
    /// No one of them begins with another.
    prefixes: BTreeSet<String>,
    wildcards: Vec<Pattern>,
    similar: Vec<Similar>,
    phrases: Vec<Phrase>,
    /// Words that were compared with `wildcards` and `similar`, and whether one of those fits them.
    known: HashMap<String, bool>,
}

#[derive(Debug)]
struct Similar {
    term: Vec<char>,
    edits: usize,
    /// Letters at the beginning that must be equal.
    prefix: usize,
}

impl Patterns {
    pub(super) fn of(schema: &Schema, field: &Field, query: &Query) -> Result<Self> {
        let mut collected = Collected { schema, field, patterns: Self::default() };
        collected.add(query)?;
        let mut patterns = collected.patterns;
        // What begins with a longer beginning begins with the shorter one too. In order, a beginning stands directly before
        // all that begin with it.
        let mut least: Option<String> = None;
        patterns.prefixes.retain(|prefix| {
            let covered = least.as_ref().is_some_and(|least| prefix.starts_with(least.as_str()));
            if !covered {
                least = Some(prefix.clone());
            }
            !covered
        });
        Ok(patterns)
    }

    pub(super) fn is_empty(&self) -> bool {
        let compared = self.similar.is_empty() && self.wildcards.is_empty();
        compared && self.terms.is_empty() && self.prefixes.is_empty() && self.phrases.is_empty()
    }

    /// The words to mark: ranges of bytes, in order and apart.
    pub(super) fn marks(&mut self, tokens: &[Token], stop: &Stop) -> Result<Vec<Range<usize>>> {
        let mut found = Vec::new();
        for chunk in tokens.chunks(CHUNK) {
            stop.check()?;
            for token in chunk {
                if self.fits(&token.text, stop)? {
                    found.push((token.start, token.end));
                }
            }
        }
        if !self.phrases.is_empty() {
            let places = Places::of(tokens, &self.phrases);
            for phrase in &self.phrases {
                stop.check()?;
                places.mark(tokens, phrase, &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found.into_iter().map(|(start, end)| start..end).collect())
    }

    fn fits(&mut self, word: &str, stop: &Stop) -> Result<bool> {
        // The only beginning that a word can have is the last one that is not behind it.
        let before = self.prefixes.range::<str, _>((Bound::Unbounded, Bound::Included(word))).next_back();
        if self.terms.contains(word) || before.is_some_and(|prefix| word.starts_with(prefix.as_str())) {
            return Ok(true);
        }
        if self.similar.is_empty() && self.wildcards.is_empty() {
            return Ok(false);
        }
        if let Some(known) = self.known.get(word) {
            return Ok(*known);
        }
        stop.check()?;
        let letters: Vec<char> = word.chars().collect();
        let fits = self.wildcards.iter().any(|pattern| pattern.fits(word));
        let fits = fits || self.similar.iter().any(|similar| similar.fits(&letters));
        if self.known.len() < REMEMBERED {
            self.known.insert(word.to_owned(), fits);
        }
        Ok(fits)
    }
}

impl Similar {
    fn fits(&self, word: &[char]) -> bool {
        let prefix = self.prefix.min(self.term.len());
        word.get(..prefix) == Some(&self.term[..prefix]) && edit_distance(&self.term, word, self.edits).is_some()
    }
}

/// Collects what of a query is about a field. What is excluded marks nothing.
struct Collected<'a> {
    schema: &'a Schema,
    field: &'a Field,
    patterns: Patterns,
}

impl Collected<'_> {
    fn add(&mut self, query: &Query) -> Result<()> {
        let mine = |name: &Arc<str>| **name == *self.field.name();
        match query {
            Query::Match(q) if mine(&q.field) => self.terms(&q.text, q.fuzziness, q.prefix_length)?,
            Query::MultiMatch(q) if q.fields.iter().any(|boosted| mine(&boosted.field)) => {
                self.terms(&q.text, q.fuzziness, q.prefix_length)?;
            }
            Query::MatchPrefix(q) if mine(&q.field) => {
                let tokens = self.schema.search_tokens(self.field, &q.text)?;
                let last = tokens.len().saturating_sub(1);
                for (at, token) in tokens.into_iter().enumerate() {
                    if q.words == PrefixWords::All || (at == last && token.end == q.text.len()) {
                        self.patterns.prefixes.insert(token.text);
                    } else {
                        self.patterns.terms.insert(token.text);
                    }
                }
            }
            Query::Phrase(q) if mine(&q.field) => {
                let tokens = self.schema.search_tokens(self.field, &q.text)?;
                if q.slop == 0 && tokens.len() > 1 {
                    self.patterns.phrases.push(Phrase::of(tokens));
                } else {
                    self.patterns.terms.extend(tokens.into_iter().map(|token| token.text));
                }
            }
            Query::PhrasePrefix(q) if mine(&q.field) => self.phrase_prefix(q)?,
            Query::Prefix(q) if mine(&q.field) => {
                self.patterns.prefixes.insert(self.schema.normalized(self.field, &q.text));
            }
            Query::ExactFirst(q) if mine(&q.field) => self.add(&q.expanded(self.schema)?)?,
            Query::Wildcard(q) if mine(&q.field) => {
                self.patterns.wildcards.push(Pattern::of(self.schema, self.field, &q.pattern)?);
            }
            Query::Fuzzy(q) if mine(&q.field) => {
                self.similar(self.schema.normalized(self.field, &q.text), q.fuzziness, q.prefix_length);
            }
            Query::Term(q) if mine(&q.field) => self.value(&q.value),
            Query::Terms(q) if mine(&q.field) => q.values.iter().for_each(|value| self.value(value)),
            Query::Bool(q) => {
                q.must.iter().chain(&q.should).chain(&q.filter).try_for_each(|query| self.add(query))?;
            }
            Query::DisMax(q) => q.queries.iter().try_for_each(|query| self.add(query))?,
            Query::Constant(q) => self.add(&q.query)?,
            Query::FunctionScore(q) => self.add(&q.query)?,
            _ => {}
        }
        Ok(())
    }

    /// Whatever begins so, be it more than the query stands for.
    fn phrase_prefix(&mut self, query: &PhrasePrefixQuery) -> Result<()> {
        let mut tokens = self.schema.search_tokens(self.field, &query.text)?;
        if query.slop == 0 && tokens.len() > 1 {
            self.patterns.phrases.push(Phrase::begun(tokens));
            return Ok(());
        }
        self.patterns.prefixes.extend(tokens.pop().map(|token| token.text));
        self.patterns.terms.extend(tokens.into_iter().map(|token| token.text));
        Ok(())
    }

    fn terms(&mut self, text: &str, fuzziness: Option<Fuzziness>, prefix_length: u32) -> Result<()> {
        for token in self.schema.search_tokens(self.field, text)? {
            match fuzziness {
                Some(fuzziness) => self.similar(token.text, fuzziness, prefix_length),
                None => drop(self.patterns.terms.insert(token.text)),
            }
        }
        Ok(())
    }

    fn similar(&mut self, text: String, fuzziness: Fuzziness, prefix_length: u32) {
        let term: Vec<char> = text.chars().collect();
        let edits = usize::from(fuzziness.edits(term.len()));
        if edits > 0 {
            self.patterns.similar.push(Similar { term, edits, prefix: prefix_length as usize });
        }
        self.patterns.terms.insert(text);
    }

    fn value(&mut self, value: &Value) {
        let term = value.as_text().map(|text| self.schema.normalized(self.field, text));
        self.patterns.terms.extend(term);
    }
}
