//! What was typed, as a query.
//!
//! People type everyday words, in any order, with typos, and the last one unfinished. Every word must be in the concept:
//! in its title, its terms, its everyday names or its code, or there in the words of ICD-10-CM. If nothing has all of
//! them, what has most of them is shown. What is called exactly what was typed comes first.

use std::fmt;

use statehouse::search::{BoolQuery, DisMaxQuery, MinimumMatch, Operator, Query, TextField};

use super::{Concept, bare_code, everyday};

/// The most words that are looked for.
const MAX_WORDS: usize = 10;
/// Words that say nothing of what somebody has.
const FILLERS: &str = "a am an and are at been by can cant can't do for from got had has have having her his i i'm im in is it \
                       keep keeps me my of on or our she so some that the their to with your bad really very terrible awful \
                       horrible lot feel feels feeling get getting always constantly";

/// How many of the words may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    None,
    Some,
    AllButOne,
}

/// The words that were typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    words: Vec<String>,
    /// Whether the last word may go on.
    unfinished: bool,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.words.join(" "), if self.unfinished { "…" } else { "" })
    }
}

impl Words {
    pub(super) fn of(typed: &str) -> Option<Self> {
        let all: Vec<_> = split(typed).collect();
        let telling: Vec<_> = all.iter().filter(|word| !is_filler(word)).cloned().collect();
        let mut words = if telling.is_empty() { all } else { telling };
        words.truncate(MAX_WORDS);
        let unfinished = !typed.ends_with(char::is_whitespace);
        (!words.is_empty()).then_some(Self { words, unfinished })
    }

    /// What is asked for, one after another, until something is found.
    pub(super) fn steps(&self) -> &'static [Missing] {
        match self.words.len() {
            1 => &[Missing::None],
            2 => &[Missing::None, Missing::AllButOne],
            _ => &[Missing::None, Missing::Some, Missing::AllButOne],
        }
    }

    /// Whether a word of a name is one that was typed, or what somebody may have wanted to type.
    pub(super) fn may_mean(&self, word: &str) -> bool {
        let begun = self.words.last().filter(|_| self.unfinished).is_some_and(|last| word.starts_with(last.as_str()));
        begun || self.words.iter().any(|typed| typed == word || is_near(typed, word))
    }

    pub(super) fn query(&self, missing: Missing) -> BoolQuery {
        let last = self.words.len() - 1;
        let each =
            self.words.iter().enumerate().map(|(index, word)| word_anywhere(word, self.unfinished && index == last));
        let found = match missing {
            Missing::None => each.fold(Query::bool(), |query, word| query.must(word)),
            Missing::Some | Missing::AllButOne => {
                let may_miss = if missing == Missing::AllButOne { last } else { self.words.len().div_ceil(3) };
                let most = MinimumMatch::Count(i32::try_from(self.words.len() - may_miss).unwrap_or(1));
                Query::bool().must(each.fold(Query::bool(), |query, word| query.should(word)).minimum_match(most))
            }
        };
        let name = exact_key(&self.words.join(" "));
        let everyday = Concept::everyday().sub("names").matches(&*name);
        let exact = Query::constant(Query::bool().should(Concept::names().is(name)).should(everyday)).boost(40.0);
        let unspecified = Query::constant(Concept::unspecified().is(true)).boost(2.5);
        found.should(exact).should(unspecified)
    }
}

/// Whether one letter is missing, too many, another one, or two have changed places.
fn is_near(typed: &str, word: &str) -> bool {
    let (a, b): (Vec<_>, Vec<_>) = (typed.chars().collect(), word.chars().collect());
    let least = a.len().min(b.len());
    let before = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let behind = a.iter().rev().zip(b.iter().rev()).take(least - before).take_while(|(a, b)| a == b).count();
    let apart = |word: &[char]| word[before..word.len() - behind].to_vec();
    match (&apart(&a)[..], &apart(&b)[..]) {
        _ if least < 3 => false,
        ([a, b], [c, d]) => (a, b) == (d, c),
        (a, b) => a.len() <= 1 && b.len() <= 1,
    }
}

