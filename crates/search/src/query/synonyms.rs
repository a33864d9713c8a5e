//! Words that mean the same, put into the query in place of the index.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result};

use super::Query;
use super::text::Operator;
use crate::analysis::{Analyzer, Token};
use crate::limits::{MAX_QUERY_TEXT, at_most};
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
/// `\` takes the next character as it is: `1\,5 mg`. Both sides are analyzed as texts that are searched for in the field,
/// so case, accents and endings make no difference, nor which word it is where the field has none of it, such as a stop
/// word. Of rules that begin at the same word the longest counts, and words that were used are not used again. Several
/// rules of the same words add up.
///
/// A text becomes a [`Query`] of matches and phrases, so it finds the same on every backend, in the same order, with
/// synonyms of several words, too, and a change of the rules is a change of queries alone: nothing is reindexed, and two
/// builds may have different ones. Words of a rule score as what fits best: as they are typed, by themselves as in a
/// [`MatchQuery`](crate::MatchQuery), or one of the synonyms, those of several words as a [phrase](crate::PhraseQuery).
/// Each scores as if it had been typed, so a rare one scores more than a frequent one; [`with_weight`](Self::with_weight)
/// puts what was typed first.
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
/// ")?.with_weight(0.8);
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
    rules: HashMap<Vec<String>, Rule>,
    /// The words of the longest.
    longest: usize,
    pairs: usize,
    weight: f32,
}

/// What words stand for.
#[derive(Clone, Debug, Default)]
struct Rule {
    /// Whether for themselves, too.
    keeps: bool,
    others: Vec<Words>,
}

/// One side of a rule, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    text: String,
    terms: Vec<String>,
}

impl Synonyms {
    /// How long the rules may be in all, in bytes: 1 MiB.
    pub const MAX_BYTES: usize = 1 << 20;
    /// How many words or groups of words a rule may have on each side.
    pub const MAX_ALTERNATIVES: usize = 64;
    /// How many words each of those may have.
    pub const MAX_WORDS: usize = 8;
    /// How many pairs of words and a synonym of theirs there may be in all.
    pub const MAX_PAIRS: usize = 100_000;

    /// The rules for a text field.
    ///
    /// # Errors
    /// `InvalidInput` for an unknown field and for a rule that is none, by its line; `Unsupported` for a field that is not
    /// of text, or not indexed.
    pub fn parse(schema: &Schema, field: impl Into<Arc<str>>, rules: &str) -> Result<Self> {
        let name = field.into();
        let field = schema.require(&name)?;
        let analyzer = schema.search_analyzer(field)?;
        if !field.is_indexed() {
            let message = "the field is not indexed";
            return Err(Error::new(ErrorKind::Unsupported, message).with_key(&name));
        }
        at_most("bytes of synonyms", rules.len(), Self::MAX_BYTES)?;
        let analyzer = analyzer.clone();
        let mut synonyms =
            Self { field: Arc::clone(&name), analyzer, rules: HashMap::new(), longest: 0, pairs: 0, weight: 1.0 };
        for (at, line) in rules.lines().enumerate() {
            let wrong = |what: String| Error::invalid_input(format!("line {} of the synonyms: {what}", at + 1));
            synonyms.add(line.trim()).map_err(wrong).map_err(|error| error.with_key(&name))?;
        }
        Ok(synonyms)
    }

    /// With what the score of a synonym that was not typed is multiplied by: 1 unless set. Its limits are those of a
    /// [boost](crate::MAX_BOOST), and a query over them is refused.
    #[must_use]
    pub const fn with_weight(mut self, weight: f32) -> Self {
        self.weight = weight;
        self
    }

    /// The words of a text, or synonyms of them: any or, with [`Operator::And`], all.
    ///
    /// # Errors
    /// `InvalidInput` for a text over [`MAX_QUERY_TEXT`]. A text with more synonyms than a request may have
    /// [queries](crate::MAX_CLAUSES) is refused where it is searched for.
    pub fn matches(&self, text: &str, operator: Operator) -> Result<Query> {
        at_most("bytes in the text of a query", text.len(), MAX_QUERY_TEXT)?;
        let tokens = self.analyzer.tokens(text);
        let terms = by_position(&tokens);
        // The tokens before each position, and in all.
        let before =
            terms.iter().scan(0, |count, term| Some(std::mem::replace(count, *count + usize::from(!term.is_empty()))));
        let before: Vec<_> = before.chain([tokens.len()]).collect();
        let plain = |span: Range<usize>| {
            let words = slice(text, &tokens[before[span.start]..before[span.end]]);
            Query::matches(Arc::clone(&self.field), words).operator(operator)
        };
        let has_words = |span: &Range<usize>| before[span.start] < before[span.end];
        let (mut parts, mut at, mut done) = (Vec::new(), 0, 0);
        while at < terms.len() {
            let Some((rule, end)) = self.longest_at(&terms, at) else {
                at += 1;
                continue;
            };
            parts.extend(Some(done..at).filter(has_words).map(|span| plain(span).into()));
            let typed = rule.keeps.then(|| plain(at..end).into());
            parts.push(
                Query::dis_max(typed.into_iter().chain(rule.others.iter().map(|other| self.other(other)))).into(),
            );
            (at, done) = (end, end);
        }
        if parts.is_empty() {
            // Also where the text has no words.
            return Ok(Query::matches(Arc::clone(&self.field), text).operator(operator).into());
        }
        parts.extend(Some(done..at).filter(has_words).map(|span| plain(span).into()));
        let join =
            |all: BoolQuery, part: Query| if operator == Operator::And { all.must(part) } else { all.should(part) };
        Ok(parts.into_iter().fold(Query::bool(), join).into())
    }

