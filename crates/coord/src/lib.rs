//! Coordination of replicas: locks, what runs once in the fleet or at planned times, state that all share, who is there, and
//! tokens and requests that count once, on one small contract.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use statehouse_coord::{Coordination, MemoryCoordStore, Ran, Revision, Run};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
//!
//! // One replica at a time; the work is dropped if the lock is lost.
//! let guard = coord.lock("nightly-export").lease(Duration::from_secs(15)).wait(Duration::from_secs(5)).await?;
//! guard.run(async { Ok::<_, statehouse_core::Error>(()) }).await?;
//! guard.release().await?;
//!
//! // Once in the fleet; a successor goes on from the checkpoint.
//! let load = async |run: Run| run.save("batch 1", 1, 1).await;
//! let ran = coord.run_once("terminology", Revision::new(202_604, "sha256:4a7d1e")).run(load).await?;
//! assert_eq!(ran, Ran::Now { attempt: 1 });
//!
//! // Kept by all of them, without a lost update.
//! let hits = coord.state::<u64>("hits");
//! assert_eq!(hits.update("front", |before| before.unwrap_or(0) + 1).await?.revision, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Concepts
//! - A **record** is a few bytes under a key, with a version and, if it is to end by itself, a time to live. A
//!   [`CoordStore`] keeps them; everything else is made of them.
//! - A **version** is given out by the store and only rises, so that of two writers it is known who came later. That of a
//!   lock, when it was acquired, is its holder's [token](Guard::token).
//! - A **lease** is for how long a lock is held if it is not renewed. Its holder counts it from when it asked, and steps down
//!   by itself.
//! - **Signals** are what replicas tell each other in a moment, and may forget: counters, limits, permits and messages.
//!   [`Signals`] are a contract of their own, with backends of their own, since what is asked for in each request is not to
//!   wait for a disk.
//! - A **member** is a replica that says again and again that it is there. Who is there is a hint, and excludes nobody.
//! - Replicas are equal, and meet only in the store: there is no traffic between them.
//!
//! # What it is not
//! It is no consensus, and no database: what it promises is what its store keeps, a record is small, and those that stay are
//! few. Locks are neither fair nor re-entrant, and there are none for reading only. A lock does not stop what its holder has
//! sent already: where a late write would do harm, the lock [guards](Lock::guards) what is written to, and the write is fenced.
//!
//! # Backends and capabilities
//! | | survives a restart | shared by replicas | hears of changes |
//! | --- | --- | --- | --- |
//! | [`MemoryCoordStore`] | no | no | yes |
//! | [`FilesCoordStore`] | as the files | as the files | no: it looks again |
//! | `RedisCoordStore` | with an append-only file | yes | yes |
//! | [`MemorySignals`] | no | no | yes |
//! | `RedisSignals` | mostly | yes | yes |
//!
//! # Features
//! | feature | adds | cost |
//! | --- | --- | --- |
//! | `redis` | `RedisCoordStore`, for Redis 6.2 or newer and Valkey, single, Sentinel and Cluster | `statehouse-redis`: `redis`, `deadpool-redis` |
//! | `redis-tls` | `rediss:` URLs | `rustls` with `ring` |
//! | `azure` | `az:` URLs | as `s3` |
//! | `s3` | `s3:` URLs | `object_store`, `reqwest`, `rustls` with `ring` |
//! | `tower` | `IdempotencyLayer`: requests that are answered once; `RateLimitLayer` | `http`, `http-body`, `tower-layer`, `tower-service` |
//! | `axum` | what axum's `nest` takes away of a path counts for `IdempotencyLayer` | `axum` |
//! | `conformance` | the suite for testing a backend of your own | no further crates |
//!
//! None is on by default.
//!
//! # Errors
//! A store that cannot be reached is never taken for an absent record. That a lock is busy is an answer of its own
//! ([`LockError::Busy`]). A condition that does not hold is an answer, not an error; an answer that was lost is
//! [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown), and a put that is repeated with its id finds out.
//!
//! # Consistency and durability
//! [`CoordStore`] states the contract that every backend keeps, [`Lock`], [`RunOnce`] and [`SharedState`] what is made of it;
//! [`Signals`] states that of counters, limits, permits and messages.
//!
//! | | memory | files | Redis |
//! | --- | --- | --- | --- |
//! | [`Lock`]: two holders at once | never | never, as long as the file store keeps its conditions | never while one primary keeps its data, and its clock is not set forward; after a failover that lost the record, until the lease of the first is over |
//! | [`Guard::token`] | always rises | always rises | rises, also over a failover or a lost record, as long as the servers' clocks differ by less than the time in between |
//! | a killed holder's lock is free | after the lease | after the lease for who waited, else after another one | after the lease |
//! | [`RunOnce`]: the body | is done once | is recorded as done once; may be begun again after a crash | the same; again after a failover that lost the record |
//! | [`Schedule`]: a planned time | is done once | as its [`Delivery`] says after a crash | the same; claimed again after a failover that lost the claim |
//! | [`SingleUse`]: a token | is accepted once | is accepted once | is accepted once; again after a failover that lost the record |
//! | `IdempotencyLayer`: the claim of a killed process is free | after the lease | as a lock, from when somebody came with its key again | after the lease |
//! | [`SharedState`]: an acknowledged update | lives as the process | is as durable as the files | is as durable as the server; the last moments may be lost in a failover |
//! | [`Membership`]: a killed member is gone | after three heartbeats, 6 s | the same, or on S3 3 minutes | after 6 s; all are back with their next beats after a flush or a failover |
//! | [`Epoch`]: the format that is written | never falls | never falls | may fall in a failover that lost the record: who knew the higher one goes on with it |
//! | [`Permits`]: more than so many at once | never | not there | never while one primary keeps its data; after a failover that lost it, until the leases are over |
//! | [`RateLimiter`], [`Counter`] | exact | not there | exact while one primary keeps its data |
//! | [`Broadcast`] | heard by all, or [`Resync`](News::Resync) | not there | the same; of a loss between the nodes of a cluster, within two to four seconds |
//!
//! A store that replicas share and that does not keep what it was told is refused: Redis needs `appendonly yes` and
//! `maxmemory-policy noeviction`.
//!
//! **Processes that stop.** A process that is paused or starved, or a machine that is suspended, may go on after its lease is
//! over and another holder is at work. [`Guard::run`] drops the work before it takes another step (what a machine has slept through,
//! its wall clock tells), but a request that was sent
//! before the pause may still arrive after it. Where that would do harm, the write is [fenced](Lock::guards): the store then
//! refuses what comes with a lower token than its lock's last holder has. What each store promises of that, and where it ends,
//! is in [`guarantees`]. What keeps no marks, such as a database of the application's own, is sent the token, and keeps the
//! greatest one beside the data.
//!
//! # Logs and metrics
//! `coord.lock_lost` (`WARN`): a lock was lost before it was released; `coord.permit_lost`, a permit. `coord.run_begun` (`INFO`): an
//! attempt at what runs once.
//! `coord.member_forgotten` (`WARN`) and `coord.member_back` (`INFO`): the others do not count on this replica, and do again;
//! `coord.epoch_raised` (`INFO`) and `coord.member_behind` (`ERROR`): of formats.
//! `coord.sweep_failed` (`WARN`): used tokens and answered requests stay in the files.
//! `coord.not_durable` (`WARN`): a Redis that may forget. `coord.index_replaced` (`ERROR`): somebody has put something else where its
//! index of records is, so that scans lack what was not put since; `coord.beats_replaced` (`ERROR`), in the place of who beats;
//! `coord.count_replaced` (`ERROR`), of how many messages were published, which listeners take for something missed. Who waits says nothing. Values are in no line.
//!
//! # Testing your own backend
//! Another store, such as a database, is a type that implements [`CoordStore`]. With the feature `conformance` the macro
//! `coord_conformance!` makes one test for each behavior of the contract; a backend passes how to make an empty store, and how
//! its time passes. Of [`Signals`] the suite is that of [`signals`].

