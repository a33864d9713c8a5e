//! Scores that values have a part in.

use std::time::Duration;

use statehouse_search::{
    BoostMode, Curve, Decay, FieldValueFactor, FunctionScoreQuery, Modifier, Query, ScoreFunction, SearchRequest, Sort,
    Value,
};

use super::draw::{Kind, Words, found, marked, number};
use crate::random::Random;

const DAY: i64 = 86_400_000;

fn value(random: &mut Random) -> FieldValueFactor {
    let modifiers = [
        Modifier::None,
        Modifier::Log1p,
        Modifier::Log2p,
        Modifier::Ln1p,
        Modifier::Ln2p,
        Modifier::Square,
        Modifier::Sqrt,
        Modifier::Reciprocal,
    ];
    let function = FieldValueFactor::new(["balance", "share"][random.below(2)]);
    let function = function.modifier(modifiers[random.below(modifiers.len())]);
    function.factor([0.01, 0.7, 1.0, 1e6][random.below(4)]).missing([0.5, 1.0, 30.0][random.below(3)])
}

fn decay(random: &mut Random) -> Decay {
    let at = number(random, -520, 520);
    let (function, unit) = match random.below(3) {
        0 => (Decay::new("balance", at, 1.0), 1.0),
        1 => (Decay::new("share", at as f64 / 7.0, 1.0), 0.1),
        _ => (Decay::new("since", Value::Date(at * DAY + 1), 1.0), DAY as f64),
    };
    let mut function = function.curve([Curve::Gauss, Curve::Exponential, Curve::Linear][random.below(3)]);
    function.scale = unit * (1 + random.below(400)) as f64;
    function.offset(unit * random.below(30) as f64).decay([0.5, 0.1, 0.9, 1e-6][random.below(4)])
}

fn combined(query: FunctionScoreQuery, random: &mut Random) -> FunctionScoreQuery {
    let query = query.boost([1.0, 1.0, 0.3, 2.0][random.below(4)]);
    let mode = [BoostMode::Multiply, BoostMode::Multiply, BoostMode::Sum, BoostMode::Replace][random.below(4)];
    query.boost_mode(mode).max_boost([1e4, 2.0, 0.5][random.below(3)])
}

/// One around a query, small enough to have others around it.
pub(super) fn around(query: Query, random: &mut Random) -> FunctionScoreQuery {
    let function: ScoreFunction = if random.below(2) == 0 { value(random).into() } else { decay(random).into() };
    combined(Query::function_score(query, function), random)
}

fn matches(random: &mut Random, words: &Words) -> Query {
    let count = 1 + random.below(3);
    Query::matches(["title", "terms"][random.below(2)], words.words(random, count)).into()
}

pub(super) const KINDS: &[(&str, Kind)] = &[
    ("function of a value", |r, w| {
        let query = Query::function_score(matches(r, w), value(r));
        marked(combined(query, r))
    }),
    ("function of a value alone", |r, _| {
        let field = ["balance", "share"][r.below(2)];
        let query = Query::function_score(Query::term("chapter", (1 + r.below(22)).to_string()), value(r));
        let request = SearchRequest::new(if r.below(2) == 0 { query.boost_mode(BoostMode::Replace) } else { query });
        let request = request.with_size(100).with_filter(Query::exists(field));
        if r.below(2) == 0 {
            request
        } else {
            request.with_sort(Sort::by("leaf")).with_sort(Sort::by_score().ascending())
        }
    }),
    ("decay", |r, w| {
        let query = Query::function_score(matches(r, w), decay(r));
        marked(combined(query, r))
    }),
    ("recency", |r, w| {
        let now = Value::Date(number(r, -600, 600) * DAY);
        let recent = Decay::recency("since", now, Duration::from_secs(86_400 * (1 + r.below(90) as u64)));
        found(Query::function_score(Query::phrase("title", w.run(r, 2)), recent))
    }),
    ("functions within each other", |r, w| {
        let inner = around(matches(r, w), r);
        found(around(inner.into(), r))
    }),
    ("functions among others", |r, w| {
        let (one, boost) = (around(matches(r, w), r), [1.0, 0.5, 3.0][r.below(3)]);
        let query = Query::bool().should(one.clone()).should(one.boost(boost)).should(matches(r, w));
        let other = around(matches(r, w), r);
        let query = if r.below(2) == 0 { query.should(other) } else { query.must_not(other) };
        found(Query::dis_max([Query::from(query), around(matches(r, w), r).into()]).tie_breaker(0.3))
    }),
];