    fn other(&self, Words { text, terms }: &Words) -> Query {
        let (field, text) = (Arc::clone(&self.field), text.as_str());
        match terms.len() {
            1 => Query::matches(field, text).boost(self.weight).into(),
            _ => Query::phrase(field, text).boost(self.weight).into(),
        }
    }

    /// The rule of the most words that stand here one behind the other, and where they end.
    fn longest_at(&self, terms: &[String], at: usize) -> Option<(&Rule, usize)> {
        let most = terms.len().min(at + self.longest);
        (at + 1..=most).rev().find_map(|end| self.rules.get(&terms[at..end]).map(|rule| (rule, end)))
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let mut sides = sides(line).into_iter();
        let side = |sides: &mut dyn Iterator<Item = Vec<String>>| sides.next().map(|side| self.side(&side)).transpose();
        let (left, right) = (side(&mut sides)?.unwrap_or_default(), side(&mut sides)?);
        if sides.next().is_some() {
            return Err("a rule has one arrow at most".to_owned());
        }
        if right.is_none() && left.len() < 2 {
            return Err("a rule without an arrow has at least two that mean the same".to_owned());
        }
        left.iter().try_for_each(|words| self.join(words, right.as_ref().unwrap_or(&left)))
    }

    /// The alternatives of one side as the field has them.
    fn side(&self, side: &[String]) -> Result<Vec<Words>, String> {
        if side.len() > Self::MAX_ALTERNATIVES {
            return Err(format!("{} that mean the same; the limit is {}", side.len(), Self::MAX_ALTERNATIVES));
        }
        side.iter().map(|text| self.words(text.trim())).collect()
    }

    fn words(&self, text: &str) -> Result<Words, String> {
        let tokens = self.analyzer.tokens(text);
        if tokens.is_empty() {
            return Err(
                "there is nothing, or nothing that the field can be searched for, where words are to be".to_owned()
            );
        }
        let terms = by_position(&tokens);
        if terms.len() > Self::MAX_WORDS {
            return Err(format!("{} words in one; the limit is {}", terms.len(), Self::MAX_WORDS));
        }
        Ok(Words { text: text.to_owned(), terms })
    }

