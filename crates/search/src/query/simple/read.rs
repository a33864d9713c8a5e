//! The text as clauses: what stands where, without a look at what the fields are.

use std::ops::Range;
use std::sync::Arc;

use super::warning::{QueryWarning, QueryWarningKind};
use crate::Fuzziness;

/// The largest slop that can be typed.
const MAX_SLOP: u32 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sign {
    None,
    Required,
    Excluded,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Word,
    Beginning,
    Similar(Fuzziness),
    Phrase { slop: u32 },
}

#[derive(Debug)]
pub(super) struct Clause {
    pub(super) sign: Sign,
    /// Which of the named fields stands before it.
    pub(super) field: Option<usize>,
    pub(super) kind: Kind,
    /// What to look for, without signs.
    pub(super) text: String,
    /// Where it stands, with its field and without its sign.
    pub(super) position: Range<usize>,
}

#[derive(Debug)]
pub(super) enum Item {
    Clause(Clause),
    Or(Range<usize>),
}

/// The beginning of a text of at most so many bytes, without a word that would be cut.
pub(super) fn cut(text: &str, max_len: usize) -> &str {
    let end = floor(text, max_len);
    let Some(behind) = text[end..].chars().next() else { return text };
    let kept = &text[..end];
    if behind.is_whitespace() {
        return kept;
    }
    kept.rfind(char::is_whitespace).map_or(kept, |blank| &kept[..blank])
}

/// The last place between two characters of a text that is not behind this one.
pub(super) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

const fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\u{201C}' | '\u{201D}' | '\u{201E}')
}

