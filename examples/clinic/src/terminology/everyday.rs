//! What people call their illnesses. `examples/data/README.md` says who wrote these lists.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use statehouse::search::analysis::Analyzer;

use super::bare_code;
use super::query::{Words, exact_key};

/// `code <tab> phrases separated by |`
const PHRASES: &str = include_str!("../../../data/everyday-names.tsv");
/// `everyday words separated by | <tab> words of ICD-10-CM separated by |`
const WORDS: &str = include_str!("../../../data/everyday-words.tsv");

/// Whether people have names for the concept with this code.
pub(super) fn has_names(code: &str) -> bool {
    phrases(code).next().is_some()
}

/// What the concept with this code is called every day.
fn phrases(code: &str) -> impl Iterator<Item = &'static str> {
    static BY_CODE: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| rows(PHRASES).collect());
    BY_CODE.get(code).into_iter().flat_map(|phrases| phrases.split('|'))
}

/// Rules by which the code of a concept is found by each word of its everyday names.
pub(super) fn words_by_code() -> String {
    rules(|phrase| words().tokens(phrase).into_iter().map(|token| token.text).collect())
}

/// Rules by which the code of a concept is found by each everyday name as a whole, as [`exact_key`] writes it.
pub(super) fn names_by_code() -> String {
    rules(|phrase| vec![exact_key(phrase)])
}

/// The analysis of names, as of everything else that is searched for words.
pub(super) fn words() -> Analyzer {
    Analyzer::standard().lowercase().ascii_folding()
}

fn rules(of: impl Fn(&str) -> Vec<String>) -> String {
    let rule = |(code, phrases): (&str, &str)| {
        let others: Vec<_> = phrases.split('|').flat_map(&of).map(|word| word.replace(',', "\\,")).collect();
        format!("{} => {}\n", bare_code(code), others.join(", "))
    };
    rows(PHRASES).map(rule).collect()
}

/// The everyday name of a concept in which most of what was typed stands, and where.
pub(super) fn found(code: &str, typed: &Words) -> Option<(&'static str, Vec<Range<usize>>)> {
    let marked = |phrase: &'static str| {
        let words = words().tokens(phrase).into_iter().filter(|word| typed.may_mean(&word.text));
        (phrase, words.map(|word| word.start..word.end).collect::<Vec<_>>())
    };
    // The last of those that are best is what `max_by_key` gives, and the first one is the most usual name.
    let best = phrases(code).map(marked).collect::<Vec<_>>().into_iter().rev().max_by_key(|(_, marks)| marks.len());
    best.filter(|(_, marks)| !marks.is_empty())
}

/// What ICD-10-CM says where people say this word.
pub(super) fn in_other_words(word: &str) -> impl Iterator<Item = &'static str> {
    static BY_WORD: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
        rows(WORDS).flat_map(|(words, others)| words.split('|').map(move |word| (word, others))).collect()
    });
    BY_WORD.get(word).into_iter().flat_map(|others| others.split('|'))
}

fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::Edition;
    use super::*;

    #[test]
    fn every_phrase_belongs_to_a_code_that_can_be_coded() {
        let editions = [Edition::April2025, Edition::April2026].into_iter();
        let concepts = editions.flat_map(Edition::concepts).filter(|concept| concept.billable);
        let codes: HashSet<_> = concepts.map(|concept| concept.code).collect();
        let unknown: Vec<_> = rows(PHRASES).filter(|(code, _)| !codes.contains(*code)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let phrases = rows(PHRASES).map(|(_, phrases)| phrases.split('|').count()).sum::<usize>();
        assert!(phrases >= 400, "{phrases}");
        assert_eq!(rows(PHRASES).count(), rows(PHRASES).map(|(code, _)| code).collect::<HashSet<_>>().len());
    }

    #[test]
    fn of_several_names_the_one_with_most_of_what_was_typed_is_shown() {
        let shown = |code: &str, typed: &str| {
            let (phrase, marks) = found(code, &Words::of(typed).unwrap())?;
            Some((phrase, marks.into_iter().map(|mark| &phrase[mark]).collect::<Vec<_>>()))
        };
        assert_eq!(shown("A08.4", "stomach b"), Some(("stomach bug", vec!["stomach", "bug"])));
        assert_eq!(shown("A08.4", "stomach "), Some(("stomach flu", vec!["stomach"])), "the first of equals");
        assert_eq!(shown("A05.9", "fodo poisning"), Some(("food poisoning", vec!["food", "poisoning"])));
        assert_eq!(shown("A05.9", "cholera"), None);
        assert_eq!(shown("A00", "cholera"), None);
    }

    #[test]
    fn lists_are_lowercase_and_have_no_empty_entries() {
        for (left, right) in rows(WORDS).chain(rows(PHRASES).map(|(_, phrases)| (phrases, phrases))) {
            for text in left.split('|').chain(right.split('|')) {
                assert_eq!(text, text.trim().to_lowercase());
                assert!(!text.is_empty(), "{left}\t{right}");
            }
        }
    }
}
