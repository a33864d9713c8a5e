//! Words that a document is found by besides its own: rules that are part of an analyzer, for single words.
//!
//! How rules are written down is said here, too, for those that are part of a query.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The terms that the steps before the rules make of a text.
type Steps<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// Rules by which a word of a document also stands for others; see [`Analyzer::synonyms`](super::Analyzer::synonyms).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SynonymRules {
    /// What stands in the index in place of a term, in order: the term itself, if it stays, and its synonyms.
    terms: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// A word for each term that analysis would change once more, as the stem of a word.
    words: BTreeMap<Arc<str>, Arc<str>>,
    /// The first rule that is none.
    #[serde(skip)]
    wrong: Option<String>,
}

impl SynonymRules {
    /// How long rules may be in all, in bytes: 256 KiB. They are stored with the index.
    pub const MAX_BYTES: usize = 1 << 18;
    /// How many words a rule may have on each side, and how many synonyms a word may have by all of them.
    pub const MAX_ALTERNATIVES: usize = 64;
    /// How long a word may be, in bytes.
    pub const MAX_TEXT: usize = 512;
    /// How many pairs of a word and what stands for it there may be in all.
    pub const MAX_PAIRS: usize = 20_000;

    /// The rules for what the steps before them make of words.
    pub(super) fn parse(before: Steps<'_>, rules: &str) -> Self {
        let mut parsed = Self::default();
        if rules.len() > Self::MAX_BYTES {
            let message = format!("synonyms of {} bytes; the limit is {}", rules.len(), Self::MAX_BYTES);
            return Self { wrong: Some(message), ..parsed };
        }
        let mut pairs = 0;
        for (at, line) in lines(rules) {
            if let Err(what) = parsed.add(before, line, &mut pairs) {
                parsed.wrong = Some(format!("line {at} of the synonyms: {what}"));
                return parsed;
            }
        }
        parsed
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// What stands in the index for a term, if a rule says so.
    pub(crate) fn of(&self, term: &str) -> Option<&BTreeSet<Arc<str>>> {
        self.terms.get(term)
    }

    /// Each word that has a rule, and the words that stand for it: analysis makes their terms of them.
    #[cfg_attr(not(any(feature = "opensearch", test)), expect(dead_code, reason = "only a server is told of them"))]
    pub(crate) fn words(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.terms.iter().map(|(term, others)| (self.word(term), others.iter().map(|other| self.word(other)).collect()))
    }

    /// What is wrong with them, in a phrase.
    pub(super) fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    fn word<'a>(&'a self, term: &'a str) -> &'a str {
        self.words.get(term).map_or(term, |word| word)
    }

    fn add(&mut self, before: Steps<'_>, line: &str, pairs: &mut usize) -> Result<(), String> {
        let (left, right) = rule(line, Self::MAX_ALTERNATIVES)?;
        let mut terms = |side: Vec<String>| -> Result<Vec<Arc<str>>, String> {
            side.iter().map(|text| self.term(before, text)).collect()
        };
        let left = terms(left)?;
        let right = right.map(terms).transpose()?;
        for term in &left {
            let others = self.terms.entry(Arc::clone(term)).or_default();
            let known = others.len();
            others.extend(right.as_ref().unwrap_or(&left).iter().cloned());
            *pairs += others.len() - known;
            if others.len() > Self::MAX_ALTERNATIVES {
                let most = Self::MAX_ALTERNATIVES;
                return Err(format!("a word with more than {most} synonyms, together with rules before"));
            }
        }
        if *pairs > Self::MAX_PAIRS {
            return Err(format!("more than {} pairs of a word and a synonym", Self::MAX_PAIRS));
        }
        Ok(())
    }

    /// The one term that the steps before make of a word.
    fn term(&mut self, before: Steps<'_>, word: &str) -> Result<Arc<str>, String> {
        if word.len() > Self::MAX_TEXT {
            return Err(format!("{} bytes in one; the limit is {}", word.len(), Self::MAX_TEXT));
        }
        if word.contains(char::is_control) {
            return Err("a word with a control character".to_owned());
        }
        let one = |text: &str| match &before(text)[..] {
            [only] if !only.is_empty() => Ok(Arc::<str>::from(only.as_str())),
            [] | [_] => Err("there is nothing, or nothing that the field has, where a word is to be".to_owned()),
            several => Err(format!(
                "{} words in one: an index holds synonyms of single words only; those of several are part of a query, see \
                 `Synonyms`",
                several.len()
            )),
        };
        let term = one(word)?;
        if one(&term).as_ref() != Ok(&term) {
            // The same one, whichever rule comes first.
            let known = self.words.entry(Arc::clone(&term)).or_insert_with(|| word.into());
            if word < &**known {
                *known = word.into();
            }
        }
        Ok(term)
    }
}

/// The lines of rules that say something, with their numbers.
pub(crate) fn lines(rules: &str) -> impl Iterator<Item = (usize, &str)> {
    // Some editors begin a file with a mark of its encoding.
    let lines = rules.trim_start_matches('\u{FEFF}').lines().map(str::trim);
    (1..).zip(lines).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// What stands before the arrow of a rule and behind it, or the words of one without an arrow.
pub(crate) fn rule(line: &str, most: usize) -> Result<(Vec<String>, Option<Vec<String>>), String> {
    let mut sides = sides(line).into_iter();
    let (left, right) = (sides.next().unwrap_or_default(), sides.next());
    if sides.next().is_some() {
        return Err("a rule has one arrow at most".to_owned());
    }
    if right.is_none() && left.len() < 2 {
        return Err("a rule without an arrow has at least two that mean the same".to_owned());
    }
    let widest = left.len().max(right.as_ref().map_or(0, Vec::len));
    if widest > most {
        return Err(format!("{widest} that mean the same; the limit is {most}"));
    }
    Ok((left, right))
}

/// What stands between the arrows of a rule, and there between the commas.
fn sides(line: &str) -> Vec<Vec<String>> {
    let (mut sides, mut side, mut word) = (Vec::new(), Vec::new(), String::new());
    let push = |side: &mut Vec<String>, word: &mut String| {
        side.push(word.trim().to_owned());
        word.clear();
    };
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.push(chars.next().unwrap_or(c)),
            ',' => push(&mut side, &mut word),
            '=' if chars.next_if_eq(&'>').is_some() => {
                push(&mut side, &mut word);
                sides.push(std::mem::take(&mut side));
            }
            c => word.push(c),
        }
    }
    push(&mut side, &mut word);
    sides.push(side);
    sides
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;
    use crate::analysis::{Analyzer, Stemmer};
    use crate::{Field, Schema};

