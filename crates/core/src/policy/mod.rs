//! When to ask a server again, and when not to ask it at all.
//!
//! No runtime is named here: nothing waits, and the time comes from a [`Clock`](crate::Clock).
//!
//! ```
//! use std::time::Duration;
//! use statehouse_core::policy::{Breaker, BreakerSettings, BreakerState};
//! use statehouse_core::{ErrorKind, ManualClock, Retry};
//!
//! let clock = ManualClock::default();
//! let breaker = Breaker::with_clock(BreakerSettings::default().with_failures(2), clock.clone());
//! for _ in 0..2 {
//!     let permit = breaker.ask().unwrap();
//!     clock.advance(Duration::from_secs(1));
//!     permit.failed(); // no answer in time
//! }
//! assert!(matches!(breaker.state(), BreakerState::Open { .. }));
//! let error = breaker.ask().unwrap_err().error("the index");
//! assert_eq!(error.kind(), ErrorKind::Unavailable);
//! assert!(matches!(error.retry(), Retry::After(_)));
//! ```

mod backoff;
mod breaker;
mod pace;
mod per_server;
mod trouble;

pub use backoff::{Backoff, RetryBudget};
pub use breaker::{Breaker, BreakerSettings, BreakerState, Permit, Refused};
pub use pace::{Asked, Pace};
pub use per_server::PerServer;
pub use trouble::{Occasional, Trouble};