    /// Lets words stand for others, or among them for themselves.
    fn join(&mut self, words: &Words, others: &[Words]) -> Result<(), String> {
        let rule = self.rules.entry(words.terms.clone()).or_default();
        let before = rule.others.len();
        for other in others {
            if other.terms == words.terms {
                rule.keeps = true;
            } else if !rule.others.iter().any(|known| known.terms == other.terms) {
                rule.others.push(other.clone());
            }
        }
        if rule.others.len() > Self::MAX_ALTERNATIVES {
            return Err(format!(
                "words with more than {} synonyms, together with rules before",
                Self::MAX_ALTERNATIVES
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

/// The term at each position from the first token to the last; an empty one where the field has none of a word.
fn by_position(tokens: &[Token]) -> Vec<String> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Vec::new() };
    let mut terms = vec![String::new(); (last.position - first.position) as usize + 1];
    for token in tokens {
        terms[(token.position - first.position) as usize].clone_from(&token.text);
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

/// What stands between the arrows of a rule, and there between the commas.
fn sides(line: &str) -> Vec<Vec<String>> {
    let (mut sides, mut side, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.push(chars.next().unwrap_or(c)),
            ',' => side.push(std::mem::take(&mut word)),
            '=' if chars.next_if_eq(&'>').is_some() => {
                side.push(std::mem::take(&mut word));
                sides.push(std::mem::take(&mut side));
            }
            c => word.push(c),
        }
    }
    side.push(word);
    sides.push(side);
    sides
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::Synonyms;
    use crate::analysis::{Analyzer, Stemmer};
    use crate::{Field, MAX_CLAUSES, Operator, Query, Schema, SearchRequest};

    fn schema() -> Schema {
        let stops = Analyzer::standard().lowercase().stop_words(["of", "the", "my"]).stem(Stemmer::Porter2);
        let builder = Schema::builder().analyzer("stops", stops).field(Field::text("title").analyzed_by("stops"));
        builder.field(Field::keyword("code")).field(Field::text("kept").not_indexed()).build().unwrap()
    }

    fn parse(rules: &str) -> statehouse_core::Result<Synonyms> {
        Synonyms::parse(&schema(), "title", rules)
    }

    #[test]
    fn what_is_no_rule_is_refused_by_its_line() {
        let many = vec!["a"; 65].join(",");
        let spread: String = (0..65).map(|n| format!("a => b{n}\n")).collect();
        let long = ["word"; 9].join(" ") + ", b";
        for (rules, line) in [
            ("a, b\nc", 2),
            ("a,", 1),
            ("=> a", 1),
            ("# none\n\n a => ", 3),
            ("a => b => c", 1),
            ("a, of", 1),
            ("?, b", 1),
            (&many, 1),
            (&spread, 65),
            (&long, 1),
        ] {
            let error = parse(rules).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{rules}");
            assert!(error.message().starts_with(&format!("line {line} ")), "{rules}: {error}");
            assert_eq!(error.key(), Some("title"));
        }
        let side = |n: usize| (0..64).map(|at| format!("w{n}x{at}")).collect::<Vec<_>>().join(",");
        let pairs: String = (0..25).map(|n| format!("{}\n", side(n))).collect();
        assert!(parse(&pairs).unwrap_err().message().starts_with("line 25 "));
        let long = "a, b\n".repeat(Synonyms::MAX_BYTES / 5 + 1);
        assert_eq!(parse(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
        parse(&"a, b\n".repeat(1_000)).unwrap();
    }

    #[test]
    fn fields_that_have_no_such_words_are_refused() {
        for (field, kind) in
            [("code", ErrorKind::Unsupported), ("kept", ErrorKind::Unsupported), ("nothing", ErrorKind::InvalidInput)]
        {
            assert_eq!(Synonyms::parse(&schema(), field, "a, b").unwrap_err().kind(), kind, "{field}");
        }
    }

    #[test]
    fn a_text_is_a_query_of_its_parts() {
        let synonyms = parse("hearts attack, mi\n1\\,5 mg => dose").unwrap().with_weight(0.5);
        let query = |text: &str, operator| synonyms.matches(text, operator).unwrap();
        let all = |text: &str| Query::matches("title", text).operator(Operator::And);
        let group =
            Query::dis_max([Query::from(all("Heart attacks")), Query::matches("title", "mi").boost(0.5).into()]);
        let whole = Query::bool().must(all("an acute")).must(group).must(all("today"));
        assert_eq!(query("an acute Heart attacks, today!", Operator::And), whole.into());
        let phrase = Query::dis_max([
            Query::from(Query::matches("title", "MI")),
            Query::phrase("title", "hearts attack").boost(0.5).into(),
        ]);
        assert_eq!(query("MI", Operator::Or), Query::bool().should(phrase).into());
        // Words that the field has not are words between.
        assert_eq!(query("heart of attack", Operator::Or), Query::matches("title", "heart of attack").into());
        let held = parse("disease of the heart, cardiopathy").unwrap();
        let group =
            |typed: &str| Query::dis_max([Query::matches("title", typed), Query::matches("title", "cardiopathy")]);
        let found = held.matches("Of diseases of my hearts of", Operator::Or).unwrap();
        assert_eq!(found, Query::bool().should(group("diseases of my hearts")).into());
        assert_eq!(
            held.matches("disease heart", Operator::Or).unwrap(),
            Query::matches("title", "disease heart").into()
        );
        let replaced = Query::dis_max([Query::from(Query::matches("title", "dose").boost(0.5))]);
        assert_eq!(query("1,5 mg", Operator::Or), Query::bool().should(replaced).into());
    }

    #[test]
    fn texts_that_stand_for_too_much_are_refused() {
        let synonyms = parse(&(0..64).map(|n| format!("w{n}")).collect::<Vec<_>>().join(",")).unwrap();
        assert_eq!(synonyms.matches(&"w1".repeat(5_001), Operator::Or).unwrap_err().kind(), ErrorKind::InvalidInput);
        let few = SearchRequest::new(synonyms.matches(&"w1 ".repeat(7), Operator::Or).unwrap());
        schema().check_request(&few).unwrap();
        let many = SearchRequest::new(synonyms.matches(&"w1 ".repeat(MAX_CLAUSES / 64), Operator::Or).unwrap());
        assert_eq!(schema().check_request(&many).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