    fn schema(analyzer: Analyzer) -> statehouse_core::Result<Schema> {
        let field = Field::text("title").analyzed_by("worded").searched_by(Analyzer::STANDARD);
        Schema::builder().analyzer("worded", analyzer).field(field).build()
    }

    fn of(rules: &str) -> Analyzer {
        Analyzer::standard().lowercase().synonyms(rules)
    }

    fn terms(analyzer: &Analyzer, text: &str) -> Vec<(String, u32, std::ops::Range<usize>)> {
        analyzer.tokens(text).into_iter().map(|token| (token.text, token.position, token.start..token.end)).collect()
    }

    #[test]
    fn a_word_has_its_synonyms_at_its_place() {
        let analyzer = of("car, automobile\n tumor => tumour, growth\n acute => acute, sudden");
        let expected = [("automobile", 0, 0..3), ("car", 0, 0..3), ("acute", 1, 4..9), ("sudden", 1, 4..9)];
        let expected = expected.map(|(text, at, bytes)| (text.to_owned(), at, bytes));
        assert_eq!(terms(&analyzer, "Car acute"), expected);
        let texts = |text: &str| terms(&analyzer, text).into_iter().map(|(text, ..)| text).collect::<Vec<_>>();
        assert_eq!(texts("tumor"), ["growth", "tumour"], "in place of it");
        assert_eq!(texts("tumour sudden x"), ["tumour", "sudden", "x"], "the other way round it says nothing");
    }

