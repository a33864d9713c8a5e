//! Where a phrase stands in a text.

use std::collections::{BTreeSet, HashMap};

use crate::analysis::Token;

/// Terms in order, each with its distance from the first in positions.
#[derive(Debug)]
pub(super) struct Phrase {
    terms: Vec<(u32, String)>,
    /// A beginning of a term behind those.
    begun: Option<(u32, String)>,
}

impl Phrase {
    pub(super) fn of(tokens: Vec<Token>) -> Self {
        let first = tokens.first().map_or(0, |token| token.position);
        Self { terms: tokens.into_iter().map(|token| (token.position - first, token.text)).collect(), begun: None }
    }

    /// The last of the tokens is only a beginning.
    pub(super) fn begun(tokens: Vec<Token>) -> Self {
        let mut phrase = Self::of(tokens);
        phrase.begun = phrase.terms.pop();
        phrase
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
pub(super) struct Places<'a> {
    terms: HashMap<&'a str, Bits>,
    begun: Beginnings<'a>,
}

/// Bits for each of some beginnings of terms.
#[derive(Default)]
struct Beginnings<'a> {
    bits: HashMap<&'a str, Bits>,
    /// How long they are, in bytes: a word is cut to each of these and looked up.
    lengths: BTreeSet<usize>,
}

impl<'a> Beginnings<'a> {
    fn add(&mut self, beginning: &'a str, positions: usize) {
        self.lengths.insert(beginning.len());
        self.bits.entry(beginning).or_insert_with(|| Bits::new(positions));
    }

    fn set(&mut self, word: &str, position: usize) {
        let Self { bits, lengths } = self;
        for beginning in lengths.iter().map_while(|length| (*length <= word.len()).then(|| word.get(..*length))) {
            if let Some(bits) = beginning.and_then(|beginning| bits.get_mut(beginning)) {
                bits.set(position);
            }
        }
    }
}

impl<'a> Places<'a> {
    pub(super) fn of(tokens: &[Token], phrases: &'a [Phrase]) -> Self {
        let positions = tokens.last().map_or(0, |token| token.position as usize + 1);
        let mut places: HashMap<&str, Bits> = HashMap::new();
        for (_, term) in phrases.iter().flat_map(|phrase| &phrase.terms) {
            places.entry(term).or_insert_with(|| Bits(Vec::new()));
        }
        let mut begun = Beginnings::default();
        phrases.iter().filter_map(|phrase| phrase.begun.as_ref()).for_each(|(_, text)| begun.add(text, positions));
        for token in tokens {
            begun.set(&token.text, token.position as usize);
            if let Some(bits) = places.get_mut(token.text.as_str()) {
                if bits.0.is_empty() {
                    *bits = Bits::new(positions);
                }
                bits.set(token.position as usize);
            }
        }
        Self { terms: places, begun }
    }

    /// Adds the words of the text with which the phrase stands there whole.
    pub(super) fn mark(&self, tokens: &[Token], phrase: &Phrase, found: &mut Vec<(usize, usize)>) {
        let Some(starts) = self.starts(phrase) else { return };
        let mut marked: HashMap<&str, Bits> = HashMap::new();
        for (offset, term) in &phrase.terms {
            let bits = marked.entry(term).or_insert_with(|| Bits(vec![0; starts.0.len()]));
            bits.add_behind(&starts, *offset as usize);
        }
        let begun = phrase.begun.as_ref().map(|(offset, text)| {
            let mut bits = Bits(vec![0; starts.0.len()]);
            bits.add_behind(&starts, *offset as usize);
            (text.as_str(), bits)
        });
        for token in tokens {
            let at = token.position as usize;
            let ends = |(text, bits): &(&str, Bits)| token.text.starts_with(text) && bits.has(at);
            if marked.get(token.text.as_str()).is_some_and(|bits| bits.has(at)) || begun.as_ref().is_some_and(ends) {
                found.push((token.start, token.end));
            }
        }
    }

    /// Where the phrase begins; `None` if it is nowhere.
    fn starts(&self, phrase: &Phrase) -> Option<Bits> {
        let begun = phrase.begun.iter().map(|(offset, text)| (*offset as usize, &self.begun.bits[text.as_str()]));
        let terms = phrase.terms.iter().map(|(offset, term)| (*offset as usize, &self.terms[term.as_str()]));
        let mut terms = terms.chain(begun);
        let (_, first) = terms.next()?;
        let mut starts = first.clone();
        for (offset, bits) in terms {
            starts.keep_before(bits, offset);
        }
        (!starts.is_empty()).then_some(starts)
    }
}
