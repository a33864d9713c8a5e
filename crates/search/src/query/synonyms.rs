//! Words that mean the same, put into the query.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result};

use super::Query;
use super::text::Operator;
use crate::analysis::{Analyzer, Token, lines, rule};
use crate::limits::{MAX_CLAUSES, MAX_QUERY_TEXT, MAX_REQUEST_TEXT, at_most};
use crate::{BoolQuery, Schema};

/// Words that mean the same, by which a text finds what says it in other words.
///
/// The rules are those of Solr's synonym files, one a line:
///
/// | rule | a text with | finds |
/// | --- | --- | --- |
/// | `heart attack, myocardial infarction, MI` | any of these | all of them |
/// | `tumor => tumour, neoplasm` | what stands before the arrow | what stands behind it, in place of it |
/// | `# …`, an empty line | | |
///
/// `\` takes the next character as it is: `1\,5 mg`. Both sides are analyzed as texts that are searched for in the field:
/// what its analyzer makes no difference of makes none here, which is case for the default one, and accents or endings for
/// one that folds or stems; nor does it matter which word it is where the field has none of it, such as a stop word. Of rules
/// that begin at the same word the longest counts, and words that were used are not used again. Several rules of the same
/// words add up.
///
/// Unlike Solr's, a rule without an arrow always stands for all of its words (`expand`), one of words that mean nothing else
/// is refused, and so are words of which the field has nothing; stop words within others are taken.
///
/// A text becomes a [`Query`] of matches and phrases, so it finds the same on every backend, in the same order, with
/// synonyms of several words, too, and a change of the rules is a change of queries alone: nothing is reindexed, and two
/// builds may have different ones. Words of a rule score as what fits best: as they are typed, by themselves as in a
/// [`MatchQuery`](crate::MatchQuery), or one of the synonyms, those of several words as a [phrase](crate::PhraseQuery).
/// Each scores as if it had been typed, so a rare one scores more than a frequent one; with [`with_weight`](Self::with_weight)
/// what was typed counts more, though a much rarer synonym may still come before it.
///
/// No text is refused for its synonyms: they take up to half of what a request may have of [queries and
/// terms](crate::MAX_CLAUSES) and of [text](crate::MAX_REQUEST_TEXT). Words whose synonyms would be more than is left of
/// that stand for themselves, as if no rule had them.
///
/// A [`Cursor`](crate::Cursor) is of one request with all its queries: with other rules those of a text with synonyms lead no
/// further, and who keeps one in a link begins anew.
///
/// Rules of single words may be part of the index instead, see [`Analyzer::synonyms`](crate::analysis::Analyzer::synonyms): then
/// a synonym scores as the word itself, and to change them takes a reindex.
///
/// What it is not: OpenSearch's `synonym_graph`, which takes all single words of a rule as one term. That is part of an
/// index's settings, and scores phrases that no other query has.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{Field, Operator, Record, Schema, SearchIndexExt, SearchRequest, Synonyms, TantivyConfig};
/// # use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let schema = Schema::builder().field(Field::text("title")).build()?;
/// // Once, when the program starts.
/// let synonyms = Synonyms::parse(&schema, "title", "
///     heart attack, myocardial infarction
///     acute => acute, sudden
/// ")?.with_weight(0.8)?;
///
/// let index = TantivyConfig::memory().open(schema).await?;
/// # let titles = ["Sudden myocardial infarction", "Acute heart attack", "Old heart attack", "Infarction of the lung"];
/// # let titles = titles.map(|title| Operation::Upsert(Record::new(&title[..1]).unwrap().with("title", title)));
/// # index.bulk_with(titles.to_vec(), BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
/// let found = index.search(&SearchRequest::new(synonyms.matches("Acute HEART attack", Operator::And)?)).await?;
/// assert_eq!(found.ids(), ["A", "S"]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Synonyms {
    field: Arc<str>,
    analyzer: Analyzer,
    rules: HashMap<Arc<[Term]>, Rule>,
    /// The words of the longest.
    longest: usize,
    pairs: usize,
    weight: f32,
}

/// What stands at a position: `None` where the field has none of a word.
type Term = Option<String>;

/// What words stand for.
#[derive(Clone, Debug, Default)]
struct Rule {
    /// Whether for themselves, too.
    keeps: bool,
    others: Vec<Arc<Words>>,
    /// What those take of a request.
    cost: Cost,
}

/// One side of a rule, or a part of one.
#[derive(Debug)]
struct Words {
    text: String,
    terms: Arc<[Term]>,
}

/// What queries take of the limits of a request.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Queries and terms.
    clauses: usize,
    bytes: usize,
}

impl Cost {
    /// What a text may take: half is left for what stands beside it.
    const MOST: Self = Self { clauses: MAX_CLAUSES / 2, bytes: MAX_REQUEST_TEXT / 2 };

