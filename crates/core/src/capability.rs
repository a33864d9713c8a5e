//! What one backend can do that another of the same service may not.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::{Error, ErrorKind, Result};

/// Every replica sees the same, on whatever host it runs.
pub const SHARED: Capability = Capability::new("shared", "seen by every replica");

/// What was acknowledged survives the end of the process.
pub const DURABLE: Capability = Capability::new("durable", "survives the end of the process");

/// Refuses what a former holder of a lock writes: see [`Fence`](crate::Fence). From when its successor has acquired the lock, if
/// that names the store, save for what was on its way then: that needs [`FENCED_AT_ONCE`].
pub const FENCED: Capability = Capability::new("fenced", "refuses what a former holder of a lock writes");

/// The check of a fenced write and the write are one step: once a mark is raised, nothing below it is made any more. Comes with
/// [`FENCED`].
pub const FENCED_AT_ONCE: Capability =
    Capability::new("fenced_at_once", "refuses also what was on its way when the lock was acquired by somebody else");

/// Something a backend can do that another backend of the same service may not.
///
/// [`SHARED`], [`DURABLE`] and [`FENCED`] mean the same in every service. Each service crate declares its own beside them, as
/// constants of its module `capability`; two capabilities are the same if their names are, whatever words
/// each service has for the meaning.
#[derive(Clone, Copy)]
pub struct Capability {
    name: &'static str,
    meaning: &'static str,
}

impl Capability {
    /// A capability with a short name in `snake_case` and its meaning in a few words.
    #[must_use]
    pub const fn new(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning }
    }

    /// The short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The meaning, as a phrase.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.meaning
    }
}

impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Capability {}

impl PartialOrd for Capability {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Capability {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(other.name)
    }
}

impl Hash for Capability {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The set of capabilities that a backend has. What is not in the set is refused with
/// [`ErrorKind::Unsupported`], never approximated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(BTreeSet<Capability>);

impl Capabilities {
    /// Whether the capability is in the set.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
    }

    /// Succeeds if the capability is in the set.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], naming the capability.
    pub fn require(&self, capability: Capability) -> Result<()> {
        if self.has(capability) {
            return Ok(());
        }
        let message = format!("this backend lacks {} ({})", capability.name, capability.meaning);
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// The set without one capability, for wrappers and for what a probe found missing.
    ///
    /// ```
    /// use statehouse_core::capability::{Capabilities, DURABLE, SHARED};
    ///
    /// let found = Capabilities::from_iter([DURABLE, SHARED]).without(DURABLE);
    /// assert!(found.require(SHARED).is_ok() && !found.has(DURABLE));
    /// ```
    #[must_use]
    pub fn without(mut self, capability: Capability) -> Self {
        self.0.remove(&capability);
        self
    }

    /// The capabilities in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = Capability> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<T: IntoIterator<Item = Capability>>(capabilities: T) -> Self {
        Self(capabilities.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_alone_says_which_it_is() {
        use std::collections::HashSet;
        const ELSEWHERE: Capability = Capability::new("shared", "several processes work on the same files");
        assert_eq!(SHARED, ELSEWHERE);
        assert_ne!(SHARED, DURABLE);
        assert_eq!(SHARED.cmp(&ELSEWHERE), Ordering::Equal);
        assert!(SHARED > DURABLE);
        assert_eq!(HashSet::from([SHARED, ELSEWHERE, DURABLE]).len(), 2);
        let all = Capabilities::from_iter([SHARED, ELSEWHERE]);
        assert!(all.has(ELSEWHERE) && all.iter().count() == 1);
        assert!(!all.without(ELSEWHERE).has(SHARED));
    }

    #[test]
    fn what_is_missing_is_refused_by_name() {
        let all = Capabilities::from_iter([SHARED]);
        assert!(all.require(SHARED).is_ok());
        let error = all.without(SHARED).require(SHARED).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.to_string(), "this backend lacks shared (seen by every replica)");
    }
}
