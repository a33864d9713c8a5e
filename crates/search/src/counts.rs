//! What a request may have counted, checked the same way before every backend.

use statehouse_core::{Error, ErrorKind, Result};

use crate::{Facet, Field, FieldKind, Histogram, Interval, RangeFacet, Schema, SearchRequest};

impl Schema {
    /// Checks everything that a request has counted beside its hits.
    pub(crate) fn check_counts(&self, request: &SearchRequest) -> Result<()> {
        request.facets.iter().try_for_each(|facet| self.check_facet(facet))?;
        request.ranges.iter().try_for_each(|facet| self.check_ranges(facet))?;
        request.histograms.iter().try_for_each(|histogram| self.check_histogram(histogram))?;
        request.stats.iter().try_for_each(|name| self.check_computed(name).map(drop))
    }

    fn check_facet(&self, facet: &Facet) -> Result<()> {
        if !(1..=Facet::MAX_SIZE).contains(&facet.size) {
            return Err(invalid("a facet must ask for 1 to 1000 values", &facet.field));
        }
        self.check_counted(&facet.field).map(drop)
    }

    fn check_ranges(&self, facet: &RangeFacet) -> Result<()> {
        let field = self.check_measured(&facet.field)?;
        if facet.ranges.is_empty() {
            return Err(invalid("a range facet needs at least one range", &facet.field));
        }
        facet.ranges.iter().try_for_each(|range| {
            range.from.iter().chain(&range.to).try_for_each(|bound| self.check_value(field, bound))?;
            if range.is_reversed() { Err(invalid("a range ends before it begins", &facet.field)) } else { Ok(()) }
        })
    }

    fn check_histogram(&self, histogram: &Histogram) -> Result<()> {
        let field = self.check_computed(&histogram.field)?;
        if let Some(misfit) = histogram.misfit() {
            return Err(invalid(misfit, &histogram.field));
        }
        let of_numbers = matches!(histogram.interval, Interval::Number { .. });
        if of_numbers == (*field.kind() == FieldKind::Date) {
            let message = "a histogram of dates has intervals of time, and one of numbers has none";
            return Err(invalid(message, &histogram.field));
        }
        Ok(())
    }

    /// A field that can be computed with.
    fn check_computed(&self, name: &str) -> Result<&Field> {
        let field = self.check_measured(name)?;
        let message = "OpenSearch cannot compute with unsigned numbers; make it an i64, or an f64";
        if *field.kind() == FieldKind::U64 { Err(unsupported(message, name)) } else { Ok(field) }
    }

    /// A field whose values can be counted.
    fn check_counted(&self, name: &str) -> Result<&Field> {
        let field = self.require(name)?;
        let unsupported = || unsupported("only the values of a sortable field can be counted", name);
        if field.is_sortable() { Ok(field) } else { Err(unsupported()) }
    }

    /// A field of numbers or dates that can be counted.
    fn check_measured(&self, name: &str) -> Result<&Field> {
        let field = self.check_counted(name)?;
        match field.kind() {
            FieldKind::I64 | FieldKind::U64 | FieldKind::F64 | FieldKind::Date => Ok(field),
            _ => Err(unsupported("only numbers and dates can be counted by their size", name)),
        }
    }
}

fn invalid(message: &'static str, field: &str) -> Error {
    Error::invalid_input(message).with_key(field)
}

fn unsupported(message: &'static str, field: &str) -> Error {
    Error::new(ErrorKind::Unsupported, message).with_key(field)
}
