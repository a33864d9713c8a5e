//! Our analysis as a tokenizer of tantivy.

use std::sync::Arc;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use super::document::{Length, set_length};
use crate::analysis::{Analyzer, POSITION_GAP, State, TokenStream as Words};

/// Begins a text that several values were put together to; the length of each follows, in bytes. Any character may stand
/// in a value, this one too.
const HEAD: char = '\u{FFFF}';

/// The values of a field as one text, as [`AnalyzerTokenizer`] takes it apart.
pub(super) fn joined(values: &[&str]) -> String {
    match values {
        [one] if !one.starts_with(HEAD) => (*one).to_owned(),
        many => {
            let lengths: Vec<_> = many.iter().map(|value| value.len().to_string()).collect();
            format!("{HEAD}{} {}", lengths.join(","), many.concat())
        }
    }
}

/// The first value of such a text, and the others.
fn apart(text: &str) -> (&str, Values<'_>) {
    match text.strip_prefix(HEAD).and_then(|text| text.split_once(' ')) {
        None => (text, Values::default()),
        Some((lengths, text)) => {
            let mut values = Values { lengths, text };
            (values.next().unwrap_or_default(), values)
        }
    }
}

/// What is left of the values, and of their lengths.
#[derive(Default)]
struct Values<'a> {
    lengths: &'a str,
    text: &'a str,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (length, lengths) = self.lengths.split_once(',').unwrap_or((self.lengths, ""));
        let (value, text) = self.text.split_at_checked(length.parse().ok()?)?;
        *self = Self { lengths, text };
        Some(value)
    }
}

/// The analysis of one field. It says how many terms it made of a text, see [`set_length`].
#[derive(Debug)]
pub(super) struct AnalyzerTokenizer {
    analyzer: Arc<Analyzer>,
    place: usize,
    state: State,
    token: Token,
}

impl AnalyzerTokenizer {
    pub(super) fn new(analyzer: Analyzer, place: usize) -> Self {
        Self { analyzer: Arc::new(analyzer), place, state: State::default(), token: Token::default() }
    }
}

impl Clone for AnalyzerTokenizer {
    fn clone(&self) -> Self {
        let Self { analyzer, place, .. } = self;
        Self { analyzer: Arc::clone(analyzer), place: *place, state: State::default(), token: Token::default() }
    }
}

impl Tokenizer for AnalyzerTokenizer {
    type TokenStream<'a> = AnalyzerStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> AnalyzerStream<'a> {
        let (value, rest) = apart(text);
        let state = std::mem::take(&mut self.state);
        let words = Words::reusing(state, &self.analyzer, value);
        AnalyzerStream {
            words,
            token: &mut self.token,
            analyzer: &self.analyzer,
            rest,
            base: 0,
            place: self.place,
            length: Length::default(),
            last: None,
            overlaps: self.analyzer.has_synonyms(),
            home: &mut self.state,
        }
    }
}

/// The tokens of one value after another.
pub(super) struct AnalyzerStream<'a> {
    words: Words<'a>,
    token: &'a mut Token,
    analyzer: &'a Analyzer,
    rest: Values<'a>,
    base: u32,
    place: usize,
    length: Length,
    /// Whether it is counted what stands at the place of something before, and where the last one stands.
    overlaps: bool,
    last: Option<u32>,
    home: &'a mut State,
}

impl TokenStream for AnalyzerStream<'_> {
    fn advance(&mut self) -> bool {
        while !self.words.advance() {
            let Some(value) = self.rest.next() else { return false };
            self.base += self.words.words() + POSITION_GAP;
            self.words = Words::new(self.analyzer, value);
        }
        let found = self.words.token_mut();
        std::mem::swap(&mut self.token.text, &mut found.text);
        let position = self.base + found.position;
        self.token.position = position as usize;
        self.token.offset_from = found.start;
        self.token.offset_to = found.end;
        self.length.terms += 1;
        self.length.over_others += u32::from(self.overlaps && self.last == Some(position));
        self.last = Some(position);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

impl Drop for AnalyzerStream<'_> {
    fn drop(&mut self) {
        set_length(self.place, self.length);
        *self.home = self.words.take_state();
    }
}
