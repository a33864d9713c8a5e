//! Marks what matched in stored text: the same on every backend, because it is done here.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use statehouse_core::Result;

use crate::analysis::{Analyzer, Token};
use crate::distance::edit_distance;
use crate::{Field, Fragment, Fuzziness, Highlight, PrefixWords, Query, Record, Schema, SearchRequest, Value};

/// Marks the hits of one request.
#[derive(Debug)]
pub(crate) struct Marker<'a> {
    fields: Vec<MarkedField<'a>>,
}

#[derive(Debug)]
struct MarkedField<'a> {
    name: &'a Arc<str>,
    /// The field that holds the text.
    source: &'a str,
    analyzer: &'a Analyzer,
    patterns: Vec<Pattern>,
    highlight: &'a Highlight,
}

/// What a word must be to be marked.
#[derive(Debug)]
enum Pattern {
    Term(String),
    Prefix(String),
    Similar { term: String, edits: usize, prefix_length: usize },
    Phrase(Vec<(u32, String)>),
}

impl<'a> Marker<'a> {
    pub(crate) fn new(schema: &'a Schema, request: &'a SearchRequest) -> Result<Self> {
        let fields = request.highlight.iter().map(|highlight| {
            let field = schema.require(&highlight.field)?;
            let mut patterns = Vec::new();
            collect(schema, field, &request.query, &mut patterns)?;
            Ok(MarkedField {
                name: &highlight.field,
                source: field.source().unwrap_or_else(|| field.name()),
                analyzer: schema.index_analyzer(field)?,
                patterns,
                highlight,
            })
        });
        Ok(Self { fields: fields.collect::<Result<_>>()? })
    }

    /// The fragments of a hit, for each field in which something matched.
    pub(crate) fn mark(&self, record: &Record) -> Vec<(Arc<str>, Vec<Fragment>)> {
        let marked = self.fields.iter().map(|field| (Arc::clone(field.name), field.fragments(record)));
        marked.filter(|(_, fragments)| !fragments.is_empty()).collect()
    }
}

impl MarkedField<'_> {
    fn fragments(&self, record: &Record) -> Vec<Fragment> {
        let mut fragments = Vec::new();
        for text in record.values(self.source).filter_map(Value::as_text) {
            let tokens = self.analyzer.tokens(text);
            let marks = self.marks(&tokens);
            if !marks.is_empty() {
                cut(text, &marks, &tokens, self.highlight.fragment_size, &mut fragments);
            }
        }
        // Stable: among equals the order of the text stays.
        fragments.sort_by_key(|fragment| std::cmp::Reverse(fragment.marks.len()));
        fragments.truncate(self.highlight.max_fragments);
        fragments
    }

    /// The words to mark: ranges of bytes, in order and apart.
    fn marks(&self, tokens: &[Token]) -> Vec<Range<usize>> {
        let mut found = BTreeSet::new();
        for pattern in &self.patterns {
            if let Pattern::Phrase(terms) = pattern {
                mark_phrase(tokens, terms, &mut found);
            } else {
                found.extend(tokens.iter().filter(|token| pattern.fits(&token.text)).map(|t| (t.start, t.end)));
            }
        }
        found.into_iter().map(|(start, end)| start..end).collect()
    }
}

impl Pattern {
    fn fits(&self, word: &str) -> bool {
        match self {
            Self::Term(term) => word == term,
            Self::Prefix(prefix) => word.starts_with(prefix.as_str()),
            Self::Similar { term, edits, prefix_length } => {
                let equal = term.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
                equal >= (*prefix_length).min(term.chars().count()) && edit_distance(term, word) <= *edits
            }
            Self::Phrase(_) => false,
        }
    }
}

