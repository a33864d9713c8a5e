//! What people call their illnesses. `examples/data/README.md` says who wrote these lists.

use std::collections::HashMap;
use std::sync::LazyLock;

/// `code <tab> phrases separated by |`
const PHRASES: &str = include_str!("../../../data/everyday-names.tsv");
/// `everyday words separated by | <tab> words of ICD-10-CM separated by |`
const WORDS: &str = include_str!("../../../data/everyday-words.tsv");

/// What the concept with this code is called every day.
pub(super) fn phrases(code: &str) -> impl Iterator<Item = &'static str> {
    static BY_CODE: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| rows(PHRASES).collect());
    BY_CODE.get(code).into_iter().flat_map(|phrases| phrases.split('|'))
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
    fn lists_are_lowercase_and_have_no_empty_entries() {
        for (left, right) in rows(WORDS).chain(rows(PHRASES).map(|(_, phrases)| (phrases, phrases))) {
            for text in left.split('|').chain(right.split('|')) {
                assert_eq!(text, text.trim().to_lowercase());
                assert!(!text.is_empty(), "{left}\t{right}");
            }
        }
    }
}
