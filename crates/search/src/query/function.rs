//! Scores that depend on the values of a document, and not on the text alone.

use std::sync::Arc;
use std::time::Duration;

use super::tree::Query;
use crate::Value;

/// The hits of another query, with scores that a value of each has a part in: how popular it is, how recent, how near.
///
/// The function gives each hit a number, of which at most [`max_boost`](Self::max_boost) counts, and the
/// [`boost_mode`](Self::boost_mode) says what becomes of the query's own score. Several functions are function scores within each other.
/// A boost multiplies the score that goes into the function, and not what comes out of it.
///
/// Functions read sortable fields of signed numbers, of numbers of double precision and, but for a
/// [`FieldValueFactor`], of dates. Unsigned numbers are `Unsupported`: OpenSearch has nothing to count with them.
///
/// The arithmetic is in double precision on every backend, and the score is rounded to single precision in the end. Where it takes a
/// logarithm or a power of *e*, the last bits of those are the machine's.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use std::time::Duration;
///
/// use statehouse_search::{BoostMode, Curve, Decay, Field, FieldValueFactor, Modifier, Query, Record, Schema, SearchRequest, Value};
/// use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex as _, SearchIndexExt as _, TantivyConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let schema = Schema::builder()
///     .field(Field::text("title"))
///     .field(Field::i64("sold").sortable())
///     .field(Field::f64("price").sortable())
///     .field(Field::date("since").sortable());
/// let index = TantivyConfig::memory().open(schema.build()?).await?;
/// let lamp = |id: &str, sold: i64, price: f64, days: i64| {
///     let record = Record::new(id).unwrap().with("title", "lamp").with("sold", sold).with("price", price);
///     Operation::Upsert(record.with("since", Value::Date(days * 86_400_000)))
/// };
/// let lamps = vec![lamp("old", 999, 40.0, 0), lamp("new", 99, 20.0, 90), lamp("none", 0, 60.0, 100)];
/// index.bulk_with(lamps, BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
///
/// // Ten times as many sold are one more.
/// let sold = FieldValueFactor::new("sold").modifier(Modifier::Log1p);
/// let popular = Query::function_score(Query::constant(Query::matches("title", "lamp")), sold);
/// let found = index.search(&SearchRequest::new(popular.clone())).await?;
/// assert_eq!(found.hits.iter().map(|hit| hit.score).collect::<Vec<_>>(), [Some(3.0), Some(2.0), Some(0.0)]);
///
/// // And half as much with every thirty days that have passed: on day 100 the old one counts a tenth.
/// let now = Value::Date(100 * 86_400_000);
/// let recent = Query::function_score(popular, Decay::recency("since", now, Duration::from_secs(30 * 86_400)));
/// assert_eq!(index.search(&SearchRequest::new(recent)).await?.ids(), ["new", "old", "none"]);
///
/// // By how near the price is alone.
/// let near = Decay::new("price", 50.0, 20.0).curve(Curve::Linear).offset(5.0).decay(0.25);
/// let near = Query::function_score(Query::all(), near).boost_mode(BoostMode::Replace).max_boost(0.9);
/// assert_eq!(index.search(&SearchRequest::new(near)).await?.ids(), ["none", "old", "new"]);
///
/// let dear = FieldValueFactor::new("price").factor(0.1).missing(10.0);
/// let dear = Query::function_score(Query::all().boost(2.0), dear).boost_mode(BoostMode::Sum);
/// assert_eq!(index.search(&SearchRequest::new(dear)).await?.hits[0].score, Some(2.0 + 6.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FunctionScoreQuery {
    /// The query.
    pub query: Box<Query>,
    /// The function.
    pub function: ScoreFunction,
    /// See [`boost_mode`](Self::boost_mode).
    pub boost_mode: BoostMode,
    /// See [`max_boost`](Self::max_boost).
    pub max_boost: f32,
    /// Multiplies the score of the query, and so neither what a [sum](BoostMode::Sum) adds to it nor what
    /// [replaces](BoostMode::Replace) it.
    pub boost: f32,
}

impl FunctionScoreQuery {
    pub(super) const fn new(query: Box<Query>, function: ScoreFunction) -> Self {
        let (boost_mode, max_boost) = (BoostMode::Multiply, crate::MAX_FUNCTION);
        Self { query, function, boost_mode, max_boost, boost: 1.0 }
    }

    /// What becomes of the score and the function: multiplied, unless set.
    #[must_use]
    pub const fn boost_mode(mut self, mode: BoostMode) -> Self {
        self.boost_mode = mode;
        self
    }

    /// How much of the function counts at most: [`MAX_FUNCTION`](crate::MAX_FUNCTION) unless set, and no more than that. Of
    /// function scores within each other the product is no more than that either, where a [`Decay`] counts 1.
    #[must_use]
    pub const fn max_boost(mut self, most: f32) -> Self {
        self.max_boost = most;
        self
    }
}

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
/// were at the origin. Filter by [`exists`](Query::exists) where that is not meant.
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
