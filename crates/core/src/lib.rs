//! What the statehouse services share: errors, names, the stored envelope, codecs, clocks and settings.
//!
//! ```
//! use statehouse_core::{ErrorKind, Key, Namespace};
//!
//! let namespace = Namespace::new("clinic.prod")?;
//! let key = Key::new("rates/EUR-USD")?;
//! assert_eq!(format!("{namespace}:{key}"), "clinic.prod:rates/EUR-USD");
//! assert_eq!(Key::new("../etc/passwd").unwrap_err().kind(), ErrorKind::InvalidInput);
//! # Ok::<(), statehouse_core::Error>(())
//! ```
//!
//! This crate names no client library and no async runtime. Applications meet its types through the facade crate
//! `statehouse`; authors of further backends depend on it directly.

pub mod capability;
mod clock;
mod codec;
mod condition;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod counter;
pub mod deadline;
mod envelope;
mod error;
pub mod folder;
mod health;
pub mod hex;
mod key;
pub mod layer;
mod namespace;
mod nearest;
mod operation;
pub mod policy;
mod scheme;
mod secret;
mod service_url;
pub mod time;
mod version;

pub use capability::{Capabilities, Capability};
pub use clock::{Clock, CoarseClock, ManualClock, SystemClock, Timestamp};
pub use codec::{Codec, CodecId};
pub use condition::Condition;
pub use counter::Counter;
pub use envelope::{Envelope, EnvelopeError, Flags, Generation, SchemaId, Stamp};
pub use error::{Error, ErrorKind, Result, Retry};
pub use health::{Health, HealthStatus};
pub use key::Key;
pub use namespace::Namespace;
pub use nearest::nearest;
pub use operation::Operation;
pub use scheme::Scheme;
pub use secret::Secret;
pub use service_url::{Host, ServiceUrl};
pub use version::Version;