    /// What comes behind the rules is done to each, and what becomes the same is there once.
    #[test]
    fn filters_behind_the_rules_apply_to_synonyms() {
        let rules = "attack, attacks, infarct\nbig => the, large";
        let analyzer = of(rules).stop_words(["the"]).stem(Stemmer::Porter2);
        let texts = |analyzer: &Analyzer, text: &str| {
            terms(analyzer, text).into_iter().map(|(text, at, _)| format!("{text}{at}")).collect::<Vec<_>>()
        };
        assert_eq!(texts(&analyzer, "big attacks"), ["larg0", "attack1", "infarct1"]);
        let begun = of("ab, abc, bc").edge_ngram(1, 2);
        assert_eq!(texts(&begun, "abc x"), ["a0", "ab0", "b0", "bc0", "x1"]);
        let whole = Analyzer::whole().lowercase().synonyms("Heart Attack, MI");
        assert_eq!(texts(&whole, "heart ATTACK"), ["heart attack0", "mi0"]);
    }

    /// A stem is no word whose stem it is.
    #[test]
    fn rules_behind_a_stemmer_are_of_stems() {
        let analyzer = Analyzer::standard().lowercase().stem(Stemmer::Porter2).synonyms("University, college");
        let found = terms(&analyzer, "universities").into_iter().map(|(text, ..)| text).collect::<Vec<_>>();
        assert_eq!(found, ["colleg", "univers"]);
        let Some(crate::analysis::TokenFilter::Synonyms(rules)) = analyzer.filters().last() else { panic!() };
        let words: Vec<_> = rules.words().collect();
        assert_eq!(words, [("colleg", vec!["colleg", "University"]), ("University", vec!["colleg", "University"])]);
    }

    #[test]
    fn neither_order_nor_spelling_nor_comments_make_other_rules() {
        let same =
            ["a, b\nc => d, e", "# x\n\nc => e, d\n B,a \n a , b", "\u{FEFF}c => d\nc => e\na => b, a\nb => a, b"];
        for rules in same {
            assert_eq!(of(rules), of(same[0]), "{rules}");
        }
        assert_ne!(of("a, b"), of("a => b"));
        let stored = serde_json::to_string(&of(same[0])).unwrap();
        assert_eq!(serde_json::from_str::<Analyzer>(&stored).unwrap(), of(same[0]));
    }

    #[test]
    fn what_is_no_rule_of_single_words_is_refused_by_its_line() {
        let many = vec!["a"; 65].join(",");
        let spread: String = (0..65).map(|n| format!("a => b{n}\n")).collect();
        let wide = "w".repeat(513) + ", b";
        let side = |n: usize| (0..64).map(|at| format!("w{n}x{at}")).collect::<Vec<_>>().join(",");
        let pairs: String = (0..5).map(|n| format!("{}\n", side(n))).collect();
        for (rules, line, what) in [
            ("a, b\nc", 2, "at least two"),
            ("a,", 1, "nothing"),
            ("# none\n\n a => ", 3, "nothing"),
            ("a => b => c", 1, "one arrow"),
            ("?, b", 1, "nothing"),
            ("a\u{7}, b", 1, "control"),
            ("x, y\nheart attack, mi", 2, "several are part of a query"),
            ("mi => heart attack", 1, "2 words in one"),
            (&many, 1, "limit is 64"),
            (&spread, 65, "more than 64"),
            (&wide, 1, "limit is 512"),
            (&pairs, 5, "pairs"),
        ] {
            let error = schema(of(rules)).unwrap_err();
            assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("worded")), "{rules}");
            assert!(error.message().starts_with(&format!("line {line} of the synonyms")), "{rules}: {error}");
            assert!(error.message().contains(what), "{rules}: {error}");
        }
        let long = "a, b\n".repeat(SynonymRules::MAX_BYTES / 5 + 1);
        assert!(schema(of(&long)).unwrap_err().message().contains("limit"));
        schema(of(&"a, b\n".repeat(1_000))).unwrap();
        schema(of("# nothing")).unwrap();
    }

    #[test]
    fn where_rules_cannot_stand_is_refused() {
        let stop = Analyzer::standard().lowercase().stop_words(["the"]);
        for (analyzer, what) in [
            (stop.clone().synonyms("a, b"), "before stop words"),
            (of("a, b").synonyms("c, d"), "once"),
            (stop.edge_ngram(1, 2).synonyms("a, b"), "last"),
        ] {
            let error = schema(analyzer).unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(what), "{error}");
        }
        // Queries have one word at each place.
        let builder = Schema::builder().analyzer("worded", of("a, b"));
        let error = builder.field(Field::text("title").analyzed_by("worded")).build().unwrap_err();
        assert!(error.message().contains("searched_by"), "{error}");
    }
}
