//! Phrases whose last word is only begun.

use statehouse_search::Query;

use super::draw::{Kind, beginning, found, marked};

/// As many as a request may have beside a short text, and more than there are that begin with two letters.
const ALL_TERMS: u32 = 1_000;

pub(super) const KINDS: &[(&str, Kind)] = &[
    ("phrase prefix", |r, w| {
        let n = 2 + r.below(2);
        let run = w.run(r, n);
        let least = run.chars().count() - 2;
        marked(Query::phrase_prefix("title", beginning(&run, r, least)).max_expansions(ALL_TERMS))
    }),
    ("phrase prefix of unstemmed words", |r, w| {
        let (n, field) = (1 + r.below(4), ["title.plain", "terms", "title.start"][r.below(3)]);
        let run = w.run(r, n);
        // Up to the first letter of the last word at least.
        let last = run.split(' ').next_back().map_or(0, |word| word.chars().count());
        let text = beginning(&run, r, run.chars().count() + 1 - last) + ["", " ", ".", " of"][r.below(4)];
        found(Query::phrase_prefix(field, text).max_expansions(ALL_TERMS).boost(1.5))
    }),
    ("phrase prefix, slop", |r, w| {
        let (slop, count) = (u32::try_from(1 + r.below(6)).unwrap(), 2 + r.below(3));
        let mut words: Vec<_> = w.run(r, count).split(' ').map(str::to_owned).collect();
        let (a, b) = (r.below(count), r.below(count));
        words.swap(a, b);
        let last = words.pop().unwrap();
        words.push(beginning(&last, r, 2));
        let query = Query::phrase_prefix("title.plain", words.join(" ")).slop(slop);
        marked(query.max_expansions(ALL_TERMS))
    }),
    ("phrase prefix, slop, repeated words", |r, w| {
        let run = w.run(r, 2);
        let (first, second) = run.split_once(' ').unwrap();
        let text = match r.below(3) {
            0 => format!("{first} {second} {}", beginning(first, r, 1)),
            1 => format!("{first} {first} {}", beginning(first, r, 2)),
            _ => format!("{first} {second} {first} {}", beginning(second, r, 1)),
        };
        let query = Query::phrase_prefix("title.plain", text).slop(u32::try_from(2 + r.below(8)).unwrap());
        found(query.max_expansions(ALL_TERMS))
    }),
    ("phrase prefix among others", |r, w| {
        let (run, word) = (w.run(r, 2), w.word(r, 4));
        let begun = || Query::phrase_prefix("title.plain", &*run).max_expansions(ALL_TERMS / 3);
        let query = Query::bool().should(begun().boost(0.5)).should(begun()).should(Query::matches("title", &*word));
        found(query.should(Query::phrase_prefix("title.plain", word).max_expansions(ALL_TERMS / 3)))
    }),
];

/// Which terms a server takes where there are more depends on its segments: these are for one.
pub(super) const OF_ONE_SEGMENT: &[(&str, Kind)] = &[
    ("phrase prefix, fifty terms", |r, w| {
        let run = w.run(r, 2);
        let (first, second) = run.split_once(' ').unwrap();
        let begun = beginning(second, r, 1).chars().take(1 + r.below(2)).collect::<String>();
        let query = Query::phrase_prefix(["title", "title.plain"][r.below(2)], format!("{first} {begun}"));
        marked(if r.below(2) == 0 { query } else { query.slop(3) })
    }),
    ("phrase prefix, few terms", |r, w| {
        let word = w.word(r, 3);
        let query = Query::phrase_prefix("title.plain", word.chars().take(1 + r.below(2)).collect::<String>());
        found(query.max_expansions(u32::try_from(1 + r.below(20)).unwrap()))
    }),
];
