//! The services by their names.

use std::fmt;

use serde::Serialize;

/// One of the services.
///
/// ```
/// use statehouse::Service;
///
/// assert_eq!(Service::Sessions.to_string(), "sessions");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Service {
    /// The caches.
    Cache,
    /// The store of the sessions.
    Sessions,
    /// The store of the files.
    Files,
    /// The search indexes.
    #[cfg(feature = "_search")]
    Search,
    /// What replicas do together.
    #[cfg(feature = "coord")]
    Coordination,
    /// What replicas tell each other of the moment: counters, limits, permits and messages.
    #[cfg(feature = "coord")]
    Signals,
}

impl Service {
    /// Its name in settings, errors and health.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Sessions => "sessions",
            Self::Files => "files",
            #[cfg(feature = "_search")]
            Self::Search => "search",
            #[cfg(feature = "coord")]
            Self::Coordination => "coordination",
            #[cfg(feature = "coord")]
            Self::Signals => "signals",
        }
    }

    /// Whether a server that evicts loses what nobody can bring back.
    pub(crate) const fn must_stay(self) -> bool {
        match self {
            #[cfg(feature = "coord")]
            Self::Coordination => true,
            Self::Sessions => true,
            _ => false,
        }
    }

    /// What of `ServicesBuilder` brings it along.
    pub(crate) const fn brought_by(self) -> &'static str {
        match self {
            Self::Cache => "ServicesBuilder::with_caches",
            Self::Sessions => "ServicesBuilder::with_sessions",
            Self::Files => "ServicesBuilder::with_files",
            #[cfg(feature = "_search")]
            Self::Search => "ServicesBuilder::with_search",
            #[cfg(feature = "coord")]
            Self::Coordination => "ServicesBuilder::with_coordination",
            #[cfg(feature = "coord")]
            Self::Signals => "ServicesBuilder::with_signals",
        }
    }

    /// The scheme of a backend that all replicas see, its feature, and whether that is compiled in.
    pub(crate) const fn shared_by(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Cache => ("redis:", "cache-redis", cfg!(feature = "cache-redis")),
            Self::Sessions => ("redis:", "session-redis", cfg!(feature = "session-redis")),
            Self::Files => ("s3:", "filestore-s3", cfg!(feature = "filestore-s3")),
            #[cfg(feature = "_search")]
            Self::Search => ("opensearch+https:", "search-opensearch", cfg!(feature = "search-opensearch")),
            #[cfg(feature = "coord")]
            Self::Coordination | Self::Signals => ("redis:", "coord-redis", cfg!(feature = "coord-redis")),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
