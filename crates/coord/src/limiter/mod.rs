//! How often something may be done, in the whole fleet.

mod check;
mod decision;
#[cfg(feature = "tower")]
mod layer;

pub use self::check::{RateLimiter, WithoutStore};
pub use self::decision::{DecidedBy, Decision};
#[cfg(feature = "tower")]
pub use self::layer::{RateLimitLayer, RateLimitService};
