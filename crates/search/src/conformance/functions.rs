//! Cases about scores that values have a part in.

use std::time::Duration;

use statehouse_core::ErrorKind;

use super::kit::{SearchBackend, put, record};
use crate::{
    BoostMode, Curve, Decay, FieldValueFactor, Modifier, Query, ScoreFunction, SearchIndex, SearchIndexExt as _,
    SearchRequest, Value,
};

const DAY: i64 = 86_400_000;

/// With one value, several, and none; and below zero.
async fn fill(index: &dyn SearchIndex) {
    let day = |days: i64| Value::Date(days * DAY);
    let several = record("several").with("rank", 7_i64).with("rank", 3_i64).with("rank", 60_i64);
    put(
        index,
        [
            record("few").with("rank", 9_i64).with("ratio", 0.5).with("day", day(0)),
            record("many").with("rank", 99_i64).with("ratio", 2.0).with("day", day(10)),
            record("less").with("rank", -4_i64).with("ratio", -0.0).with("day", day(-20)),
            several.with("ratio", 8.0).with("ratio", 0.0).with("day", day(3)).with("day", day(100)),
            record("none").with("title", "nothing"),
        ],
    )
    .await;
}

/// The ids and scores, in order.
async fn scored(index: &dyn SearchIndex, query: impl Into<Query>) -> Vec<(String, f32)> {
    let found = index.search(&SearchRequest::new(query)).await.expect("the search succeeds");
    let scored = found.hits.iter().map(|hit| (hit.id().as_str().to_owned(), hit.score.expect("a score")));
    scored.collect()
}

async fn check(index: &dyn SearchIndex, query: impl Into<Query>, expected: &[(&str, f32)]) {
    let query = query.into();
    let found = scored(index, query.clone()).await;
    let same = |(one, (id, score)): (&(String, f32), &(&str, f32))| {
        one.0 == *id && (one.1 - score).abs() <= 1e-6 * score.abs()
    };
    let all = found.len() == expected.len() && found.iter().zip(expected).all(same);
    assert!(all, "{found:?} is not {expected:?} for {query:?}");
}

/// Of several values the least, below zero nothing.
pub(super) async fn a_fields_value_is_a_factor_of_the_score(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    fill(index).await;
    let of = |function: FieldValueFactor| Query::function_score(Query::all(), function);
    let rank = |modifier| of(FieldValueFactor::new("rank").modifier(modifier));
    let expected = [("many", 99.0), ("few", 9.0), ("several", 3.0), ("less", 0.0), ("none", 0.0)];
    check(index, rank(Modifier::None), &expected).await;
    for (modifier, of) in [
        (Modifier::Log1p, (|v: f32| (v + 1.0).log10()) as fn(f32) -> f32),
        (Modifier::Ln1p, f32::ln_1p),
        (Modifier::Sqrt, f32::sqrt),
    ] {
        check(index, rank(modifier), &expected.map(|(id, value)| (id, of(value)))).await;
    }
    for (modifier, of) in
        [(Modifier::Log2p, (|v: f32| (v + 2.0).log10()) as fn(f32) -> f32), (Modifier::Ln2p, |v| (v + 2.0).ln())]
    {
        // Of nothing there is something left, but not of what is below it.
        let nothing = ("none", of(0.0));
        let expected = [("many", of(99.0)), ("few", of(9.0)), ("several", of(3.0)), nothing, ("less", 0.0)];
        check(index, rank(modifier), &expected).await;
    }
    let squares = [("many", 9_801.0), ("few", 81.0), ("less", 16.0), ("several", 9.0), ("none", 0.0)];
    check(index, rank(Modifier::Square), &squares).await;
    let reciprocal = FieldValueFactor::new("ratio").modifier(Modifier::Reciprocal).factor(2.0).missing(1.25);
    let expected = [("few", 1.0), ("none", 0.4), ("many", 0.25), ("less", 0.0), ("several", 0.0)];
    check(index, of(reciprocal), &expected).await;
    let ratio = FieldValueFactor::new("ratio").factor(0.5).missing(1.0);
    let expected = [("many", 1.0), ("none", 0.5), ("few", 0.25), ("less", 0.0), ("several", 0.0)];
    check(index, of(ratio), &expected).await;
}

/// The nearest of several values counts, and none as the origin.
pub(super) async fn a_score_decays_with_the_distance_of_a_value(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    fill(index).await;
    let of = |function: Decay| Query::function_score(Query::all(), function);
    // On day 10: half with every ten days.
    let recent = Decay::recency("day", Value::Date(10 * DAY), Duration::from_secs(864_000));
    let half = |days: f32| (-days / 10.0).exp2();
    let expected = [("many", 1.0), ("none", 1.0), ("several", half(7.0)), ("few", 0.5), ("less", 0.125)];
    check(index, of(recent), &expected).await;
    // From 9 on, with two to each side: 0 there, 0.5 in a distance of 4.
    let gauss = Decay::new("rank", 9_i64, 4.0).offset(2.0).decay(0.5);
    let share = |distance: f32| (-(distance / 4.0).powi(2)).exp2();
    let expected =
        [("few", 1.0), ("none", 1.0), ("several", 1.0), ("less", share(11.0)), ("many", (-484.0_f32).exp2())];
    check(index, of(gauss), &expected).await;
    let linear = Decay::new("ratio", 1.0, 0.5).curve(Curve::Linear).decay(0.75);
    let expected = [("none", 1.0), ("few", 0.75), ("less", 0.5), ("many", 0.5), ("several", 0.5)];
    check(index, of(linear), &expected).await;
}

