//! Words as Lucene's `StandardTokenizer` finds them: the longest match at each place, within 255 UTF-16 units.
//!
//! The grammar is UAX#29 for Unicode 12.1 with Lucene's own rules for emoji, South East Asian runs and ideographs.

use std::ops::Range;
use std::sync::LazyLock;

use super::word_break::{
    DOUBLE_QUOTE, EMOJI, EXTEND, HEBREW, IDEOGRAPH, JOINER, KATAKANA, LETTER, MID_LETTER, MID_NUMBER, MODIFIER, NUMBER,
    RANGES, REGIONAL, SINGLE_QUOTE, SOUTH_EAST, ZWJ,
};

/// The size of Lucene's scanner buffer, which no token outgrows.
const WINDOW: usize = 255;

const TEXT_STYLE: char = '\u{FE0E}';
const EMOJI_STYLE: char = '\u{FE0F}';
const KEYCAP: char = '\u{20E3}';
const TAG_END: char = '\u{E007F}';

/// The classes of every code point: blocks of 256, each distinct block once.
struct Classes {
    blocks: Vec<u16>,
    classes: Vec<[u16; 256]>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(|| {
    let mut classes = vec![[0; 256]];
    let mut blocks = vec![0; 0x1100];
    for &(first, last, class) in RANGES {
        for code in first..=last {
            let block = &mut blocks[code as usize >> 8];
            if *block == 0 {
                *block = u16::try_from(classes.len()).unwrap_or(u16::MAX);
                classes.push([0; 256]);
            }
            classes[usize::from(*block)][code as usize & 0xFF] = class;
        }
    }
    Classes { blocks, classes }
});

fn class_of(c: char) -> u16 {
    let (code, table) = (c as usize, &*CLASSES);
    table.classes[usize::from(table.blocks[code >> 8])][code & 0xFF]
}

/// The first word at or behind a byte of the text.
pub(super) fn next_word(text: &str, mut from: usize) -> Option<Range<usize>> {
    loop {
        let c = text.get(from..)?.chars().next()?;
        if let Some(end) = word_end(text, from, class_of(c)) {
            return Some(from..end);
        }
        from += c.len_utf8();
    }
}

/// Where the longest word that begins here ends.
fn word_end(text: &str, from: usize, class: u16) -> Option<usize> {
    let cursor = Cursor { text, at: from, units: 0 };
    let mut longest = None;
    let mut offer = |end: Option<usize>| longest = longest.max(end);
    if class & (LETTER | NUMBER | KATAKANA | JOINER) != 0 {
        offer(alphanumeric(cursor));
    }
    if class & (EMOJI | MODIFIER | ZWJ) != 0 {
        offer(emoji(cursor));
    }
    if class & SOUTH_EAST != 0 {
        offer(run_of(cursor, SOUTH_EAST, usize::MAX));
    }
    if class & IDEOGRAPH != 0 {
        offer(run_of(cursor, IDEOGRAPH, 1));
    }
    if class & REGIONAL != 0 {
        offer(flag(cursor));
    }
    if matches!(text.as_bytes()[from], b'#' | b'*' | b'0'..=b'9') {
        offer(keycap(cursor));
    }
    longest
}

/// A place in the text and how many UTF-16 units of the window are used.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    units: usize,
}

impl Cursor<'_> {
    /// The next character within the window, and its classes.
    fn peek(self) -> Option<(char, u16)> {
        let c = self.text[self.at..].chars().next().filter(|c| self.units + c.len_utf16() <= WINDOW)?;
        Some((c, class_of(c)))
    }

    const fn skip(&mut self, c: char) {
        self.at += c.len_utf8();
        self.units += c.len_utf16();
    }

    fn skip_if(&mut self, wanted: impl Fn(char, u16) -> bool) -> bool {
        let found = self.peek().filter(|(c, class)| wanted(*c, *class));
        if let Some((c, _)) = found {
            self.skip(c);
        }
        found.is_some()
    }

    /// One character of a class, with the marks and format characters that follow it.
    fn skip_class(&mut self, wanted: u16) -> bool {
        let found = self.skip_if(|_, class| class & wanted != 0);
        if found {
            while self.skip_if(|_, class| class & EXTEND != 0) {}
        }
        found
    }

    /// The marks and format characters here, without the selectors of text and emoji style. Says whether the last one
    /// was a zero-width joiner.
    fn skip_marks(&mut self) -> bool {
        let mut joined = false;
        while let Some((c, class)) = self.peek()
            && class & EXTEND != 0
            && !matches!(c, TEXT_STYLE | EMOJI_STYLE)
        {
            joined = class & ZWJ != 0;
            self.skip(c);
        }
        joined
    }

    /// ASCII letters or digits in a row, which is most of most text.
    fn skip_ascii(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let run = rest.iter().take(WINDOW - self.units).take_while(|b| b.is_ascii_alphanumeric()).count();
        // The last one is left: what follows it may belong to it.
        self.at += run.saturating_sub(1);
        self.units += run.saturating_sub(1);
    }
}

/// What the word scanned so far ends with, which decides what may follow.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    /// Nothing but joiners such as `_`: not yet a word.
    Start,
    Joiner,
    Katakana,
    Number,
    Letter,
    /// A Hebrew letter, which a quotation mark may follow.
    Hebrew,
    /// A Hebrew letter with its quotation mark.
    HebrewQuoted,
}

