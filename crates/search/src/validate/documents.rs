//! What a schema takes: operations, documents and values, checked the same way before every backend.

use statehouse_core::{Error, ErrorKind, Result};

use crate::analysis::Tokenizer;
use crate::limits::{MAX_TERM_LEN, MAX_VERSION};
use crate::{Field, FieldKind, Operation, Record, Schema, Value};

impl Schema {
    /// Checks that an operation fits.
    ///
    /// # Errors
    /// As [`check_record`](Self::check_record); [`ErrorKind::InvalidInput`] for a version over [`MAX_VERSION`].
    pub fn check_operation(&self, operation: &Operation) -> Result<()> {
        if operation.version().is_some_and(|version| version > MAX_VERSION) {
            return Err(Error::invalid_input("a version must be below 2^63 - 1").with_key(operation.id().as_str()));
        }
        match operation {
            Operation::Upsert(record) => self.check_record(record),
            Operation::Delete { .. } => Ok(()),
        }
    }

    /// Checks that a document fits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an unknown field, a value of the wrong type or a number that is not finite,
    /// [`ErrorKind::TooLarge`] for a term over [`MAX_TERM_LEN`] bytes, be it a sub-field's. The value itself is not
    /// repeated.
    pub fn check_record(&self, record: &Record) -> Result<()> {
        for (name, value) in record.iter() {
            let field = self.require(name)?;
            if field.source().is_some() {
                let message = "a sub-field takes its values from its field";
                return Err(Error::invalid_input(message).with_key(name));
            }
            self.check_value(field, value)?;
            let mut sub_fields = self.fields().iter().filter(|sub| sub.source() == Some(name));
            sub_fields.try_for_each(|sub| self.check_value(sub, value))?;
        }
        Ok(())
    }

    pub(crate) fn check_value(&self, field: &Field, value: &Value) -> Result<()> {
        if !fits(field, value) {
            let message = format!("a value of kind {} does not fit a field of {}", value.kind(), field.kind().as_str());
            return Err(Error::invalid_input(message).with_key(field.name()));
        }
        match value {
            Value::Text(text) if self.longest_term(field, text) > MAX_TERM_LEN => {
                let message = "a term must not be longer than 32766 bytes";
                Err(Error::new(ErrorKind::TooLarge, message).with_key(field.name()))
            }
            _ => Ok(()),
        }
    }

    /// The bytes of the longest term that a field makes of a text; 0 if it cannot be over the limit.
    fn longest_term(&self, field: &Field, text: &str) -> usize {
        // No step makes a text more than twice as long.
        if text.len() <= MAX_TERM_LEN / 2 {
            return 0;
        }
        match field.kind() {
            FieldKind::Keyword { normalizer } => normalizer.apply(text).len(),
            // Words are cut at 255 UTF-16 units.
            FieldKind::Text { analyzer, .. } if field.is_indexed() => {
                let whole = self.analyzer(analyzer).filter(|analyzer| analyzer.tokenizer() == Tokenizer::Whole);
                let tokens = whole.map_or_else(Vec::new, |analyzer| analyzer.tokens(text));
                tokens.iter().map(|token| token.text.len()).max().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

/// Whether a value is one of the field's kind.
pub(super) fn fits(field: &Field, value: &Value) -> bool {
    match (field.kind(), value) {
        (FieldKind::Text { .. } | FieldKind::Keyword { .. }, Value::Text(_))
        | (FieldKind::I64, Value::I64(_))
        | (FieldKind::U64, Value::U64(_))
        | (FieldKind::Bool, Value::Bool(_))
        | (FieldKind::Date, Value::Date(_)) => true,
        (FieldKind::F64, Value::F64(number)) => number.is_finite(),
        _ => false,
    }
}