/// And a boost is the query's own.
pub(super) async fn a_function_multiplies_is_added_or_replaces(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    fill(index).await;
    let ranked = Query::constant(Query::exists("rank")).boost(2.0);
    let rank = || Query::function_score(ranked.clone(), FieldValueFactor::new("rank")).max_boost(50.0);
    let found = |score: fn(f32) -> f32| {
        [("many", 50.0), ("few", 9.0), ("several", 3.0), ("less", 0.0)].map(|(id, value)| (id, score(value)))
    };
    check(index, rank(), &found(|value| 2.0 * value)).await;
    check(index, rank().boost(3.0), &found(|value| 6.0 * value)).await;
    check(index, rank().boost_mode(BoostMode::Sum).boost(3.0), &found(|value| 6.0 + value)).await;
    check(index, rank().boost_mode(BoostMode::Replace).boost(3.0), &found(|value| value)).await;
    // Within each other, beside each other, and where no score is asked for.
    let near = Decay::new("rank", 9_i64, 6.0).curve(Curve::Linear);
    let both = Query::function_score(rank(), near);
    check(index, both, &[("few", 18.0), ("several", 5.0), ("less", 0.0), ("many", 0.0)]).await;
    let twice = Query::bool().should(rank().boost_mode(BoostMode::Sum)).should(rank().boost_mode(BoostMode::Sum));
    check(index, twice, &found(|value| 4.0 + 2.0 * value)).await;
    let third = || rank().boost_mode(BoostMode::Replace);
    let thrice = Query::bool().must(third()).must(third()).must(third().boost(7.0));
    check(index, thrice, &found(|value| 3.0 * value)).await;
    let filtered = SearchRequest::new(Query::all()).with_filter(rank());
    assert_eq!(index.search(&filtered).await.expect("the search succeeds").total, 4);
    assert_eq!(index.count(&rank().into()).await.expect("the count succeeds"), 4);
}

/// Before anything is asked.
pub(super) async fn a_function_that_cannot_be_the_same_everywhere_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let value = FieldValueFactor::new;
    let decay = |origin: Value| Decay::new("ratio", origin, 1.0);
    let one = || decay(Value::F64(1.0));
    let refused: [(ScoreFunction, ErrorKind); 20] = [
        (value("size").into(), ErrorKind::Unsupported),
        (value("day").into(), ErrorKind::Unsupported),
        (value("leaf").into(), ErrorKind::Unsupported),
        (value("code").into(), ErrorKind::Unsupported),
        (value("title").into(), ErrorKind::Unsupported),
        (Decay::new("size", 1_u64, 1.0).into(), ErrorKind::Unsupported),
        (Decay::new("leaf", true, 1.0).into(), ErrorKind::Unsupported),
        (value("unknown").into(), ErrorKind::InvalidInput),
        (value("rank").factor(0.0).into(), ErrorKind::InvalidInput),
        (value("rank").factor(f32::NAN).into(), ErrorKind::InvalidInput),
        (value("rank").missing(-1.0).into(), ErrorKind::InvalidInput),
        (value("rank").missing(f64::INFINITY).into(), ErrorKind::InvalidInput),
        (value("rank").modifier(Modifier::Reciprocal).into(), ErrorKind::InvalidInput),
        (decay(Value::I64(1)).into(), ErrorKind::InvalidInput),
        (decay(Value::F64(f64::NAN)).into(), ErrorKind::InvalidInput),
        (Decay::recency("day", Value::Date(0), Duration::ZERO).into(), ErrorKind::InvalidInput),
        (Decay::new("ratio", 1.0, f64::INFINITY).into(), ErrorKind::InvalidInput),
        (one().offset(-1.0).into(), ErrorKind::InvalidInput),
        (one().decay(1.0).into(), ErrorKind::InvalidInput),
        (one().decay(0.0).into(), ErrorKind::InvalidInput),
    ];
    for (function, kind) in refused {
        let query = Query::function_score(Query::all(), function.clone());
        let error = index.count(&query.into()).await.expect_err("it cannot be");
        assert_eq!(error.kind(), kind, "{function:?}: {error}");
        assert!(error.key().is_some(), "it names the field");
    }
    let rank = || Query::function_score(Query::all(), value("rank"));
    let within = |inner: Query| Query::function_score(inner, value("rank")).max_boost(1e9);
    for query in [rank().max_boost(-1.0), rank().max_boost(2e18), within(rank().into())] {
        let error = index.count(&query.into()).await.expect_err("it may be too much");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let allowed = Query::function_score(within(rank().max_boost(1e9).into()), one());
    assert_eq!(index.count(&allowed.into()).await.expect("together it is not too much"), 0);
}
