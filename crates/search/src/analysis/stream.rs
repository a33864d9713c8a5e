use std::collections::btree_set;
use std::sync::Arc;

use rust_stemmers::Algorithm;

use super::ascii_folding::fold;
use super::definition::{Analyzer, Normalizer, Stemmer, TokenFilter, Tokenizer};
use super::tokenizer::next_word;

/// One term of a text and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// The term.
    pub text: String,
    /// How many words come before it, dropped ones included.
    pub position: u32,
    /// Where its word begins in the text, in bytes.
    pub start: usize,
    /// Where its word ends, in bytes.
    pub end: usize,
}

impl Analyzer {
    /// The tokens of a text, in order.
    #[must_use]
    pub fn tokens(&self, text: &str) -> Vec<Token> {
        let mut stream = TokenStream::new(self, text);
        let mut tokens = Vec::new();
        while stream.advance() {
            tokens.push(stream.token().clone());
        }
        tokens
    }
}

/// The tokens of a text one by one, into memory that is used again.
#[derive(Debug)]
pub struct TokenStream<'a> {
    analyzer: &'a Analyzer,
    text: &'a str,
    at: usize,
    words: u32,
    /// What is still to come in place of the current word.
    others: btree_set::Iter<'a, Arc<str>>,
    state: State,
}

/// What a stream needs besides the text; kept by those that analyse many texts.
#[derive(Debug, Default)]
pub(crate) struct State {
    token: Token,
    word: String,
    /// The code points of the next beginning of `word`, while an edge n-gram filter hands them out.
    gram: Option<usize>,
    /// Whether a rule stands for the current word, and what was handed out in its place.
    replaced: bool,
    given: Vec<String>,
}

impl<'a> TokenStream<'a> {
    /// A stream before the first token.
    #[must_use]
    pub fn new(analyzer: &'a Analyzer, text: &'a str) -> Self {
        Self::reusing(State::default(), analyzer, text)
    }

    /// A stream that uses the memory of an earlier one.
    pub(crate) fn reusing(mut state: State, analyzer: &'a Analyzer, text: &'a str) -> Self {
        state.gram = None;
        state.replaced = false;
        Self { analyzer, text, at: 0, words: 0, others: btree_set::Iter::default(), state }
    }

    /// The memory, for the next stream.
    #[cfg(feature = "tantivy")]
    pub(crate) fn take_state(&mut self) -> State {
        std::mem::take(&mut self.state)
    }

    #[cfg(feature = "tantivy")]
    pub(crate) const fn token_mut(&mut self) -> &mut Token {
        &mut self.state.token
    }

    /// How many words were read so far, dropped ones included: the position that the next one gets.
    #[cfg(feature = "tantivy")]
    pub(crate) const fn words(&self) -> u32 {
        self.words
    }

    /// Moves to the next token. Says whether there is one.
    pub fn advance(&mut self) -> bool {
        while self.step() {
            if !self.is_given() {
                return true;
            }
        }
        false
    }

    fn step(&mut self) -> bool {
        loop {
            if self.state.gram.is_some() && self.next_gram() {
                return true;
            }
            if let Some(other) = self.others.next() {
                if self.filter_other(other) {
                    return true;
                }
                continue;
            }
            let Some(found) = self.next_word() else { return false };
            let token = &mut self.state.token;
            token.position = self.words;
            token.start = found.start;
            token.end = found.end;
            token.text.clear();
            token.text.push_str(&self.text[found]);
            self.words += 1;
            self.state.replaced = false;
            if self.filter() {
                return true;
            }
        }
    }

    /// The token that the stream is at.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.state.token
    }

    fn next_word(&mut self) -> Option<std::ops::Range<usize>> {
        let found = match self.analyzer.tokenizer() {
            Tokenizer::Standard => next_word(self.text, self.at)?,
            Tokenizer::Whole if self.words == 0 => 0..self.text.len(),
            Tokenizer::Whole => return None,
        };
        self.at = found.end;
        Some(found)
    }

    /// Whether the same term was handed out in place of the same word before.
    fn is_given(&mut self) -> bool {
        let State { token, given, replaced, .. } = &mut self.state;
        if !*replaced {
            return false;
        }
        let known = given.contains(&token.text);
        if !known {
            given.push(token.text.clone());
        }
        known
    }

    /// Applies the filters to a new word. Says whether the token is to be handed out.
    fn filter(&mut self) -> bool {
        self.filter_behind(0)
    }

    /// Goes on with another term in place of the word.
    fn filter_other(&mut self, other: &str) -> bool {
        let rules = |filter: &TokenFilter| matches!(filter, TokenFilter::Synonyms(_));
        let at = self.analyzer.filters().iter().position(rules).unwrap_or_default();
        self.state.token.text.clear();
        self.state.token.text.push_str(other);
        self.filter_behind(at + 1)
    }

    fn filter_behind(&mut self, first: usize) -> bool {
        let (analyzer, State { token, word, gram, given, replaced }) = (self.analyzer, &mut self.state);
        for filter in &analyzer.filters()[first..] {
            match filter {
                TokenFilter::Synonyms(rules) => {
                    let Some(others) = rules.of(&token.text) else { continue };
                    self.others = others.iter();
                    *replaced = true;
                    given.clear();
                    let Some(first) = self.others.next() else { return false };
                    token.text.clear();
                    token.text.push_str(first);
                }
                TokenFilter::Stop(words) => {
                    if words.contains(token.text.as_str()) {
                        return false;
                    }
                }
                TokenFilter::Stem(stemmer) => stem(*stemmer, &mut token.text),
                TokenFilter::EdgeNgram { min, .. } => {
                    *gram = Some(*min);
                    std::mem::swap(word, &mut token.text);
                    return self.next_gram();
                }
                single => apply(single, &mut token.text, word),
            }
        }
        true
    }

    fn next_gram(&mut self) -> bool {
        let State { token, word, gram, .. } = &mut self.state;
        let Some(TokenFilter::EdgeNgram { max, .. }) = self.analyzer.filters().last() else { return false };
        let length = gram.take().unwrap_or_default();
        let ends = word.char_indices().map(|(at, _)| at).chain([word.len()]).nth(length);
        let Some(end) = ends.filter(|_| length <= *max) else { return false };
        token.text.clear();
        token.text.push_str(&word[..end]);
        *gram = Some(length + 1);
        true
    }
}

