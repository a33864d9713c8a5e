//! What an application makes of signals.

use std::sync::Arc;

use crate::broadcast::Broadcast;
use crate::coordination::Coordination;
use crate::counter::Counter;
use crate::limiter::{RateLimiter, WithoutStore};
use crate::permits::Permits;
use crate::signals::Rate;

/// Of [signals](Self::signals); without any, every call of these is
/// [`Unsupported`](statehouse_core::ErrorKind::Unsupported).
impl Coordination {
    /// The counter of this name.
    pub fn counter(&self, name: &str) -> Counter {
        Counter::new(Arc::clone(self.signals()), name)
    }

    /// The limit of this name.
    pub fn limiter(&self, name: &str, rate: Rate, without_store: WithoutStore) -> RateLimiter {
        RateLimiter::new(Arc::clone(self.signals()), name, rate, without_store)
    }

    /// Permits of this name, of which so many are held at a time.
    pub fn permits(&self, name: &str, most: u32) -> Permits {
        Permits::new(Arc::clone(self.signals()), name, most).with_leases(self.leases().clone())
    }

    /// The channel of this name, which all replicas hear.
    pub fn broadcast(&self, name: &str) -> Broadcast {
        Broadcast::new(Arc::clone(self.signals()), name)
    }
}
