//! What is stored for a session, and the rules of changing it that every backend shares.

mod attribute;
mod attributes;
mod change;
mod delta;
mod ends;
mod format;
mod limit;
mod saves;
mod snapshot;
mod stored;

pub use self::attribute::{Attribute, AttributeName};
pub(crate) use self::attribute::{entry_size, short_type_name};
pub use self::attributes::{Attributes, AttributesIter};
pub use self::change::{Authority, NewSession, Persistence, Principal, Revoke, Rotate, Rotation};
pub use self::delta::Delta;
#[cfg(feature = "redis")]
pub(crate) use self::format::TOMBSTONE;
#[cfg(any(unix, feature = "redis", test))]
pub(crate) use self::format::deleted_at;
#[cfg(any(unix, test))]
pub(crate) use self::format::tombstone;
pub use self::limit::{Beyond, Limit, Timeouts};
pub use self::saves::SaveId;
#[cfg(feature = "sealed")]
pub(crate) use self::snapshot::Sealed;
pub use self::snapshot::Snapshot;
pub use self::stored::Record;

#[cfg(test)]
pub(crate) mod tests;
