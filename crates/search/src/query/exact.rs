//! Queries that rank nothing: every document, exact values, ids.

use std::ops::Bound;
use std::sync::Arc;

use crate::Value;

/// Every document.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AllQuery {
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// One exact value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TermQuery {
    /// The field.
    pub field: Arc<str>,
    /// The value, of the field's type.
    pub value: Value,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Any of several exact values; scores 1 however many match.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TermsQuery {
    /// The field.
    pub field: Arc<str>,
    /// The values, of the field's type; shared by clones, for there may be many.
    pub values: Arc<[Value]>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Values between two bounds. Keywords are compared as UTF-8 bytes.
///
/// All that it can be told stands in the example of [`Query`](crate::Query).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RangeQuery {
    /// The field.
    pub field: Arc<str>,
    /// The lower bound.
    pub lower: Bound<Value>,
    /// The upper bound.
    pub upper: Bound<Value>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

impl RangeQuery {
    /// Only values at or above this.
    #[must_use]
    pub fn at_least(mut self, value: impl Into<Value>) -> Self {
        self.lower = Bound::Included(value.into());
        self
    }

    /// Only values above this.
    #[must_use]
    pub fn above(mut self, value: impl Into<Value>) -> Self {
        self.lower = Bound::Excluded(value.into());
        self
    }

    /// Only values at or below this.
    #[must_use]
    pub fn at_most(mut self, value: impl Into<Value>) -> Self {
        self.upper = Bound::Included(value.into());
        self
    }

    /// Only values below this.
    #[must_use]
    pub fn below(mut self, value: impl Into<Value>) -> Self {
        self.upper = Bound::Excluded(value.into());
        self
    }
}

/// Documents that have a value in a field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExistsQuery {
    /// The field.
    pub field: Arc<str>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Documents by their ids.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IdsQuery {
    /// The ids; shared by clones, for there may be many.
    pub ids: Arc<[String]>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}
