//! The cases, each named as what it shows. They panic when it does not hold.
#![expect(missing_docs, reason = "the names of the cases say it all")]

mod cookies;
mod deletions;
mod expiry;
mod records;
mod requests;
mod rotations;
mod support;

pub use self::cookies::*;
pub use self::deletions::*;
pub use self::expiry::*;
pub use self::records::*;
pub use self::requests::*;
pub use self::rotations::*;