fn mark_phrase(tokens: &[Token], terms: &[(u32, String)], found: &mut BTreeSet<(usize, usize)>) {
    let at = |position: u32, term: &str| tokens.iter().find(|token| token.position == position && token.text == term);
    for start in tokens {
        let words = terms.iter().map(|(offset, term)| at(start.position + offset, term));
        if let Some(words) = words.collect::<Option<Vec<_>>>() {
            found.extend(words.into_iter().map(|token| (token.start, token.end)));
        }
    }
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
    let mut start = 0;
    for end in ends {
        let inside = marks.iter().filter(|mark| mark.start >= start && mark.end <= end);
        let inside: Vec<_> = inside.map(|mark| mark.start - start..mark.end - start).collect();
        if !inside.is_empty() {
            into.push(Fragment { text: text[start..end].to_owned(), marks: inside });
        }
        start = end;
    }
}

/// The patterns of a query that are about a field. What is excluded marks nothing.
fn collect(schema: &Schema, field: &Field, query: &Query, into: &mut Vec<Pattern>) -> Result<()> {
    let mine = |name: &Arc<str>| **name == *field.name();
    match query {
        Query::Match(q) if mine(&q.field) => {
            terms(schema, field, &q.text, q.fuzziness.map(|f| (f, q.prefix_length)), into)?;
        }
        Query::MultiMatch(q) if q.fields.iter().any(|boosted| mine(&boosted.field)) => {
            terms(schema, field, &q.text, q.fuzziness.map(|f| (f, q.prefix_length)), into)?;
        }
        Query::MatchPrefix(q) if mine(&q.field) => {
            let tokens = schema.search_tokens(field, &q.text)?;
            let last = tokens.len().saturating_sub(1);
            into.extend(tokens.into_iter().enumerate().map(|(at, token)| {
                let open = q.words == PrefixWords::All || (at == last && token.end == q.text.len());
                if open { Pattern::Prefix(token.text) } else { Pattern::Term(token.text) }
            }));
        }
        Query::Phrase(q) if mine(&q.field) => {
            let tokens = schema.search_tokens(field, &q.text)?;
            match tokens.first().map(|token| token.position) {
                Some(first) if q.slop == 0 => {
                    let terms = tokens.into_iter().map(|token| (token.position - first, token.text));
                    into.push(Pattern::Phrase(terms.collect()));
                }
                _ => into.extend(tokens.into_iter().map(|token| Pattern::Term(token.text))),
            }
        }
        Query::Prefix(q) if mine(&q.field) => into.push(Pattern::Prefix(schema.normalized(field, &q.text))),
        Query::Fuzzy(q) if mine(&q.field) => {
            let term = schema.normalized(field, &q.text);
            into.push(similar(term, (q.fuzziness, q.prefix_length)));
        }
        Query::Term(q) if mine(&q.field) => value(schema, field, &q.value, into),
        Query::Terms(q) if mine(&q.field) => q.values.iter().for_each(|v| value(schema, field, v, into)),
        Query::Bool(q) => {
            let queries = q.must.iter().chain(&q.should).chain(&q.filter);
            queries.into_iter().try_for_each(|query| collect(schema, field, query, into))?;
        }
        Query::DisMax(q) => q.queries.iter().try_for_each(|query| collect(schema, field, query, into))?,
        Query::Constant(q) => collect(schema, field, &q.query, into)?,
        _ => {}
    }
    Ok(())
}

fn terms(
    schema: &Schema,
    field: &Field,
    text: &str,
    fuzzy: Option<(Fuzziness, u32)>,
    into: &mut Vec<Pattern>,
) -> Result<()> {
    into.extend(schema.search_tokens(field, text)?.into_iter().map(|token| match fuzzy {
        Some(fuzzy) => similar(token.text, fuzzy),
        None => Pattern::Term(token.text),
    }));
    Ok(())
}

fn similar(term: String, (fuzziness, prefix_length): (Fuzziness, u32)) -> Pattern {
    let edits = usize::from(fuzziness.edits(term.chars().count()));
    Pattern::Similar { term, edits, prefix_length: prefix_length as usize }
}

fn value(schema: &Schema, field: &Field, value: &Value, into: &mut Vec<Pattern>) {
    into.extend(value.as_text().map(|text| Pattern::Term(schema.normalized(field, text))));
}