mod api;
mod away;
mod beats;
mod broadcast;
pub mod capability;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod connect;
mod coordination;
mod counter;
mod files;
#[cfg(feature = "redis")]
mod full;
pub mod guarantees;
mod handles;
mod hashed;
#[cfg(feature = "tower")]
mod idempotency;
mod key;
mod layered;
mod lease;
mod leases;
mod limiter;
mod lock;
mod membership;
mod memory;
mod operation;
mod options;
mod outcome;
mod permits;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod run_once;
mod schedule;
mod settled;
pub mod signals;
mod single_use;
mod state;
#[cfg(test)]
mod suspended;
mod term;
mod transfer;
#[cfg(feature = "tower")]
mod trouble;

pub use self::api::{Answer, CoordStore, CoordStoreExt};
pub use self::beats::{BeatKind, BeatOptions, Beaten, Beats, BeatsOptions};
pub use self::broadcast::Broadcast;
pub use self::connect::{check, open};
pub use self::coordination::Coordination;
pub use self::counter::Counter;
pub use self::files::{FilesConfig, FilesCoordStore};
#[cfg(feature = "tower")]
pub use self::idempotency::{IdempotencyBody, IdempotencyLayer, IdempotencyService};
pub use self::key::CoordKey;
pub use self::layered::LayeredCoordStore;
pub use self::leases::Leases;
pub use self::limiter::{DecidedBy, Decision, RateLimiter, WithoutStore};
#[cfg(feature = "tower")]
pub use self::limiter::{RateLimitLayer, RateLimitService};
pub use self::lock::{Busy, Guard, Lock, LockError, LockKind, LockList, LockReport};
pub use self::membership::{
    Behind, Epoch, Joined, Member, MemberId, MemberInfo, MemberState, MemberWatch, Membership, Raised,
};
pub use self::memory::{MemoryConfig, MemoryCoordStore};
pub use self::options::{
    Condition, GetOptions, NowOptions, PageToken, PutOptions, RemoveOptions, ScanOptions, WaitOptions,
};
pub use self::outcome::{Page, PutOutcome, RemoveOutcome};
pub use self::permits::{Permit, Permits};
pub use self::record::{Record, WriteId};
#[cfg(feature = "redis")]
pub use self::redis::RedisCoordStore;
pub use self::run_once::{Ran, Revision, Run, RunList, RunOnce, RunPhase, RunReport, RunStatus, Runs};
pub use self::schedule::{Delivery, Schedule, Tick};
#[cfg(feature = "redis")]
pub use self::signals::RedisSignals;
pub use self::signals::{
    AbsentSignals, AcquireOptions, Acquired, AddOptions, Count, CountOptions, Hub, LayeredSignals, MemorySignals, News,
    PermitId, PublishOptions, Rate, Readiness, ReleaseOptions, RenewOptions, Renewed, ResetOptions, Signals,
    SignalsExt, Subscriber, TakeOptions, Taken,
};
pub use self::single_use::{Accepted, SingleUse};
pub use self::state::{Revised, SharedState, StateWatch};
pub use self::transfer::{LastingKind, Transferred, copy_lasting};
