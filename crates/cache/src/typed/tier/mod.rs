//! Where a typed cache keeps its values.

mod bytes;
mod contract;
mod memory;

pub(crate) use bytes::BytesTier;
pub(crate) use contract::{Access, Claim, Format, Place, Tier};
pub use contract::{CacheValue, VerifyCodec};
pub(crate) use memory::{Measure, MemoryTier, Weigher};
