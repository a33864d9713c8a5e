//! What functions make of values: checked for every backend, and in the order of operations of OpenSearch's.

use statehouse_core::{Error, ErrorKind, Result};

#[cfg(feature = "tantivy")]
use super::function::{BoostMode, Curve};
use super::function::{Decay, FieldValueFactor, Modifier, ScoreFunction};
use crate::limits::MAX_BOOST;
use crate::{FieldKind, Schema};

/// From what to what the scale of a decay may be: so that neither its square nor its reciprocal is lost.
const SCALES: std::ops::RangeInclusive<f64> = 1e-100..=1e100;

impl ScoreFunction {
    /// The field whose values it is made of.
    pub(crate) fn field(&self) -> &str {
        match self {
            Self::FieldValue(function) => &function.field,
            Self::Decay(function) => &function.field,
        }
    }

    /// The most that it gives.
    pub(crate) const fn most(&self, max_boost: f32) -> f32 {
        match self {
            Self::FieldValue(_) => max_boost,
            Self::Decay(_) => max_boost.min(1.0),
        }
    }

    /// Checks that it can be made of the schema's field.
    ///
    /// # Errors
    /// `InvalidInput` for an unknown field and an option outside its range, `Unsupported` for a field that is not sortable or
    /// of another type.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        let field = schema.require(self.field())?;
        let unsupported = |message: &'static str| Error::new(ErrorKind::Unsupported, message).with_key(field.name());
        match (field.kind(), self) {
            (FieldKind::I64 | FieldKind::F64, _) | (FieldKind::Date, Self::Decay(_)) => {}
            (FieldKind::U64, _) => {
                return Err(unsupported("a score cannot be made of unsigned numbers; keep them as signed ones too"));
            }
            (FieldKind::Date, Self::FieldValue(_)) => {
                return Err(unsupported("a date is no factor of a score; use a decay"));
            }
            _ => return Err(unsupported("a score can be made of numbers and dates")),
        }
        if !field.is_sortable() {
            return Err(unsupported("the field is not sortable, which a score that is made of it needs"));
        }
        if !field.is_indexed() {
            return Err(unsupported("the field is not indexed"));
        }
        match self {
            Self::FieldValue(function) => function.check(),
            Self::Decay(function) => function.check().and_then(|()| schema.check_value(field, &function.origin)),
        }
    }
}

impl FieldValueFactor {
    fn check(&self) -> Result<()> {
        if !(self.factor > 0.0 && self.factor <= MAX_BOOST) {
            let message = format!("the factor of a field's value must be above 0 and at most {MAX_BOOST:e}");
            return Err(Error::invalid_input(message).with_key(&self.field));
        }
        let is_enough = if self.modifier == Modifier::Reciprocal { self.missing > 0.0 } else { self.missing >= 0.0 };
        if is_enough && self.missing.is_sign_positive() && self.missing.is_finite() {
            return Ok(());
        }
        let message = "what a missing value counts as must be finite and not negative, and above 0 for a reciprocal";
        Err(Error::invalid_input(message).with_key(&self.field))
    }
}

impl Decay {
    fn check(&self) -> Result<()> {
        let refused = |message: String| Err(Error::invalid_input(message).with_key(&self.field));
        if !SCALES.contains(&self.scale) {
            return refused(format!("the scale of a decay must be from 1e-100 to 1e100, not {:e}", self.scale));
        }
        if !(0.0..=*SCALES.end()).contains(&self.offset) {
            return refused(format!("the offset of a decay must be from 0 to 1e100, not {:e}", self.offset));
        }
        if !(self.decay > 0.0 && self.decay < 1.0) {
            return refused(format!("a decay must be above 0 and below 1, not {}", self.decay));
        }
        Ok(())
    }
}

/// A function with what of it is the same for every document.
#[cfg(feature = "tantivy")]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prepared {
    Value { factor: f64, modifier: Modifier, missing: f64 },
    Decay { origin: f64, offset: f64, scale: f64, curve: Curve },
}

#[cfg(feature = "tantivy")]
impl Prepared {
    pub(crate) fn of(function: &ScoreFunction) -> Self {
        match function {
            ScoreFunction::FieldValue(function) => {
                let (factor, modifier) = (f64::from(function.factor), function.modifier);
                Self::Value { factor, modifier, missing: modifier.of(function.missing * factor) }
            }
            ScoreFunction::Decay(Decay { origin, scale, offset, decay, curve, .. }) => {
                let scale = match curve {
                    Curve::Gauss => 0.5 * (scale * scale) / decay.ln(),
                    Curve::Exponential => decay.ln() / scale,
                    Curve::Linear => scale / (1.0 - decay),
                };
                Self::Decay { origin: real(origin), offset: *offset, scale, curve: *curve }
            }
        }
    }

    /// What a document has of it, by its values in any order.
    #[inline]
    pub(crate) fn at(self, values: impl Iterator<Item = f64>) -> f64 {
        match self {
            Self::Value { factor, modifier, missing } => match values.min_by(f64::total_cmp) {
                None => missing,
                Some(value) if modifier.takes(value) => modifier.of(value * factor),
                Some(_) => 0.0,
            },
            Self::Decay { origin, offset, scale, curve } => {
                let distances = values.map(|value| ((value - origin).abs() - offset).max(0.0));
                let distance = distances.reduce(f64::min).unwrap_or_default();
                match curve {
                    Curve::Gauss => (0.5 * (distance * distance) / scale).exp(),
                    Curve::Exponential => (scale * distance).exp(),
                    Curve::Linear => ((scale - distance) / scale).max(0.0),
                }
            }
        }
    }
}

#[cfg(feature = "tantivy")]
impl Modifier {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::None => value,
            Self::Log1p => (value + 1.0).log10(),
            Self::Log2p => (value + 2.0).log10(),
            Self::Ln1p => value.ln_1p(),
            Self::Ln2p => (value + 1.0).ln_1p(),
            Self::Square => value * value,
            Self::Sqrt => value.sqrt(),
            Self::Reciprocal => 1.0 / value,
        }
    }

    const fn takes(self, value: f64) -> bool {
        match self {
            Self::Square => true,
            Self::Reciprocal => value > 0.0,
            _ => value.is_sign_positive(),
        }
    }
}

#[cfg(feature = "tantivy")]
impl BoostMode {
    /// Rounded once, in the end.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a score is of single precision")]
    pub(crate) fn of(self, score: f32, function: f64, max_boost: f32) -> f32 {
        let function = function.min(f64::from(max_boost));
        let score = f64::from(score);
        (match self {
            Self::Multiply => score * function,
            Self::Sum => score + function,
            Self::Replace => function,
        }) as f32
    }
}

#[cfg(feature = "tantivy")]
#[expect(clippy::cast_precision_loss, reason = "the server does the same")]
const fn real(value: &crate::Value) -> f64 {
    match value {
        crate::Value::I64(number) | crate::Value::Date(number) => *number as f64,
        crate::Value::F64(number) => *number,
        _ => 0.0,
    }
}
