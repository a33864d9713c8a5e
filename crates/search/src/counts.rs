//! What a request may have counted, checked the same way before every backend.

use statehouse_core::{Error, ErrorKind, Result};

use crate::{Facet, Field, FieldKind, RangeFacet, Schema, SearchRequest};

impl Schema {
    /// Checks everything that a request has counted beside its hits.
    pub(crate) fn check_counts(&self, request: &SearchRequest) -> Result<()> {
        request.facets.iter().try_for_each(|facet| self.check_facet(facet))?;
        request.ranges.iter().try_for_each(|facet| self.check_ranges(facet))
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