/// Whether a backslash before it makes it an ordinary character.
const fn is_special(c: char) -> bool {
    matches!(c, '+' | '-' | '|' | '*' | '~' | ':' | '\\') || is_quote(c)
}

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    named: &'a [(Arc<str>, Arc<str>)],
    warnings: &'a mut Vec<QueryWarning>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(
        text: &'a str,
        named: &'a [(Arc<str>, Arc<str>)],
        warnings: &'a mut Vec<QueryWarning>,
    ) -> Self {
        Self { text, at: 0, named, warnings }
    }

    pub(super) fn items(mut self) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            self.skip(char::is_whitespace);
            if self.rest().is_empty() {
                return items;
            }
            items.extend(self.item());
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.at = self.text.len() - self.rest().trim_start_matches(skipped).len();
    }

    fn warn(&mut self, kind: QueryWarningKind, position: Range<usize>) {
        self.warnings.push(QueryWarning { position, kind });
    }

    /// What begins here, which is no blank. Reads at least one character.
    fn item(&mut self) -> Option<Item> {
        let start = self.at;
        self.skip(|c| c == '|');
        if self.at > start {
            return Some(Item::Or(start..self.at));
        }
        let sign = self.sign();
        let begin = self.at;
        let field = self.name();
        let phrase = self.phrase();
        let (kind, text) = match phrase {
            Some(phrase) => phrase,
            None => self.word()?,
        };
        let position = begin..self.at;
        if start == begin && &self.text[position.clone()] == "OR" {
            return Some(Item::Or(position));
        }
        (!text.trim().is_empty()).then_some(Item::Clause(Clause { sign, field, kind, text, position }))
    }

    fn sign(&mut self) -> Sign {
        let sign = match self.peek() {
            Some('+') => Sign::Required,
            Some('-') => Sign::Excluded,
            _ => return Sign::None,
        };
        self.at += 1;
        if self.peek().is_none_or(|next| next.is_whitespace() || next == '|') {
            self.warn(QueryWarningKind::Operator, self.at - 1..self.at);
        }
        sign
    }

    /// The named field before a colon with something behind it.
    fn name(&mut self) -> Option<usize> {
        let rest = self.rest();
        let (name, value) = rest.split_once(':')?;
        let is_name = name.starts_with(char::is_alphabetic) && name.chars().all(is_of_name);
        let found = self.named.iter().position(|(known, _)| **known == *name);
        // What is no value, as at the end of a sentence, leaves it a word, and so does an address.
        let is_address = found.is_none() && value.starts_with('/');
        if !is_name || is_address || value.is_empty() || value.starts_with(|c: char| c.is_whitespace() || c == '|') {
            return None;
        }
        match found {
            Some(_) => self.at += name.len() + 1,
            None => self.warn(QueryWarningKind::UnknownField, self.at..self.at + name.len()),
        }
        found
    }

    /// A phrase, if one begins here. Steps over a quotation mark that has no other.
    fn phrase(&mut self) -> Option<(Kind, String)> {
        let open = self.peek().filter(|c| is_quote(*c))?;
        let begin = self.at;
        self.at += open.len_utf8();
        let mut text = String::new();
        while let Some((c, escaped)) = self.next() {
            if is_quote(c) && !escaped {
                return Some((Kind::Phrase { slop: self.slop() }, text));
            }
            text.push(c);
        }
        self.at = begin + open.len_utf8();
        self.warn(QueryWarningKind::UnclosedQuote, begin..self.at);
        None
    }

    fn slop(&mut self) -> u32 {
        let Some(digits) = self.rest().strip_prefix('~') else { return 0 };
        let digits = &digits[..digits.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len()];
        if digits.is_empty() {
            return 0;
        }
        let position = self.at..self.at + 1 + digits.len();
        self.at = position.end;
        digits.parse().ok().filter(|slop| *slop <= MAX_SLOP).unwrap_or_else(|| {
            self.warn(QueryWarningKind::Fuzziness, position);
            0
        })
    }

    /// The next character, and whether a backslash makes it an ordinary one.
    fn next(&mut self) -> Option<(char, bool)> {
        let mut chars = self.rest().chars();
        let first = chars.next()?;
        let escaped = chars.next().filter(|c| first == '\\' && is_special(*c));
        self.at += first.len_utf8() + escaped.map_or(0, char::len_utf8);
        Some(escaped.map_or((first, false), |c| (c, true)))
    }

    /// A word to the next blank, quotation mark or bar. `None` if nothing is left of it.
    fn word(&mut self) -> Option<(Kind, String)> {
        let begin = self.at;
        let mut word = Vec::new();
        while self.peek().is_some_and(|c| !c.is_whitespace() && c != '|' && !is_quote(c)) {
            word.extend(self.next());
        }
        let length = word.len();
        let kind = self.suffix(&mut word);
        if word.is_empty() && length > 0 {
            self.warn(QueryWarningKind::Operator, begin..self.at);
        }
        (!word.is_empty()).then(|| (kind, word.into_iter().map(|(c, _)| c).collect()))
    }

    /// What the end of a word says of it, taken off it.
    fn suffix(&mut self, word: &mut Vec<(char, bool)>) -> Kind {
        let kept = word.iter().rposition(|c| *c != ('*', false)).map_or(0, |last| last + 1);
        if kept < word.len() {
            word.truncate(kept);
            return Kind::Beginning;
        }
        let digits = word.iter().rev().take_while(|(c, _)| c.is_ascii_digit()).count();
        let tilde = (word.len() - digits).checked_sub(1).filter(|at| word[*at] == ('~', false));
        let Some(tilde) = tilde else { return Kind::Word };
        let edits: String = word.drain(tilde..).skip(1).map(|(c, _)| c).collect();
        Kind::Similar(match edits.as_str() {
            "" => Fuzziness::Auto,
            "0" => Fuzziness::Edits(0),
            "1" => Fuzziness::Edits(1),
            "2" => Fuzziness::Edits(2),
            _ => {
                self.warn(QueryWarningKind::Fuzziness, self.at - 1 - edits.len()..self.at);
                Fuzziness::Auto
            }
        })
    }
}

/// Whether it may stand in a name before a colon.
pub(super) fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}