/// A word in lowercase without the punctuation around it. A hyphen parts two words, a dot in a code does not.
fn split(text: &str) -> impl Iterator<Item = String> {
    let apart = |letter: char| letter.is_whitespace() || matches!(letter, '-' | '/' | ',' | ';' | '(' | ')' | '"');
    let words = text.split(apart).map(|word| word.trim_matches(|letter: char| !letter.is_alphanumeric()));
    words.filter(|word| !word.is_empty()).map(|word| word.to_lowercase().replace('’', "'"))
}

fn is_filler(word: &str) -> bool {
    FILLERS.split(' ').any(|filler| filler == word)
}

/// A name, however it is written: its telling words in the order of the alphabet.
pub(super) fn exact_key(name: &str) -> String {
    const SAY_NOTHING: [&str; 3] = ["unspecified", "nos", "other"];
    let telling = |word: &String| !SAY_NOTHING.contains(&word.as_str()) && !is_filler(word);
    let mut words: Vec<_> = split(name).filter(telling).map(|word| word.replace('\'', "")).collect();
    words.sort_unstable();
    words.dedup();
    words.join(" ")
}

fn word_anywhere(word: &str, unfinished: bool) -> DisMaxQuery {
    let mut ways: Vec<Query> = vec![
        word_in(&Concept::title(), word, unfinished).boost(2.0).into(),
        word_in(&Concept::terms(), word, unfinished).into(),
        word_in(&Concept::everyday(), word, unfinished).boost(2.5).into(),
    ];
    if word.len() > 1 {
        let code = bare_code(word);
        ways.push(Concept::bare_code().is(&code).boost(20.0).into());
        ways.push(Concept::bare_code().prefix(&code).boost(4.0).into());
    }
    for other in everyday::in_other_words(word) {
        ways.push(Concept::title().matches(other).operator(Operator::And).boost(1.5).into());
        ways.push(Concept::terms().matches(other).operator(Operator::And).boost(0.8).into());
    }
    Query::dis_max(ways)
}

/// A whole word counts as BM25 says, the beginning of one a fixed little, and one with typos less than without. In a
/// long word the typo may be in its first letter.
fn word_in(field: &TextField, word: &str, unfinished: bool) -> DisMaxQuery {
    let right = if word.chars().count() < 6 { 1 } else { 0 };
    let mut ways: Vec<Query> = vec![
        field.matches(word).operator(Operator::And).into(),
        field.matches(word).operator(Operator::And).fuzzy().prefix_length(right).boost(0.3).into(),
    ];
    if unfinished {
        ways.push(field.matches_prefix(word).operator(Operator::And).into());
    }
    Query::dis_max(ways)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_make_a_query() {
        assert!(Words::of("").is_none() && Words::of("  ").is_none() && Words::of("- , ").is_none());
        assert_eq!(Words::of("a b").unwrap().words, ["b"]);
        assert_eq!(Words::of("in the").unwrap().words, ["in", "the"], "better than nothing");
        assert_eq!(Words::of(&"word ".repeat(50)).unwrap().words.len(), MAX_WORDS);
        let words = Words::of("Pain in my LOWER-back, e11.9!").unwrap();
        assert_eq!(words.words, ["pain", "lower", "back", "e11.9"]);
        assert!(words.unfinished && !Words::of("pain ").unwrap().unfinished);
        assert_eq!(words.query(Missing::None).must.len(), 4);
    }

    #[test]
    fn a_name_is_the_same_however_it_is_written() {
        assert_eq!(exact_key("Migraine, unspecified"), "migraine");
        assert_eq!(exact_key("Attack of the heart"), exact_key("heart attack"));
        assert_eq!(exact_key("Crohn's disease"), exact_key("crohns disease"));
    }
}
