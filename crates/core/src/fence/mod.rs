//! Fenced writes: what refuses the former holder of a lock.

mod marks;
mod token;

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

pub use self::marks::{Held, Marks};
pub use self::token::{AsFence, Fence};
#[cfg(doc)]
use crate::ErrorKind;
use crate::Result;

/// What a lock can guard: a handle of a service whose store keeps [marks](Fence).
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::{Fence, Guarded, Result};
///
/// /// Tells all of several that somebody has acquired a lock.
/// async fn raise_all(stores: &[&dyn Guarded], fence: &Fence) -> Result<()> {
///     for store in stores {
///         store.raise(fence, Duration::from_secs(5)).await?;
///     }
///     Ok(())
/// }
/// # let _ = raise_all(&[], &Fence::new(statehouse_core::Key::new("lock/export").unwrap(), Default::default()));
/// ```
pub trait Guarded: Debug + Send + Sync + 'static {
    /// Raises the mark to the fence's token: once this has returned, writes of all former holders are refused.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if the mark stands higher already, [`ErrorKind::Unsupported`] if the store keeps no marks; else
    /// what prevented it, or may have: after those the mark may have been raised, and may be again.
    fn raise<'a>(&'a self, fence: &'a Fence, limit: Duration) -> Raising<'a>;
}

/// What [`Guarded::raise`] returns.
pub type Raising<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Options of raising a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RaiseOptions {
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl RaiseOptions {
    /// With a deadline for this call.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// The setter that the options of every write have that can be fenced, as all services spell it.
#[doc(hidden)]
#[macro_export]
macro_rules! with_fence {
    () => {
        /// Only as long as nobody else has acquired the lock since: else it is refused as
        /// [`Fenced`](statehouse_core::ErrorKind::Fenced).
        #[must_use]
        pub fn with_fence(mut self, fence: &impl $crate::AsFence) -> Self {
            self.fence = Some(fence.as_fence().clone());
            self
        }
    };
}
