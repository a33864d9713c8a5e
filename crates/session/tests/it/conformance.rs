use std::sync::Arc;
use std::time::Duration;

use statehouse_core::conformance::Backend;
use statehouse_core::{Capabilities, KeyRing, ManualClock, Namespace, Secret};
use statehouse_session::{
    LocalConfig, LocalSessionStore, MemoryConfig, MemorySessionStore, RedisSessionStore, SealedSessionStore,
    SessionStore,
};
use statehouse_testkit::{RedisCluster, RedisSentinel, RedisServer};
use tempfile::TempDir;

mod asvs;

const MINUTE: Duration = Duration::from_secs(60);

struct Memory {
    store: Arc<MemorySessionStore>,
    clock: ManualClock,
}

impl Backend for Memory {
    type Service = dyn SessionStore;

    async fn service(&self) -> Arc<dyn SessionStore> {
        Arc::<MemorySessionStore>::clone(&self.store)
    }

    async fn capabilities(&self) -> Capabilities {
        self.service().await.capabilities()
    }

    async fn pass_time(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn bounded(&self, sessions: usize) -> Arc<dyn SessionStore> {
        let config = MemoryConfig::default().with_clock(self.clock.clone()).with_max_sessions(sessions).unwrap();
        Arc::new(MemorySessionStore::with_config(config))
    }

    fn step(&self) -> Duration {
        MINUTE
    }
}

mod memory {
    use super::*;

    pub(super) fn backend() -> Memory {
        let clock = ManualClock::default();
        let config = MemoryConfig::default().with_clock(clock.clone());
        Memory { store: Arc::new(MemorySessionStore::with_config(config)), clock }
    }

    statehouse_session::session_conformance!(async { backend() });
}

struct Disk {
    store: Option<Arc<LocalSessionStore>>,
    clock: ManualClock,
    folder: TempDir,
}

impl Disk {
    async fn open(&mut self) {
        let config = LocalConfig::new(self.folder.path()).with_clock(self.clock.clone());
        self.store = Some(Arc::new(LocalSessionStore::open_with(config).await.unwrap()));
    }
}

impl Backend for Disk {
    type Service = dyn SessionStore;

    async fn service(&self) -> Arc<dyn SessionStore> {
        Arc::<LocalSessionStore>::clone(self.store.as_ref().unwrap())
    }

    async fn capabilities(&self) -> Capabilities {
        self.service().await.capabilities()
    }

    async fn reopen(&mut self) {
        self.store = None;
        self.open().await;
    }

    async fn pass_time(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn bounded(&self, sessions: usize) -> Arc<dyn SessionStore> {
        let config = LocalConfig::new(self.folder.path().join("bounded")).with_clock(self.clock.clone());
        Arc::new(LocalSessionStore::open_with(config.with_max_sessions(sessions).unwrap()).await.unwrap())
    }

    fn step(&self) -> Duration {
        MINUTE
    }
}

mod disk {
    use super::*;

    pub(super) async fn backend() -> Disk {
        let mut disk = Disk { store: None, clock: ManualClock::default(), folder: tempfile::tempdir().unwrap() };
        disk.open().await;
        disk
    }

    statehouse_session::session_conformance!(backend());
}

struct Redis {
    store: Arc<RedisSessionStore>,
    url: String,
    namespace: Namespace,
}

impl Redis {
    async fn at(url: String) -> Self {
        let namespace = crate::random_namespace();
        let store = crate::open_redis(&url, &namespace).await;
        Self { store: Arc::new(store), url, namespace }
    }
}

impl Backend for Redis {
    type Service = dyn SessionStore;

    async fn service(&self) -> Arc<dyn SessionStore> {
        Arc::<RedisSessionStore>::clone(&self.store)
    }

    async fn capabilities(&self) -> Capabilities {
        self.service().await.capabilities()
    }

    async fn reopen(&mut self) {
        self.store = Arc::new(crate::open_redis(&self.url, &self.namespace).await);
    }

    /// A key expires after the whole millisecond that it names.
    async fn pass_time(&self, time: Duration) {
        tokio::time::sleep(time + Duration::from_millis(2)).await;
    }

    async fn bounded(&self, sessions: usize) -> Arc<dyn SessionStore> {
        let store = crate::open_redis(&self.url, &crate::random_namespace()).await;
        Arc::new(store.with_max_anonymous(sessions as u64).unwrap())
    }

    /// Half an idle timeout is what a loaded machine may be late.
    fn step(&self) -> Duration {
        Duration::from_millis(200)
    }
}

mod redis {
    use super::*;

    pub(super) async fn backend() -> Redis {
        Redis::at(RedisServer::shared().await.url()).await
    }

    statehouse_session::session_conformance!(backend());
}

mod redis_cluster {
    use super::*;

    pub(super) async fn backend() -> Redis {
        Redis::at(RedisCluster::shared().await.url()).await
    }

    statehouse_session::session_conformance!(backend());
}

/// There the same is sent as to a single server, save for where to. What a session has for times of its own is in all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_session_has_for_times_is_kept_behind_sentinels() {
    let url = &RedisSentinel::shared().await.url();
    let cases = [
        "whoever_is_remembered_stays_so_until_the_next_login",
        "whoever_is_remembered_is_listed_and_counted_for_as_long",
        "a_login_may_be_remembered_for_longer_than_the_configuration_keeps_others",
        "an_attribute_ends_by_the_stores_clock_and_the_others_stay",
        "an_attribute_that_is_set_again_ends_as_it_then_says",
        "an_attribute_ends_among_the_changes_of_parallel_requests",
    ];
    let run = |case| async move { statehouse_session::conformance::run(Redis::at(url.clone()).await, case).await };
    futures_util::future::join_all(cases.map(run)).await;
}

/// A backend whose sessions are sealed.
struct Sealed<B>(B);

fn sealed(inner: Arc<dyn SessionStore>) -> Arc<dyn SessionStore> {
    let keys = KeyRing::new("k", Secret::new("k".repeat(32))).unwrap();
    let names = Secret::new("n".repeat(32));
    Arc::new(SealedSessionStore::new(inner, &Namespace::new("test").unwrap(), keys, &names).unwrap())
}

impl<B: Backend<Service = dyn SessionStore> + Sync> Backend for Sealed<B> {
    type Service = dyn SessionStore;

    async fn service(&self) -> Arc<dyn SessionStore> {
        sealed(self.0.service().await)
    }

    async fn capabilities(&self) -> Capabilities {
        self.service().await.capabilities()
    }

    async fn reopen(&mut self) {
        self.0.reopen().await;
    }

    async fn pass_time(&self, time: Duration) {
        self.0.pass_time(time).await;
    }

    async fn bounded(&self, sessions: usize) -> Arc<dyn SessionStore> {
        sealed(self.0.bounded(sessions).await)
    }

    fn step(&self) -> Duration {
        self.0.step()
    }
}

mod sealed_memory {
    use super::*;

    statehouse_session::session_conformance!(async { Sealed(memory::backend()) });
}

mod sealed_disk {
    use super::*;

    statehouse_session::session_conformance!(async { Sealed(disk::backend().await) });
}

mod sealed_redis {
    use super::*;

    statehouse_session::session_conformance!(async { Sealed(redis::backend().await) });
}

mod sealed_redis_cluster {
    use super::*;

    statehouse_session::session_conformance!(async { Sealed(redis_cluster::backend().await) });
}
