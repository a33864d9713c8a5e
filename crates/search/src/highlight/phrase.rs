//! Where a phrase stands in a text.

use std::collections::HashMap;

use crate::analysis::Token;

/// Terms in order, each with its distance from the first in positions.
#[derive(Debug)]
pub(super) struct Phrase(Vec<(u32, String)>);

impl Phrase {
    pub(super) fn of(tokens: Vec<Token>) -> Self {
        let first = tokens.first().map_or(0, |token| token.position);
        Self(tokens.into_iter().map(|token| (token.position - first, token.text)).collect())
    }
}

/// Positions of a text, one bit each.
#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(positions: usize) -> Self {
        Self(vec![0; positions.div_ceil(64)])
    }

    fn set(&mut self, position: usize) {
        if let Some(word) = self.0.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
    }

    fn has(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The word of bits that stand `distance` behind those of this word of the result.
    fn shifted_down(&self, word: usize, distance: usize) -> u64 {
        let (words, bits) = (word + distance / 64, distance % 64);
        let low = self.0.get(words).map_or(0, |word| word >> bits);
        let high = if bits == 0 { None } else { self.0.get(words + 1) };
        low | high.map_or(0, |word| word << (64 - bits))
    }

    /// Keeps the positions behind which, at a distance, the other has one.
    fn keep_before(&mut self, other: &Self, distance: usize) {
        for at in 0..self.0.len() {
            self.0[at] &= other.shifted_down(at, distance);
        }
    }

    /// Adds the positions of the other, each moved back by a distance.
    fn add_behind(&mut self, other: &Self, distance: usize) {
        let (words, bits) = (distance / 64, distance % 64);
        for at in (words..self.0.len()).rev() {
            let low = other.0[at - words] << bits;
            let high = if bits == 0 || at == words { 0 } else { other.0[at - words - 1] >> (64 - bits) };
            self.0[at] |= low | high;
        }
    }
}

/// Where the terms of all phrases stand in one text.
pub(super) struct Places<'a>(HashMap<&'a str, Bits>);

impl<'a> Places<'a> {
    pub(super) fn of(tokens: &[Token], phrases: &'a [Phrase]) -> Self {
        let positions = tokens.last().map_or(0, |token| token.position as usize + 1);
        let mut places: HashMap<&str, Bits> = HashMap::new();
        for (_, term) in phrases.iter().flat_map(|phrase| &phrase.0) {
            places.entry(term).or_insert_with(|| Bits(Vec::new()));
        }
        for token in tokens {
            if let Some(bits) = places.get_mut(token.text.as_str()) {
                if bits.0.is_empty() {
                    *bits = Bits::new(positions);
                }
                bits.set(token.position as usize);
            }
        }
        Self(places)
    }

    /// Adds the words of the text with which the phrase stands there whole.
    pub(super) fn mark(&self, tokens: &[Token], phrase: &Phrase, found: &mut Vec<(usize, usize)>) {
        let Some(starts) = self.starts(phrase) else { return };
        let mut marked: HashMap<&str, Bits> = HashMap::new();
        for (offset, term) in &phrase.0 {
            let bits = marked.entry(term).or_insert_with(|| Bits(vec![0; starts.0.len()]));
            bits.add_behind(&starts, *offset as usize);
        }
        for token in tokens {
            if marked.get(token.text.as_str()).is_some_and(|bits| bits.has(token.position as usize)) {
                found.push((token.start, token.end));
            }
        }
    }

    /// Where the phrase begins; `None` if it is nowhere.
    fn starts(&self, phrase: &Phrase) -> Option<Bits> {
        let mut terms = phrase.0.iter().map(|(offset, term)| (*offset as usize, &self.0[term.as_str()]));
        let (_, first) = terms.next()?;
        let mut starts = first.clone();
        for (offset, bits) in terms {
            starts.keep_before(bits, offset);
        }
        (!starts.is_empty()).then_some(starts)
    }
}
