//! Scores that depend on the values of a document, and not on the text alone.

use std::sync::Arc;
use std::time::Duration;

use crate::Value;

/// What becomes of a query's score and what a function gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BoostMode {
    /// The score times the function.
    #[default]
    Multiply,
    /// The score and the function.
    Sum,
    /// The function alone.
    Replace,
}

/// A number for each document, made of a field of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScoreFunction {
    /// The larger the value, the more.
    FieldValue(FieldValueFactor),
    /// The nearer the value is to another one, the more.
    Decay(Decay),
}

impl From<FieldValueFactor> for ScoreFunction {
    fn from(function: FieldValueFactor) -> Self {
        Self::FieldValue(function)
    }
}

impl From<Decay> for ScoreFunction {
    fn from(function: Decay) -> Self {
        Self::Decay(function)
    }
}

/// The value of a field of numbers, times a factor, modified: `modifier(value * factor)`.
///
/// Of several values the least counts. Where that is below zero the function is 0, unless the value is
/// [squared](Modifier::Square), and so it is for a zero whose [reciprocal](Modifier::Reciprocal) is asked for: OpenSearch by itself would
/// fail on such documents.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldValueFactor {
    /// The field: a sortable one of signed numbers or of double precision.
    pub field: Arc<str>,
    /// See [`factor`](Self::factor).
    pub factor: f32,
    /// See [`modifier`](Self::modifier).
    pub modifier: Modifier,
    /// See [`missing`](Self::missing).
    pub missing: f64,
}

impl FieldValueFactor {
    /// The value as it is.
    #[must_use]
    pub fn new(field: impl Into<Arc<str>>) -> Self {
        Self { field: field.into(), factor: 1.0, modifier: Modifier::None, missing: 0.0 }
    }

    /// What the value is multiplied by before it is modified: 1 unless set. Above 0 and at most
    /// [`MAX_BOOST`](crate::MAX_BOOST).
    #[must_use]
    pub const fn factor(mut self, factor: f32) -> Self {
        self.factor = factor;
        self
    }

    /// What is made of it.
    #[must_use]
    pub const fn modifier(mut self, modifier: Modifier) -> Self {
        self.modifier = modifier;
        self
    }

    /// The value of documents that have none: 0 unless set. Finite and not negative, and above 0 for a
    /// [reciprocal](Modifier::Reciprocal).
    #[must_use]
    pub const fn missing(mut self, value: f64) -> Self {
        self.missing = value;
        self
    }
}

/// What is made of a value *v*.
///
/// The bare logarithms of OpenSearch are not among them: below 1 they are negative, which no score may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Modifier {
    /// *v*.
    #[default]
    None,
    /// The decadic logarithm of *v* + 1.
    Log1p,
    /// The decadic logarithm of *v* + 2.
    Log2p,
    /// The natural logarithm of *v* + 1.
    Ln1p,
    /// The natural logarithm of *v* + 2.
    Ln2p,
    /// *v* times *v*.
    Square,
    /// The square root of *v*.
    Sqrt,
    /// 1 / *v*.
    Reciprocal,
}

/// How near a number or a date is to an origin: 1 there, a share of it at a distance, and less further on.
///
/// The distance counts in both directions; of several values the nearest counts, and a document without one counts as if it
/// were at the origin. Filter by [`exists`](crate::Query::exists) where that is not meant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decay {
    /// The field: a sortable one of signed numbers, of double precision, or of dates.
    pub field: Arc<str>,
    /// From where the distance is measured: a value of the field's type. There is no *now* of the server's: which moment
    /// that is, is the caller's to say, and so both backends and all pages mean the same.
    pub origin: Value,
    /// At which distance the function is [`decay`](Self::decay), behind the offset: from 1e-100 to 1e100. Of dates in
    /// milliseconds.
    pub scale: f64,
    /// See [`offset`](Self::offset).
    pub offset: f64,
    /// See [`decay`](Self::decay).
    pub decay: f64,
    /// See [`curve`](Self::curve).
    pub curve: Curve,
}

impl Decay {
    /// Half as much at this distance from the origin, along a Gaussian curve.
    #[must_use]
    pub fn new(field: impl Into<Arc<str>>, origin: impl Into<Value>, scale: f64) -> Self {
        let (field, origin) = (field.into(), origin.into());
        Self { field, origin, scale, offset: 0.0, decay: 0.5, curve: Curve::Gauss }
    }

    /// Half as much with every half-life between a date and now, as the caller has it; rounded to the millisecond.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact for the first 285,000 years")]
    pub fn recency(field: impl Into<Arc<str>>, now: impl Into<Value>, half_life: Duration) -> Self {
        Self::new(field, now, half_life.as_millis() as f64).curve(Curve::Exponential)
    }

    /// How the function falls.
    #[must_use]
    pub const fn curve(mut self, curve: Curve) -> Self {
        self.curve = curve;
        self
    }

    /// How far from the origin it begins to fall: 0 unless set, and at most 1e100. Of dates in milliseconds.
    #[must_use]
    pub const fn offset(mut self, distance: f64) -> Self {
        self.offset = distance;
        self
    }

    /// What it is at the distance of the scale: 0.5 unless set. Between 0 and 1, and neither.
    #[must_use]
    pub const fn decay(mut self, share: f64) -> Self {
        self.decay = share;
        self
    }
}

/// How a [`Decay`] falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Curve {
    /// Slowly at first, then fast, then slowly again: `exp(-distance² / 2σ²)`.
    #[default]
    Gauss,
    /// By the same share with each step.
    Exponential,
    /// By the same amount with each step, down to 0.
    Linear,
}
