//! What replicas tell each other in a moment: counters, limits, permits and messages.

mod absent;
mod api;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod connect;
mod hub;
mod layered;
mod level;
mod memory;
mod operation;
mod options;
mod outcome;
mod rate;
#[cfg(feature = "redis")]
mod redis;

pub use self::absent::AbsentSignals;
pub use self::api::{Signals, SignalsExt};
pub use self::connect::{check, open};
pub use self::hub::{Hub, News, Readiness, Subscriber};
pub use self::layered::LayeredSignals;
pub use self::memory::MemorySignals;
pub use self::options::{
    AcquireOptions, AddOptions, CountOptions, PublishOptions, ReleaseOptions, RenewOptions, ResetOptions, TakeOptions,
};
pub use self::outcome::{Acquired, Count, PermitId, Renewed, Taken};
pub use self::rate::Rate;
#[cfg(feature = "redis")]
pub use self::redis::RedisSignals;
