#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod config;
#[cfg(feature = "coord")]
mod coordination;
mod deferred;
mod describe;
mod description;
mod diagnose;
mod diagnosis;
mod findings;
/// The code of the guide runs.
#[cfg(all(doctest, feature = "full"))]
mod guide {
    #[doc = include_str!("../docs/guide/caches.md")]
    struct Caches;
    #[doc = include_str!("../docs/guide/devices.md")]
    struct Devices;
    #[doc = include_str!("../docs/guide/document-types.md")]
    struct DocumentTypes;
    #[doc = include_str!("../docs/guide/finding.md")]
    struct Finding;
    #[doc = include_str!("../docs/guide/files.md")]
    struct Files;
    #[doc = include_str!("../docs/guide/files-to-s3.md")]
    struct FilesToS3;
    #[doc = include_str!("../docs/guide/replicas.md")]
    struct Replicas;
    #[doc = include_str!("../docs/guide/run-once.md")]
    struct RunOnce;
    #[doc = include_str!("../docs/guide/sealed-sessions.md")]
    struct SealedSessions;
    #[doc = include_str!("../docs/guide/search-pages.md")]
    struct SearchPages;
    #[doc = include_str!("../docs/guide/static-state.md")]
    struct StaticState;
    #[doc = include_str!("../docs/guide/testing.md")]
    struct Testing;
    #[doc = include_str!("../docs/guide/together.md")]
    struct Together;
    #[doc = include_str!("../docs/guide/tower-sessions.md")]
    struct TowerSessions;
}
#[cfg(feature = "coord")]
mod fleet;
#[cfg(feature = "coord")]
mod fleet_report;
mod health;
#[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
mod in_redis;
mod lazy;
#[cfg(feature = "serve")]
mod lifecycle;
#[cfg(feature = "coord")]
mod loader;
#[cfg(feature = "coord")]
mod members;
#[cfg(feature = "coord-redis")]
mod neighbours;
mod open;
#[cfg(feature = "serve")]
mod operations;
mod place;
mod read_only;
mod retries;
#[cfg(feature = "_search")]
mod search_index;
mod service;
mod services;
#[cfg(feature = "coord")]
mod signals;
mod slot;
#[cfg(feature = "serve")]
mod standing;
mod watched;

pub use builder::ServicesBuilder;
pub use config::{Config, ServiceConfig};
pub use description::{Description, ServiceDescription, ServiceState};
pub use diagnosis::{Diagnosis, Finding, ServerDiagnosis, ServiceDiagnosis, Severity};
#[cfg(feature = "coord")]
pub use fleet_report::{FleetDifference, FleetReport, ReplicaReport};
pub use health::ServicesHealth;
#[cfg(feature = "coord")]
pub use loader::Loader;
#[cfg(feature = "serve")]
pub use operations::{Dependency, Operations, PeerAddress, ProbeBody, Probes, RequestBody, Startup};
pub use retries::{Attempt, Failed, Retries};
#[cfg(feature = "_search")]
pub use search_index::SearchBuilder;
pub use service::Service;
pub use services::Services;

pub use statehouse_core::{
    Capabilities, Capability, Codec, Error, ErrorKind, Health, HealthStatus, Key, KeyRing, Namespace, Result, Retry,
    Secret, UnderWay, Version,
};
pub use statehouse_session::{Session, SessionLayer};

/// Caches: the trait, the typed front and the backends.
pub use statehouse_cache as cache;
/// The Redis connector, for an application that brings a client or a pool of its own.
#[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
pub mod redis {
    pub use statehouse_redis::{RedisClient, RedisConfig, deadpool_redis};
}
/// Coordination of replicas: locks, what runs once or at planned times, shared state, what counts once, and the stores below.
#[cfg(feature = "coord")]
pub use statehouse_coord as coord;
/// What all services share, for authors of backends.
pub use statehouse_core as core;
/// Files: the trait, the handle and the backends.
pub use statehouse_filestore as files;
/// Sessions: the trait, the tower layer and the backends.
pub use statehouse_session as session;

/// Search: the trait, the query tree, the typed front and the backends.
#[cfg(feature = "_search")]
pub mod search {
    /// Implements [`Document`](trait@Document) for a struct.
    pub use statehouse_derive::FacadeDocument as Document;
    pub use statehouse_search::*;
}