/// Letters, digits and Katakana: UAX#29 WB5 to WB13b.
fn alphanumeric(mut cursor: Cursor<'_>) -> Option<usize> {
    let (mut last, mut end) = (Last::Start, None);
    loop {
        if last != Last::Katakana {
            cursor.skip_ascii();
        }
        let Some((_, class)) = cursor.peek() else { return end };
        let next = if class & JOINER != 0 {
            if last == Last::Start { Last::Start } else { Last::Joiner }
        } else if class & KATAKANA != 0 && matches!(last, Last::Start | Last::Joiner | Last::Katakana) {
            Last::Katakana
        } else if class & NUMBER != 0 && last != Last::Katakana {
            Last::Number
        } else if class & LETTER != 0 && last != Last::Katakana {
            if class & HEBREW != 0 { Last::Hebrew } else { Last::Letter }
        } else if let Some((behind, next)) = across_punctuation(cursor, last) {
            cursor = behind;
            end = Some(cursor.at);
            last = next;
            continue;
        } else {
            return end;
        };
        cursor.skip_class(class);
        last = next;
        if last != Last::Start {
            end = Some(cursor.at);
        }
    }
}

/// Punctuation that is part of the word because of what stands on both sides of it.
fn across_punctuation(cursor: Cursor<'_>, last: Last) -> Option<(Cursor<'_>, Last)> {
    let across = |mark: u16, class: u16| {
        let mut behind = cursor;
        (behind.skip_class(mark) && behind.skip_class(class)).then_some(behind)
    };
    let letters = |last| across(MID_LETTER, LETTER).map(|behind| (behind, last));
    match last {
        Last::Number => across(MID_NUMBER, NUMBER).map(|behind| (behind, Last::Number)),
        Last::Letter => letters(Last::Letter),
        Last::Hebrew => letters(Last::Letter).or_else(|| {
            let mut quoted = cursor;
            let behind = if quoted.skip_class(SINGLE_QUOTE) { Some(quoted) } else { across(DOUBLE_QUOTE, HEBREW) };
            behind.map(|behind| (behind, Last::HebrewQuoted))
        }),
        _ => None,
    }
}

fn run_of(mut cursor: Cursor<'_>, class: u16, most: usize) -> Option<usize> {
    let from = cursor.at;
    for _ in 0..most {
        if !cursor.skip_class(class) {
            break;
        }
    }
    (cursor.at > from).then_some(cursor.at)
}

/// Two regional indicators.
fn flag(mut cursor: Cursor<'_>) -> Option<usize> {
    (cursor.skip_class(REGIONAL) && cursor.skip_class(REGIONAL)).then_some(cursor.at)
}

/// A digit, `#` or `*` in a key.
fn keycap(mut cursor: Cursor<'_>) -> Option<usize> {
    cursor.skip_if(|_, _| true);
    let mut end = None;
    // The marks before the key may include a key themselves, so every one of them is tried.
    while let Some((c, class)) = cursor.peek() {
        let key = c == KEYCAP;
        if !key && (class & EXTEND == 0 || matches!(c, TEXT_STYLE | EMOJI_STYLE)) {
            break;
        }
        cursor.skip(c);
        if key {
            end = Some(cursor.at);
        }
    }
    if cursor.skip_if(|c, _| c == EMOJI_STYLE) && cursor.skip_if(|c, _| c == KEYCAP) {
        cursor.skip_marks();
        return Some(cursor.at);
    }
    end.map(|_| cursor.at)
}

/// An emoji with its variants: styles, skin tones, tags, and others joined to it.
fn emoji(mut cursor: Cursor<'_>) -> Option<usize> {
    let mut joiners = false;
    while cursor.skip_if(|_, class| class & ZWJ != 0) {
        joiners = true;
    }
    let core = if joiners { EMOJI } else { EMOJI | MODIFIER };
    let mut first = true;
    let mut end = None;
    let mut styled = cursor.peek().is_some_and(|(_, class)| class & EMOJI != 0);
    if !cursor.skip_if(|_, class| class & core != 0) {
        return None;
    }
    loop {
        let mut joined = cursor.skip_marks();
        end = end.max(Some(cursor.at));
        if styled && cursor.skip_if(|c, _| c == EMOJI_STYLE) {
            end = Some(cursor.at);
            if first && let Some(tagged) = tags(cursor) {
                return Some(tagged);
            }
            joined = false;
            while cursor.skip_if(|_, class| class & ZWJ != 0) {
                joined = true;
            }
        }
        styled = cursor.peek().is_some_and(|(_, class)| class & EMOJI != 0);
        first = false;
        if !joined || !cursor.skip_if(|_, class| class & (EMOJI | MODIFIER) != 0) {
            return end;
        }
    }
}

/// A tag sequence, as in the flags of Scotland and Wales.
fn tags(mut cursor: Cursor<'_>) -> Option<usize> {
    let mut any = false;
    while cursor.skip_if(|c, _| matches!(c, '\u{E0020}'..='\u{E007E}')) {
        any = true;
    }
    (any && cursor.skip_if(|c, _| c == TAG_END)).then_some(cursor.at)
}
