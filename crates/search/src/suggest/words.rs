//! The words of a text that are corrected, and what is chosen for each.

use std::collections::HashMap;
use std::ops::Range;

use statehouse_core::Result;

use crate::analysis::TokenStream;
use crate::limits::{MAX_FUZZY_TERM, MAX_FUZZY_TEXT};
use crate::{Correction, Schema, Suggest, SuggestMode, Suggestion, Suggestions};

/// The different words of a text that are corrected, in the order in which they come first.
#[derive(Debug)]
pub(crate) struct Words {
    terms: Vec<String>,
    /// Where each stands, by its place among the terms.
    places: Vec<(usize, Range<usize>)>,
}

impl Words {
    /// Those of a text that was checked.
    pub(crate) fn of(schema: &Schema, asked: &Suggest) -> Result<Self> {
        let mut tokens = TokenStream::new(schema.search_analyzer(schema.require(&asked.field)?)?, &asked.text);
        let (mut known, mut places, mut letters) = (HashMap::new(), Vec::new(), 0);
        while tokens.advance() {
            let token = tokens.token();
            let (count, length) = (known.len(), token.text.chars().count());
            if !(Suggest::LEAST_LETTERS..=MAX_FUZZY_TERM).contains(&length) {
                continue;
            }
            if let Some(at) = known.get(&token.text) {
                places.push((*at, token.start..token.end));
            } else if count < Suggest::MAX_WORDS && letters + length <= MAX_FUZZY_TEXT {
                letters += length;
                known.insert(token.text.clone(), count);
                places.push((count, token.start..token.end));
            }
        }
        let mut terms = vec![String::new(); known.len()];
        known.into_iter().for_each(|(term, at)| terms[at] = term);
        Ok(Self { terms, places })
    }

    pub(crate) fn terms(&self) -> &[String] {
        &self.terms
    }

    /// The answer: what was found for each of the terms, wherever it stands.
    pub(crate) fn corrected(&self, asked: &Suggest, found: &[Vec<Suggestion>]) -> Suggestions {
        let corrections = self.places.iter().filter_map(|(at, range)| {
            let suggestions = found.get(*at).filter(|found| !found.is_empty())?;
            Some(Correction { range: range.clone(), suggestions: suggestions.clone() })
        });
        Suggestions::new(asked.text.clone(), corrections.collect())
    }
}

/// A term that may have been meant, and how similar it is.
pub(crate) type Candidate = (f32, Suggestion);

impl Suggest {
    /// Whether a word that so many documents have is corrected.
    pub(crate) fn corrects(&self, documents: u64) -> bool {
        self.mode == SuggestMode::Popular || documents == 0
    }

    /// Whether a term is near enough.
    pub(crate) fn is_near(&self, term: &str, (similarity, other): &Candidate) -> bool {
        *similarity >= Self::LEAST_SIMILARITY && other.text != term
    }

    /// The best of the terms that were found for one that so many documents have.
    pub(crate) fn best(
        &self,
        term: &str,
        documents: u64,
        found: impl IntoIterator<Item = Candidate>,
    ) -> Vec<Candidate> {
        if !self.corrects(documents) {
            return Vec::new();
        }
        let fits = |candidate: &Candidate| self.is_near(term, candidate) && candidate.1.documents > documents;
        let mut found: Vec<_> = found.into_iter().filter(fits).collect();
        in_order(&mut found);
        found.truncate(self.size);
        found
    }
}

/// The most similar first, then those of most documents, then by their bytes.
pub(crate) fn in_order(found: &mut [Candidate]) {
    found.sort_by(|(a, one), (b, other)| {
        b.total_cmp(a).then(other.documents.cmp(&one.documents)).then_with(|| one.text.cmp(&other.text))
    });
}
