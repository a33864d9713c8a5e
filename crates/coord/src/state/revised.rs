use serde::de::DeserializeOwned;
use statehouse_core::{Codec, Error, ErrorKind, Result};

use super::format::Kept;

/// A value as of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a value with its number")]
pub struct Revised<T> {
    /// How many updates were made so far.
    pub revision: u64,
    /// The value.
    pub value: T,
}

pub(super) fn read<T: DeserializeOwned>(kept: &Kept) -> Result<Revised<T>> {
    let Some(codec) = Codec::from_id(kept.codec) else {
        return Err(Error::new(ErrorKind::Corrupt, "shared state is in a codec that this program does not have"));
    };
    Ok(Revised { revision: kept.revision, value: codec.decode(&kept.value)? })
}
