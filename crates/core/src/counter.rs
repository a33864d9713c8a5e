use std::fmt;

/// A number that only rises, such as the hits of a cache, told to the recorder of the `metrics` crate.
///
/// Without the feature `metrics` it counts nothing and takes no room. With it, it belongs to the recorder that is installed
/// when it is made: install that before services are opened.
///
/// ```
/// use statehouse_core::Counter;
///
/// let hits = Counter::new("statehouse.cache.lookups", &[("cache", "rates"), ("result", "hit")]);
/// hits.add(1);
/// ```
#[derive(Clone)]
pub struct Counter(#[cfg(feature = "metrics")] metrics::Counter);

#[cfg(feature = "metrics")]
impl Counter {
    /// The counter of this name and these attributes, which must be few: no keys, no values.
    #[must_use]
    pub fn new(name: &'static str, attributes: &[(&'static str, &str)]) -> Self {
        let labels: Vec<_> =
            attributes.iter().map(|(name, value)| metrics::Label::new(*name, (*value).to_owned())).collect();
        Self(metrics::counter!(name, labels))
    }

    /// As [`new`](Self::new), of bytes.
    #[must_use]
    pub fn of_bytes(name: &'static str, what: &'static str, attributes: &[(&'static str, &str)]) -> Self {
        metrics::describe_counter!(name, metrics::Unit::Bytes, what);
        Self::new(name, attributes)
    }

    /// Counts so many more.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.increment(more);
    }
}

#[cfg(not(feature = "metrics"))]
impl Counter {
    /// The counter of this name and these attributes, which must be few: no keys, no values.
    #[must_use]
    pub const fn new(_: &'static str, _: &[(&'static str, &str)]) -> Self {
        Self()
    }

    /// As [`new`](Self::new), of bytes.
    #[must_use]
    pub const fn of_bytes(_: &'static str, _: &'static str, _: &[(&'static str, &str)]) -> Self {
        Self()
    }

    /// Counts so many more.
    #[inline]
    pub const fn add(&self, _: u64) {}
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").finish_non_exhaustive()
    }
}
