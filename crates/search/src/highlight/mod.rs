//! Marks what matched in stored text: the same on every backend, because it is done here.
//!
//! The time grows with the text and not with its square, whatever the query: words are looked up, and the places of a
//! phrase are bits.

mod pattern;
mod phrase;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use statehouse_core::Result;

use self::pattern::{CHUNK, Patterns};
use crate::analysis::{Analyzer, Token};
use crate::work::Stop;
use crate::{Fragment, Highlight, Record, Schema, SearchRequest, Value};

/// Marks the hits of one request.
#[derive(Debug)]
pub(crate) struct Marker<'a> {
    fields: Vec<MarkedField<'a>>,
    stop: &'a Stop,
}

#[derive(Debug)]
struct MarkedField<'a> {
    name: &'a Arc<str>,
    /// The field that holds the text.
    source: &'a str,
    analyzer: &'a Analyzer,
    patterns: Patterns,
    highlight: &'a Highlight,
}

impl<'a> Marker<'a> {
    pub(crate) fn new(schema: &'a Schema, request: &'a SearchRequest, stop: &'a Stop) -> Result<Self> {
        let fields = request.highlight.iter().map(|highlight| {
            let field = schema.require(&highlight.field)?;
            Ok(MarkedField {
                name: &highlight.field,
                source: field.source().unwrap_or_else(|| field.name()),
                analyzer: schema.index_analyzer(field)?,
                patterns: Patterns::of(schema, field, &request.query)?,
                highlight,
            })
        });
        Ok(Self { fields: fields.collect::<Result<_>>()?, stop })
    }

    /// The fragments of a hit, for each field in which something matched.
    ///
    /// # Errors
    /// `Timeout` if nobody waits for them any more.
    pub(crate) fn mark(&mut self, record: &Record) -> Result<Vec<(Arc<str>, Vec<Fragment>)>> {
        let mut marked = Vec::new();
        for field in &mut self.fields {
            let fragments = field.fragments(record, self.stop)?;
            if !fragments.is_empty() {
                marked.push((Arc::clone(field.name), fragments));
            }
        }
        Ok(marked)
    }
}

impl MarkedField<'_> {
    fn fragments(&mut self, record: &Record, stop: &Stop) -> Result<Vec<Fragment>> {
        let mut fragments = Vec::new();
        if self.patterns.is_empty() {
            return Ok(fragments);
        }
        for text in record.values(self.source).filter_map(Value::as_text) {
            let tokens = tokens(self.analyzer, text, stop)?;
            let marks = self.patterns.marks(&tokens, stop)?;
            if !marks.is_empty() {
                cut(text, &marks, &tokens, self.highlight.fragment_size, &mut fragments);
            }
        }
        // Stable: among equals the order of the text stays.
        fragments.sort_by_key(|fragment| std::cmp::Reverse(fragment.marks.len()));
        fragments.truncate(self.highlight.max_fragments);
        Ok(fragments)
    }
}

fn tokens(analyzer: &Analyzer, text: &str, stop: &Stop) -> Result<Vec<Token>> {
    let mut stream = crate::analysis::TokenStream::new(analyzer, text);
    let mut tokens = Vec::new();
    while stream.advance() {
        tokens.push(stream.token().clone());
        if tokens.len() % CHUNK == 0 {
            stop.check()?;
        }
    }
    Ok(tokens)
}

/// Cuts a text before words into pieces of about a size, and keeps those with a mark.
fn cut(text: &str, marks: &[Range<usize>], tokens: &[Token], size: Option<usize>, into: &mut Vec<Fragment>) {
    let mut ends = Vec::new();
    if let Some(size) = size {
        let mut start = 0;
        for token in tokens {
            if token.end - start > size && token.start > start {
                ends.push(token.start);
                start = token.start;
            }
        }
    }
    ends.push(text.len());
    let (mut start, mut rest) = (0, marks);
    for end in ends {
        // Both are in order, so each mark is looked at once.
        let count = rest.partition_point(|mark| mark.end <= end);
        let (inside, behind) = rest.split_at(count);
        let shifted = |mark: &Range<usize>| mark.start - start..mark.end - start;
        let inside: Vec<_> = inside.iter().filter(|mark| mark.start >= start).map(shifted).collect();
        if !inside.is_empty() {
            into.push(Fragment { text: text[start..end].to_owned(), marks: inside });
        }
        (start, rest) = (end, behind);
    }
}
