//! A document of one generation as it is in another one.

use crate::{Field, FieldKind, Record, Schema, Value};

/// The record with the fields that `schema` has, by their names and types there. A value that cannot be one is left out.
pub(crate) fn translated<'a>(record: &'a Record, schema: &Schema, rename: impl Fn(&'a str) -> &'a str) -> Record {
    let mut translated = Record::with_id(record.id().clone());
    for (name, value) in record.iter() {
        let Some(field) = schema.field(rename(name)).filter(|field| field.source().is_none()) else { continue };
        if let Some(value) = converted(value, field) {
            translated.push(field.name().to_owned(), value);
        }
    }
    match record.version() {
        Some(version) => translated.with_version(version),
        None => translated,
    }
}

/// The value as one of the field's type, if nothing of it is lost.
fn converted(value: &Value, field: &Field) -> Option<Value> {
    Some(match (field.kind(), value) {
        (FieldKind::Text { .. } | FieldKind::Keyword { .. }, value) => Value::Text(text(value)),
        (FieldKind::I64, Value::Date(number)) => Value::I64(*number),
        (FieldKind::I64, value) => Value::I64(whole(value)?),
        (FieldKind::Date, Value::I64(number) | Value::Date(number)) => Value::Date(*number),
        (FieldKind::Date, value) => Value::Date(whole(value)?),
        (FieldKind::U64, Value::U64(number)) => Value::U64(*number),
        (FieldKind::U64, Value::Text(text)) => Value::U64(text.trim().parse().ok()?),
        (FieldKind::U64, value) => Value::U64(u64::try_from(whole(value)?).ok()?),
        (FieldKind::F64, value) => Value::F64(real(value)?),
        (FieldKind::Bool, Value::Bool(truth)) => Value::Bool(*truth),
        (FieldKind::Bool, Value::Text(text)) => Value::Bool(text.trim().parse().ok()?),
        (FieldKind::Bool, _) => return None,
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::I64(number) | Value::Date(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::I64(number) => Some(*number),
        Value::U64(number) => i64::try_from(*number).ok(),
        Value::Text(text) => text.trim().parse().ok(),
        #[expect(clippy::cast_possible_truncation, reason = "it is below 2^53 and has no fraction")]
        Value::F64(number) => (number.fract() == 0.0 && number.abs() < EXACT).then_some(*number as i64),
        Value::Date(_) | Value::Bool(_) => None,
    }
}

/// Whole numbers below this one are numbers with a fraction, too.
const EXACT: f64 = (1_u64 << 53) as f64;

#[expect(clippy::cast_precision_loss, reason = "what would lose something is left out")]
fn real(value: &Value) -> Option<f64> {
    let whole = |number: i64| (number.unsigned_abs() < 1 << 53).then_some(number as f64);
    match value {
        Value::F64(number) => Some(*number),
        Value::I64(number) => whole(*number),
        Value::U64(number) => whole(i64::try_from(*number).ok()?),
        Value::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Value::Date(_) | Value::Bool(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_new_type_where_nothing_is_lost() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (value, field, expected) in [
            (Value::U64(7), Field::keyword("f"), Some(text("7"))),
            (text(" 7 "), Field::u64("f"), Some(Value::U64(7))),
            (text("x"), Field::u64("f"), None),
            (Value::U64(u64::MAX), Field::u64("f"), Some(Value::U64(u64::MAX))),
            (Value::U64(u64::MAX), Field::i64("f"), None),
            (Value::I64(-1), Field::u64("f"), None),
            (Value::I64(-1), Field::date("f"), Some(Value::Date(-1))),
            (Value::Date(-1), Field::i64("f"), Some(Value::I64(-1))),
            (Value::F64(2.0), Field::i64("f"), Some(Value::I64(2))),
            (Value::F64(2.5), Field::i64("f"), None),
            (Value::I64(1 << 53), Field::f64("f"), None),
            (Value::I64(3), Field::f64("f"), Some(Value::F64(3.0))),
            (text("nan"), Field::f64("f"), None),
            (text("true"), Field::bool("f"), Some(Value::Bool(true))),
            (Value::I64(1), Field::bool("f"), None),
        ] {
            assert!(converted(&value, &field) == expected, "{value:?} as {}", field.kind().as_str());
        }
    }

    #[test]
    fn fields_have_their_new_names_and_those_that_are_gone_are_left_out() {
        let schema = Schema::builder().field(Field::text("name").with_sub_field(Field::keyword("exact")));
        let schema = schema.build().unwrap();
        let old = Record::new("a").unwrap().with("title", "x").with("gone", "y").with("title", "z").with_version(3);
        let new = translated(&old, &schema, |name| if name == "title" { "name" } else { name });
        assert_eq!(new, Record::new("a").unwrap().with("name", "x").with("name", "z").with_version(3));
    }
}