    /// Of a query for these words.
    fn of(words: &Words) -> Self {
        Self { clauses: 1 + words.terms.iter().flatten().count(), bytes: words.text.len() }
    }

    fn add(&mut self, other: Self) {
        self.clauses += other.clauses;
        self.bytes += other.bytes;
    }

    /// Takes what words and their synonyms need, if there is so much left.
    fn take(&mut self, rule: &Rule) -> bool {
        // One query for all of them, one for those that were typed, and one for what is typed behind them.
        let with = Self { clauses: self.clauses + rule.cost.clauses + 3, bytes: self.bytes + rule.cost.bytes };
        let fits = with.clauses <= Self::MOST.clauses && with.bytes <= Self::MOST.bytes;
        if fits {
            *self = with;
        }
        fits
    }
}

impl Synonyms {
    /// How long the rules may be in all, in bytes: 1 MiB.
    pub const MAX_BYTES: usize = 1 << 20;
    /// How many words or groups of words a rule may have on each side.
    pub const MAX_ALTERNATIVES: usize = 64;
    /// How many words each of those may have.
    pub const MAX_WORDS: usize = 8;
    /// How long each of those may be, in bytes.
    pub const MAX_TEXT: usize = 512;
    /// How many words all synonyms of one may have together.
    pub const MAX_SYNONYM_WORDS: usize = 256;
    /// How many pairs of words and a synonym of theirs there may be in all.
    pub const MAX_PAIRS: usize = 100_000;

    /// The rules for a text field.
    ///
    /// # Errors
    /// `InvalidInput` for an unknown field and for a rule that is none or over a limit, by its line; `Unsupported` for a field
    /// that is not of text, or not indexed.
    pub fn parse(schema: &Schema, field: impl Into<Arc<str>>, rules: &str) -> Result<Self> {
        let name = field.into();
        let field = schema.require(&name)?;
        let analyzer = schema.search_analyzer(field)?;
        if !field.is_indexed() {
            return Err(Error::new(ErrorKind::Unsupported, "the field is not indexed").with_key(&name));
        }
        at_most("bytes of synonyms", rules.len(), Self::MAX_BYTES)?;
        let analyzer = analyzer.clone();
        let mut synonyms =
            Self { field: Arc::clone(&name), analyzer, rules: HashMap::new(), longest: 0, pairs: 0, weight: 1.0 };
        for (at, line) in lines(rules) {
            let wrong = |what: String| Error::invalid_input(format!("line {at} of the synonyms: {what}"));
            synonyms.add(line).map_err(wrong).map_err(|error| error.with_key(&name))?;
        }
        Ok(synonyms)
    }

    /// With what the score of a synonym is multiplied by where what was typed counts beside it: 1 unless set, 0 to 1. What
    /// stands behind an arrow in place of what was typed keeps its score.
    ///
    /// # Errors
    /// `InvalidInput` for any other number.
    pub fn with_weight(mut self, weight: f32) -> Result<Self> {
        if !(0.0..=1.0).contains(&weight) || weight.is_sign_negative() {
            return Err(Error::invalid_input(format!("a synonym weighs 0 to 1, not {weight}")));
        }
        self.weight = weight;
        Ok(self)
    }

    /// The words of a text, or synonyms of them: any or, with [`Operator::And`], all.
    ///
    /// # Errors
    /// `InvalidInput` for a text over [`MAX_QUERY_TEXT`].
    pub fn matches(&self, text: &str, operator: Operator) -> Result<Query> {
        at_most("bytes in the text of a query", text.len(), MAX_QUERY_TEXT)?;
        let tokens = self.analyzer.tokens(text);
        let terms = by_position(&tokens);
        let plain = |text: &str| Query::matches(Arc::clone(&self.field), text).operator(operator);
        let used = self.used(&terms, Cost { clauses: 2 + tokens.len(), bytes: text.len() });
        if used.is_empty() {
            // Also where the text has no words.
            return Ok(plain(text).into());
        }
        // The tokens before each position, and in all.
        let before =
            terms.iter().scan(0, |count, term| Some(std::mem::replace(count, *count + usize::from(term.is_some()))));
        let before: Vec<_> = before.chain([tokens.len()]).collect();
        let typed = |span: Range<usize>| {
            let tokens = &tokens[before[span.start]..before[span.end]];
            (!tokens.is_empty()).then(|| plain(slice(text, tokens)).into())
        };
        let (mut parts, mut done): (Vec<Query>, _) = (Vec::new(), 0);
        for (rule, span) in used {
            parts.extend(typed(done..span.start));
            done = span.end;
            let weight = if rule.keeps { self.weight } else { 1.0 };
            let kept = rule.keeps.then(|| typed(span)).flatten();
            parts.push(
                Query::dis_max(kept.into_iter().chain(rule.others.iter().map(|other| self.other(other, weight))))
                    .into(),
            );
        }
        parts.extend(typed(done..terms.len()));
        let join =
            |all: BoolQuery, part: Query| if operator == Operator::And { all.must(part) } else { all.should(part) };
        Ok(parts.into_iter().fold(Query::bool(), join).into())
    }

