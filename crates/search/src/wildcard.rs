//! Patterns of terms with `*` and `?`, as Lucene's `WildcardQuery` reads them.
//!
//! A pattern is matched as sets of places in it, one bit each, so that a term takes time by its length alone. A server
//! makes a deterministic automaton of it, which can be too large; that is found out beforehand, in the same way.

use std::collections::{BTreeMap, HashSet};

use statehouse_core::{Error, Result};

use crate::limits::{MAX_PATTERN, MAX_PATTERN_ASTERISKS, at_most};
use crate::{Field, Schema};

/// How many steps of an automaton are tried, and of how many places its states may be made in all. Lucene gives up at
/// 100,000 places (`Operations.determinize` with its limit of 10,000), and may count each asterisk once more.
const MAX_STEPS: usize = 8_000;
const MAX_PLACES: usize = 20_000;

/// Places in a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Places([u64; 4]);

impl Places {
    const fn set(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    #[cfg(any(feature = "opensearch", feature = "tantivy"))]
    const fn has(self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// Each place as the one behind it.
    fn next(self) -> Self {
        let carried = |word: usize| if word == 0 { 0 } else { self.0[word - 1] >> 63 };
        Self(std::array::from_fn(|word| self.0[word] << 1 | carried(word)))
    }

    fn count(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// A pattern behind the field's steps for single terms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// What every term begins with.
    prefix: String,
    /// The characters and question marks behind that.
    length: usize,
    /// The places that each character leads on from.
    characters: BTreeMap<char, Places>,
    /// Those that any character does.
    any: Places,
    /// Those at which an asterisk stands.
    many: Places,
    /// As Lucene takes it, every character behind a backslash.
    escaped: String,
}

impl Pattern {
    /// The pattern of a query. A backslash makes the character behind it an ordinary one.
    ///
    /// # Errors
    /// `InvalidInput` if it is too long, has too many asterisks, or both signs in a way that takes too much work.
    pub(crate) fn of(schema: &Schema, field: &Field, text: &str) -> Result<Self> {
        let mut builder = Builder::default();
        let mut chars = text.chars();
        let mut literal = String::new();
        while let Some(c) = chars.next() {
            match c {
                '*' | '?' => {
                    builder.literal(&schema.normalized(field, &std::mem::take(&mut literal)));
                    builder.sign(c);
                }
                '\\' => literal.push(chars.next().unwrap_or('\\')),
                c => literal.push(c),
            }
        }
        builder.literal(&schema.normalized(field, &literal));
        builder.pattern()
    }

    /// What the server takes.
    #[cfg(feature = "opensearch")]
    pub(crate) fn escaped(&self) -> &str {
        &self.escaped
    }

    /// What every term that fits begins with.
    #[cfg(feature = "tantivy")]
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether a term fits.
    #[cfg(any(feature = "opensearch", feature = "tantivy"))]
    pub(crate) fn fits(&self, term: &str) -> bool {
        let Some(rest) = term.strip_prefix(self.prefix.as_str()) else { return false };
        let mut places = Self::start();
        for c in rest.chars() {
            places = self.step(places, self.characters.get(&c).copied().unwrap_or_default());
            if places == Places::default() {
                return false;
            }
        }
        places.has(self.length)
    }

    fn start() -> Places {
        let mut places = Places::default();
        places.set(0);
        places
    }

    /// The places behind one more character.
    fn step(&self, places: Places, of_character: Places) -> Places {
        places.and(of_character.or(self.any)).next().or(places.and(self.many))
    }

    /// Whether the server can make an automaton of it.
    fn is_simple(&self) -> bool {
        let characters: Vec<_> = self.characters.values().copied().chain([Places::default()]).collect();
        let (mut known, mut left) = (HashSet::from([Self::start()]), vec![Self::start()]);
        let (mut steps, mut places) = (0, 0);
        while let Some(state) = left.pop() {
            steps += characters.len();
            places += state.count();
            if steps > MAX_STEPS || places > MAX_PLACES {
                return false;
            }
            let next = characters.iter().map(|character| self.step(state, *character));
            left.extend(next.filter(|next| known.insert(*next)));
        }
        true
    }
}

#[derive(Default)]
struct Builder {
    prefix: String,
    /// Characters; `None` for any one.
    steps: Vec<Option<char>>,
    /// Before how many of those an asterisk stands.
    asterisks: Vec<usize>,
    escaped: String,
}

impl Builder {
    fn literal(&mut self, text: &str) {
        for c in text.chars() {
            self.escaped.extend(['\\', c]);
            if self.steps.is_empty() && self.asterisks.is_empty() {
                self.prefix.push(c);
            } else {
                self.steps.push(Some(c));
            }
        }
    }

    /// Several asterisks are one.
    fn sign(&mut self, sign: char) {
        if sign == '?' {
            self.steps.push(None);
        } else if self.asterisks.last() != Some(&self.steps.len()) {
            self.asterisks.push(self.steps.len());
        } else {
            return;
        }
        self.escaped.push(sign);
    }

    fn pattern(self) -> Result<Pattern> {
        let length = self.prefix.chars().count() + self.steps.len();
        at_most("characters in a wildcard pattern", length, MAX_PATTERN)?;
        at_most("asterisks in a wildcard pattern", self.asterisks.len(), MAX_PATTERN_ASTERISKS)?;
        let (length, mut characters) = (self.steps.len(), BTreeMap::<char, Places>::new());
        let (mut any, mut many) = (Places::default(), Places::default());
        for (place, step) in self.steps.into_iter().enumerate() {
            step.map_or(&mut any, |c| characters.entry(c).or_default()).set(place);
        }
        self.asterisks.into_iter().for_each(|place| many.set(place));
        let pattern = Pattern { prefix: self.prefix, length, characters, any, many, escaped: self.escaped };
        if many == Places::default() || pattern.is_simple() {
            return Ok(pattern);
        }
        Err(Error::invalid_input("the wildcard pattern has too many question marks and characters behind asterisks"))
    }
}

#[cfg(all(test, feature = "opensearch", feature = "tantivy"))]
mod tests {
    use super::*;
    use crate::analysis::Normalizer;

    fn schema() -> Schema {
        let folded = Normalizer::default().lowercase().ascii_folding();
        Schema::builder()
            .field(Field::keyword("as_is"))
            .field(Field::keyword("code").normalized(folded))
            .build()
            .unwrap()
    }

    fn pattern(field: &str, text: &str) -> Result<Pattern> {
        let schema = schema();
        Pattern::of(&schema, schema.field(field).unwrap(), text)
    }

    /// By trying, as anybody would write it first.
    fn fits(pattern: &[char], term: &[char]) -> bool {
        match pattern {
            [] => term.is_empty(),
            ['*', rest @ ..] => (0..=term.len()).any(|at| fits(rest, &term[at..])),
            ['\\', c, rest @ ..] => term.first() == Some(c) && fits(rest, &term[1..]),
            [c, rest @ ..] => !term.is_empty() && (*c == '?' || term[0] == *c) && fits(rest, &term[1..]),
        }
    }

    #[test]
    fn patterns_fit_what_they_say() {
        let mut state = 7_u64;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::from(state.to_be_bytes()[0]) % end
        };
        let mut fit = 0;
        for _ in 0..20_000 {
            let text: String = (0..below(8)).map(|_| ["a", "b", "\u{E9}", "*", "?", "\\*", "*a"][below(7)]).collect();
            let term: String = (0..below(9)).map(|_| ['a', 'b', '\u{E9}', '*'][below(4)]).collect();
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = fits(&letters(&text), &letters(&term));
            assert_eq!(pattern("as_is", &text).unwrap().fits(&term), expected, "{text:?} {term:?}");
            fit += usize::from(expected);
        }
        assert!(fit > 1_000, "{fit}");
        let long = format!("*{}", "ab".repeat(127));
        assert!(pattern("as_is", &long).unwrap().fits(&format!("aab{}", "ab".repeat(127))));
    }

    /// What the steps of a field make of a character is never a sign.
    #[test]
    fn only_what_stands_between_the_signs_is_normalized() {
        let found = pattern("code", "\u{C4}b*\\?\u{FF0A}C\\").unwrap();
        assert_eq!(found.escaped(), "\\a\\b*\\?\\*\\c\\\\");
        assert_eq!((found.prefix(), found.fits("abx?*c\\"), found.fits("ab?xc\\")), ("ab", true, false));
        assert_eq!(pattern("code", "a***b").unwrap(), pattern("code", "A*B").unwrap());
    }

    #[test]
    fn what_takes_too_much_work_is_refused() {
        let error = |text: &str| pattern("code", text).unwrap_err().message().to_owned();
        assert!(error(&"a".repeat(256)).contains("limit is 255"));
        assert!(error(&"\u{FB03}".repeat(100)).contains("has 300 characters"), "counted behind the field's steps");
        assert!(error(&"*a".repeat(17)).contains("limit is 16"));
        let hard = |marks: usize| format!("*a{}b", "?".repeat(marks));
        assert!(pattern("code", &hard(9)).is_ok());
        assert!(error(&hard(16)).contains("too many question marks"));
        for fine in ["*".to_owned(), "a".repeat(255), "*ab".repeat(16), format!("*{}", "a".repeat(99))] {
            assert!(pattern("code", &fine).is_ok(), "{fine}");
        }
    }
}
