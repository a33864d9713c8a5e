//! Our analysis as a tokenizer of tantivy.

use std::sync::Arc;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use super::document::set_length;
use crate::analysis::{Analyzer, POSITION_GAP, State, TokenStream as Words};

/// Stands between the values of a field with several. It is no character, and no word either; where a text holds it, it
/// is replaced by its twin.
pub(super) const SEPARATOR: &str = "\u{FFFF}";
const TWIN: &str = "\u{FFFE}";

/// A text in which the separator does not occur.
pub(super) fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains(SEPARATOR) { text.replace(SEPARATOR, TWIN).into() } else { text.into() }
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
        let (value, rest) = split(text);
        let state = std::mem::take(&mut self.state);
        let words = Words::reusing(state, &self.analyzer, value);
        AnalyzerStream {
            words,
            token: &mut self.token,
            analyzer: &self.analyzer,
            rest,
            base: 0,
            place: self.place,
            terms: 0,
            home: &mut self.state,
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once(SEPARATOR).map_or((text, None), |(value, rest)| (value, Some(rest)))
}

/// The tokens of one value after another.
pub(super) struct AnalyzerStream<'a> {
    words: Words<'a>,
    token: &'a mut Token,
    analyzer: &'a Analyzer,
    rest: Option<&'a str>,
    base: u32,
    place: usize,
    terms: u64,
    home: &'a mut State,
}

impl TokenStream for AnalyzerStream<'_> {
    fn advance(&mut self) -> bool {
        while !self.words.advance() {
            let Some(rest) = self.rest else { return false };
            let (value, rest) = split(rest);
            self.base += self.words.words() + POSITION_GAP;
            self.words = Words::new(self.analyzer, value);
            self.rest = rest;
        }
        let found = self.words.token_mut();
        std::mem::swap(&mut self.token.text, &mut found.text);
        self.token.position = (self.base + found.position) as usize;
        self.token.offset_from = found.start;
        self.token.offset_to = found.end;
        self.terms += 1;
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
        set_length(self.place, self.terms);
        *self.home = self.words.take_state();
    }
}
