//! A score that depends on a field's values, in OpenSearch's query language.

use serde_json::{Value as Json, json};

use crate::{BoostMode, Curve, Decay, FieldValueFactor, FunctionScoreQuery, Modifier, ScoreFunction, Value};

/// The function score of a query that is compiled. Of its functions the first counts that a document fits.
pub(super) fn compile(query: &FunctionScoreQuery, inner: &Json) -> Json {
    let functions = match &query.function {
        ScoreFunction::FieldValue(function) => of_value(function),
        ScoreFunction::Decay(function) => vec![of_decay(function)],
    };
    let mode = match query.boost_mode {
        BoostMode::Multiply => "multiply",
        BoostMode::Sum => "sum",
        BoostMode::Replace => "replace",
    };
    json!({ "function_score": {
        "query": inner,
        "functions": functions,
        "score_mode": "first",
        "boost_mode": mode,
        "max_boost": query.max_boost,
        "boost": query.boost,
    } })
}

/// The server fails on values of which the function would be negative or no number: those are kept from it, and count 0.
fn of_value(function: &FieldValueFactor) -> Vec<Json> {
    let FieldValueFactor { field, factor, modifier, missing } = function;
    let (name, refused) = match modifier {
        Modifier::None => ("none", Some("lt")),
        Modifier::Log1p => ("log1p", Some("lt")),
        Modifier::Log2p => ("log2p", Some("lt")),
        Modifier::Ln1p => ("ln1p", Some("lt")),
        Modifier::Ln2p => ("ln2p", Some("lt")),
        Modifier::Square => ("square", None),
        Modifier::Sqrt => ("sqrt", Some("lt")),
        Modifier::Reciprocal => ("reciprocal", Some("lte")),
    };
    let options = json!({ "field": &**field, "factor": factor, "modifier": name, "missing": missing });
    match refused {
        None => vec![json!({ "field_value_factor": options })],
        Some(bound) => {
            let refused = json!({ "range": { &**field: { bound: 0 } } });
            let taken = json!({ "bool": { "must_not": refused } });
            vec![json!({ "filter": taken, "field_value_factor": options }), json!({ "weight": 0.0 })]
        }
    }
}

/// Dates are numbers of milliseconds there, and so is the scale.
fn of_decay(function: &Decay) -> Json {
    let Decay { field, origin, scale, offset, decay, curve } = function;
    let name = match curve {
        Curve::Gauss => "gauss",
        Curve::Exponential => "exp",
        Curve::Linear => "linear",
    };
    let origin: Json = match origin {
        Value::I64(number) | Value::Date(number) => (*number).into(),
        Value::F64(number) => (*number).into(),
        _ => Json::Null,
    };
    let options = json!({ "origin": origin, "scale": scale, "offset": offset, "decay": decay });
    json!({ name: { &**field: options } })
}
