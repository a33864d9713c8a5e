//! Queries inside queries, with options at their extremes.

use statehouse_search::{MinimumMatch, Operator, Query};

use super::draw::{Words, beginning, misspelt, number};
use super::functions::around;
use crate::random::Random;

fn minimum(random: &mut Random, clauses: usize) -> MinimumMatch {
    let most = i64::try_from(clauses).unwrap() + 2;
    match random.below(8) {
        0 => MinimumMatch::Count(i32::MIN),
        1 => MinimumMatch::Percent([-100, 100][random.below(2)]),
        2 => MinimumMatch::Percent(i32::try_from(number(random, -100, 101)).unwrap()),
        _ => MinimumMatch::Count(i32::try_from(number(random, -most, most)).unwrap()),
    }
}

fn boost(random: &mut Random) -> f32 {
    [0.0, 1e-3, 0.7, 1.0, 1.0, 2.0, 3.5, 50.0][random.below(8)]
}

/// A query without others inside.
fn leaf(random: &mut Random, words: &Words) -> Query {
    let boost = boost(random);
    match random.below(16) {
        0 => Query::all().boost(boost).into(),
        1 => Query::None,
        2 => Query::term("chapter", (1 + random.below(22)).to_string()).boost(boost).into(),
        3 => Query::term("leaf", random.below(2) == 0).boost(boost).into(),
        4 => Query::exists(["terms", "length", "since", "share"][random.below(4)]).boost(boost).into(),
        5 => Query::prefix("code", beginning(words.code(random), random, 1)).boost(boost).into(),
        6 => Query::range("balance").at_least(number(random, -500, 400)).boost(boost).into(),
        7 => Query::ids((0..50).map(|_| words.code(random).to_owned())).boost(boost).into(),
        8 => Query::terms("parent", (0..20).map(|_| words.code(random))).boost(boost).into(),
        9 => Query::phrase("title", words.run(random, 2)).boost(boost).into(),
        10 => {
            let word = words.word(random, 5);
            Query::matches("title.plain", misspelt(&word, random)).fuzzy().boost(boost).into()
        }
        11 => Query::matches("title", words.run(random, 2)).operator(Operator::And).boost(boost).into(),
        12 if random.below(3) == 0 => {
            let (run, word) = (words.run(random, 2), words.word(random, 5));
            let text = if random.below(2) == 0 { run } else { word };
            Query::phrase_prefix("title.plain", text).slop(u32::try_from(random.below(3)).unwrap()).boost(boost).into()
        }
        12 => {
            let text = words.words(random, 4);
            Query::matches("title", text).minimum_match(minimum(random, 4)).boost(boost).into()
        }
        _ => {
            let count = 1 + random.below(3);
            Query::matches(["title", "terms"][random.below(2)], words.words(random, count)).boost(boost).into()
        }
    }
}

pub(super) fn tree(random: &mut Random, words: &Words, depth: usize) -> Query {
    if depth == 0 {
        return leaf(random, words);
    }
    let some = |random: &mut Random, most: usize| -> Vec<Query> {
        (0..random.below(most + 1)).map(|_| tree(random, words, depth - 1)).collect()
    };
    match random.below(7) {
        0 => leaf(random, words),
        1 => {
            let queries = some(random, 3);
            Query::dis_max(queries).tie_breaker([0.0, 0.3, 1.0][random.below(3)]).boost(boost(random)).into()
        }
        3 => around(tree(random, words, depth - 1), random).into(),
        2 => Query::constant(tree(random, words, depth - 1)).boost(boost(random)).into(),
        _ => {
            let mut query = Query::bool().boost(boost(random));
            (query.must, query.should) = (some(random, 2), some(random, 4));
            (query.filter, query.must_not) = (some(random, 1), some(random, 1));
            if !query.should.is_empty() && random.below(2) == 0 {
                let minimum = minimum(random, query.should.len());
                query = query.minimum_match(minimum);
            }
            query.into()
        }
    }
}