impl Normalizer {
    /// The term that a text becomes.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let (mut term, mut spare) = (text.to_owned(), String::new());
        for filter in self.filters() {
            apply(filter, &mut term, &mut spare);
        }
        term
    }
}

fn apply(filter: &TokenFilter, text: &mut String, spare: &mut String) {
    match filter {
        TokenFilter::Lowercase => lowercase(text, spare),
        TokenFilter::AsciiFolding => ascii_folding(text, spare),
        TokenFilter::Stop(_) | TokenFilter::Stem(_) | TokenFilter::Synonyms(_) | TokenFilter::EdgeNgram { .. } => {}
    }
}

fn lowercase(text: &mut String, spare: &mut String) {
    if text.is_ascii() {
        text.make_ascii_lowercase();
        return;
    }
    spare.clear();
    spare.extend(text.chars().map(lower));
    std::mem::swap(text, spare);
}

/// One code point for one, as Java does it: of `İ` (U+0130), the only one with a longer form, it is `i`. As of Unicode 16,
/// whatever the standard library of this build knows: the capitals that Unicode 17 added stay as they are.
fn lower(c: char) -> char {
    if matches!(c, '\u{A7CE}' | '\u{A7D2}' | '\u{A7D4}' | '\u{16EA0}'..='\u{16EB8}') {
        return c;
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        (Some(first), Some(_)) => first,
        _ => c,
    }
}

fn ascii_folding(text: &mut String, spare: &mut String) {
    if text.is_ascii() {
        return;
    }
    spare.clear();
    for c in text.chars() {
        match fold(c) {
            Some(spelling) if !c.is_ascii() => spare.push_str(spelling),
            _ => spare.push(c),
        }
    }
    std::mem::swap(text, spare);
}

fn stem(stemmer: Stemmer, text: &mut String) {
    let Stemmer::Porter2 = stemmer;
    if let Some(kept) = doubled_stem(text) {
        text.truncate(kept);
        return;
    }
    let stemmer = rust_stemmers::Stemmer::create(Algorithm::English);
    if text.chars().any(is_wide) {
        *text = narrowed(text, &stemmer.stem(&widened(text)));
    } else if let std::borrow::Cow::Owned(stem) = stemmer.stem(text) {
        *text = stem;
    }
}

/// Whether a code point is two units of UTF-16, which is what Java counts and has rules of the algorithm look at.
const fn is_wide(c: char) -> bool {
    c as u32 > 0xFFFF
}

/// A word in which each wide code point is two others, no letters to the algorithm, as halves of one are none.
fn widened(word: &str) -> String {
    let units = |c| if is_wide(c) { ['\u{FFFD}'; 2] } else { [c, '\0'] };
    word.chars().flat_map(|c| units(c).into_iter().take(c.len_utf16())).collect()
}

/// The stem of a widened word, with that word's own code points. The algorithm leaves all but ASCII as it is.
fn narrowed(word: &str, stem: &str) -> String {
    let (mut theirs, mut narrow) = (word.chars().filter(|c| !c.is_ascii()), String::new());
    let mut units = stem.chars();
    while let Some(unit) = units.next() {
        let c = if unit.is_ascii() { unit } else { theirs.next().unwrap_or(unit) };
        if is_wide(c) {
            units.next();
        }
        narrow.push(c);
    }
    narrow
}

/// The length of a stem such as `add`, `egg` and `off`, whose last letter the current Porter 2 keeps behind `-ed`,
/// `-edly`, `-ing` and `-ingly`, and that of 2014, which `rust-stemmers` has, does not.
/// See <https://snowballstem.org/algorithms/english/stemmer.html>, step 1b.
fn doubled_stem(text: &str) -> Option<usize> {
    let word = ["'s'", "'s", "'"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text);
    let word = word.strip_suffix('s').unwrap_or(word);
    let rest = ["edly", "ingly", "ed", "ing"].iter().find_map(|end| word.strip_suffix(end))?;
    match rest.as_bytes() {
        [b'a' | b'e' | b'o', a, b] if a == b && b"bdfgmnprt".contains(a) => Some(rest.len()),
        _ => None,
    }
}
