//! What is known of a bulk before any of it is sent.

use statehouse_core::{Error, Result};

use super::client::SHORT_ANSWER;
use super::error::BACKEND;
use crate::work::Stop;
use crate::{Operation, Outcome, Record, Schema};

/// How many operations and values are written in place.
const FEW: usize = 256;

/// Whether checking and writing these takes longer than an async thread may be held. It looks at no more than it takes to know.
pub(super) fn is_long(operations: &[Operation]) -> bool {
    let (mut values, mut bytes) = (FEW, SHORT_ANSWER);
    !operations.iter().all(|operation| {
        let record = match operation {
            Operation::Upsert(record) => Some(record),
            Operation::Delete { .. } => None,
        };
        let mut sizes = record.into_iter().flat_map(Record::iter).map(|(_, value)| value.as_text().map_or(8, str::len));
        let mut fits = |size: usize| {
            (values, bytes) = (values.saturating_sub(1), bytes.saturating_sub(size));
            values > 0 && bytes > 0
        };
        fits(operation.id().as_str().len()) && sizes.all(fits)
    })
}

/// Which operations are refused before anything is sent, by their places.
pub(super) fn refusals(schema: &Schema, operations: &[Operation], stop: &Stop) -> Result<Vec<Option<Outcome>>> {
    let refused = |error: Error| Outcome::Failed(error.with_backend(BACKEND));
    let check = |operation| stop.check().map(|()| schema.check_operation(operation).err().map(refused));
    operations.iter().map(check).collect()
}
