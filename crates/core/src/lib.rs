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
//! # Concepts
//! - An [`Error`] says what failed, where and on what, by its [kind](ErrorKind) what a caller can do, and by [`Retry`] whether
//!   trying again helps.
//! - A [`Namespace`] keeps one application's names apart from another's, a [`Key`] names one thing in it, and a [`Version`]
//!   one state of that thing.
//! - An [`Envelope`] is what a stored value is wrapped in: its codec, schema and checksum. A [`Codec`] makes bytes of values.
//! - A [`ServiceUrl`] is a setting, read once and held against what it may say. A [`Secret`] is printed nowhere.
//! - [`Capabilities`] are what one backend can do that another may not; [`Health`] is how it is.
//! - A [`Clock`] is injected wherever time decides, so that tests move it and wait for nothing.
//! - A [`Layer`](layer::Layer) goes around every call of any store.
//! - A [`Fence`] is what a write under a lock carries, so that a store refuses it once somebody else has that lock.
//!
//! # What it is not
//! This crate names no client library and no async runtime. Applications meet its types through the facade crate
//! `statehouse`; authors of further backends depend on it directly.
//!
//! # Features
//! | feature | adds | cost |
//! | --- | --- | --- |
//! | `json` | [`Codec`] of JSON | `serde_json` |
//! | `postcard` | that of postcard | `postcard` |
//! | `bincode` | that of bincode | `bincode` |
//! | `metrics` | durations of operations, and the counters that each crate lists | `metrics` |
//! | `conformance` | what the suites of the services share | `tokio` |
//!
//! None is on by default; MessagePack is always there.
//!
//! # Errors
//! What each [`ErrorKind`] means, and what a caller does, is in its documentation.
//!
//! # Logs and metrics
//! Each operation of a backend is a span of level `DEBUG` and, with the feature `metrics`, a duration: see [`Operation`]. A
//! [`Counter`] counts what happens.
//!
//! # Testing your own backend
//! With the feature `conformance` the module of that name says how a suite makes a backend and lets its time pass; the suite
//! itself is in the service's crate.

pub mod capability;
mod checked_text;
mod clock;
mod codec;
mod condition;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod counter;
pub mod deadline;
mod envelope;
mod error;
pub mod fence;
pub mod folder;
mod health;
pub mod hex;
mod key;
mod key_ring;
pub mod layer;
mod namespace;
mod nearest;
mod operation;
pub mod policy;
mod polled;
mod scheme;
mod secret;
mod service_links;
mod service_url;
mod setting_file;
pub mod span;
mod sync;
pub mod time;
mod under_way;
mod unreached;
mod version;

pub use capability::{Capabilities, Capability};
pub use clock::{Clock, CoarseClock, ManualClock, Steady, SystemClock, Timestamp};
pub use codec::{Codec, CodecId};
pub use condition::Condition;
pub use counter::Counter;
pub use envelope::{Envelope, EnvelopeError, Flags, Generation, SchemaId, Stamp};
pub use error::{Error, ErrorKind, Result, Retry};
pub use fence::{AsFence, Fence, Guarded, RaiseOptions};
pub use health::{Health, HealthStatus};
pub use key::Key;
pub use key_ring::KeyRing;
pub use namespace::Namespace;
pub use nearest::nearest;
pub use operation::Operation;
pub use polled::take_polled;
pub use scheme::{REDIS_SCHEMES, Scheme};
pub use secret::Secret;
pub use service_links::is_service_link;
pub use service_url::{Host, ServiceUrl};
pub use setting_file::read_setting_file;
pub use under_way::UnderWay;
pub use unreached::{Unreached, causes};
pub use version::Version;