    /// The rules that a text is read by, and for which positions, as long as what they stand for is not too much beside the text
    /// itself.
    fn used(&self, terms: &[Term], mut cost: Cost) -> Vec<(&Rule, Range<usize>)> {
        let (mut used, mut at) = (Vec::new(), 0);
        while at < terms.len() {
            let Some((rule, end)) = self.longest_at(terms, at) else {
                at += 1;
                continue;
            };
            if cost.take(rule) {
                used.push((rule, at..end));
            }
            at = end;
        }
        used
    }

    fn other(&self, words: &Words, weight: f32) -> Query {
        let (field, text) = (Arc::clone(&self.field), words.text.as_str());
        match words.terms.len() {
            1 => Query::matches(field, text).boost(weight).into(),
            _ => Query::phrase(field, text).boost(weight).into(),
        }
    }

    /// The rule of the most words that stand here one behind the other, and where they end.
    fn longest_at(&self, terms: &[Term], at: usize) -> Option<(&Rule, usize)> {
        let most = terms.len().min(at + self.longest);
        (at + 1..=most).rev().find_map(|end| self.rules.get(&terms[at..end]).map(|rule| (rule, end)))
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (left, right) = rule(line, Self::MAX_ALTERNATIVES)?;
        let left = self.side(&left)?;
        let right = right.map(|side| self.side(&side)).transpose()?;
        left.iter().try_for_each(|words| self.join(words, right.as_ref().unwrap_or(&left)))
    }

    /// The alternatives of one side as the field has them.
    fn side(&self, side: &[String]) -> Result<Vec<Arc<Words>>, String> {
        side.iter().map(|text| self.words(text).map(Arc::new)).collect()
    }

    fn words(&self, text: &str) -> Result<Words, String> {
        if text.len() > Self::MAX_TEXT {
            return Err(format!("{} bytes in one; the limit is {}", text.len(), Self::MAX_TEXT));
        }
        let tokens = self.analyzer.tokens(text);
        if tokens.iter().all(|token| token.text.is_empty()) {
            return Err(
                "there is nothing, or nothing that the field can be searched for, where words are to be".to_owned()
            );
        }
        let terms = by_position(&tokens);
        if terms.len() > Self::MAX_WORDS {
            return Err(format!("{} words in one; the limit is {}", terms.len(), Self::MAX_WORDS));
        }
        Ok(Words { text: text.to_owned(), terms: terms.into() })
    }

    /// Lets words stand for others, or among them for themselves.
    fn join(&mut self, words: &Words, others: &[Arc<Words>]) -> Result<(), String> {
        let rule = self.rules.entry(Arc::clone(&words.terms)).or_default();
        let before = rule.others.len();
        for other in others {
            if other.terms == words.terms {
                rule.keeps = true;
            } else if !rule.others.iter().any(|known| known.terms == other.terms) {
                rule.others.push(Arc::clone(other));
                rule.cost.add(Cost::of(other));
            }
        }
        if rule.others.len() > Self::MAX_ALTERNATIVES {
            return Err(format!(
                "words with more than {} synonyms, together with rules before",
                Self::MAX_ALTERNATIVES
            ));
        }
        let in_all = rule.cost.clauses - rule.others.len();
        if in_all > Self::MAX_SYNONYM_WORDS {
            return Err(format!(
                "words with synonyms of {in_all} words in all, together with rules before; the limit is {}",
                Self::MAX_SYNONYM_WORDS
            ));
        }
        self.pairs += rule.others.len() - before;
        self.longest = self.longest.max(words.terms.len());
        if self.pairs > Self::MAX_PAIRS {
            return Err(format!("more than {} pairs of words and a synonym", Self::MAX_PAIRS));
        }
        Ok(())
    }
}

/// The term at each position from the first token to the last.
fn by_position(tokens: &[Token]) -> Vec<Term> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Vec::new() };
    let mut terms = vec![None; (last.position - first.position) as usize + 1];
    for token in tokens {
        terms[(token.position - first.position) as usize] = Some(token.text.clone());
    }
    terms
}

/// The text that tokens were made of.
fn slice<'a>(text: &'a str, tokens: &[Token]) -> &'a str {
    match tokens {
        [first, .., last] => &text[first.start..last.end],
        [only] => &text[only.start..only.end],
        [] => "",
    }
}

#[cfg(test)]
mod tests;
