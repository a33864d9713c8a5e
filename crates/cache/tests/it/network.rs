//! Every verb of the cache under every fault of the network: which outcomes are allowed, within what time, and what is there
//! afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use statehouse_core::{Error, Fence, Key, RaiseOptions};
use statehouse_testkit::{Effect, NetworkSubject, RedisTopology, network_table};

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    GetLarge,
    GetMany,
    Set,
    SetLarge,
    SetIfAbsent,
    SetIfVersion,
    SetUnderLease,
    SetFenced,
    Remove,
    RemoveIfVersion,
    Touch,
    Reserve,
    Clear,
    Raise,
    GetOrLoad,
}

/// One client behind the fault, and another around it.
struct Behind {
    cache: RedisCache,
    around: RedisCache,
    typed: TypedCache<u32>,
}

/// An entry that may be there.
struct Scene {
    key: CacheKey,
    version: Version,
    lease: Option<Lease>,
    holders: [Fence; 2],
}

impl NetworkSubject for Behind {
    type Verb = Verb;
    type Scene = Scene;

    const VERBS: &'static [Verb] = &[
        Verb::Get,
        Verb::GetLarge,
        Verb::GetMany,
        Verb::Set,
        Verb::SetLarge,
        Verb::SetIfAbsent,
        Verb::SetIfVersion,
        Verb::SetUnderLease,
        Verb::SetFenced,
        Verb::Remove,
        Verb::RemoveIfVersion,
        Verb::Touch,
        Verb::Reserve,
        Verb::Clear,
        Verb::Raise,
        Verb::GetOrLoad,
    ];

    fn effect(verb: Verb) -> Effect {
        match verb {
            Verb::Get | Verb::GetLarge | Verb::GetMany => Effect::Reads,
            Verb::GetOrLoad => Effect::Endures,
            _ => Effect::Writes,
        }
    }

    fn deadline(verb: Verb) -> u64 {
        match verb {
            // It reads, loads and stores.
            Verb::GetOrLoad => 3 * 3,
            // A write that ends what other schemas have, and one that may be repeated.
            Verb::Get | Verb::GetMany | Verb::Raise => 3,
            // 64 KiB are given a little more time.
            Verb::GetLarge => 4,
            _ => 7,
        }
    }

    fn is_large(verb: Verb) -> bool {
        matches!(verb, Verb::GetLarge | Verb::SetLarge)
    }

    async fn open(url: &str, around: &str) -> std::result::Result<Self, String> {
        let namespace = namespace();
        let mut parsed = ServiceUrl::parse("URL", url).unwrap();
        let config = RedisConfig::from_url(&mut parsed).unwrap();
        let client = RedisClient::open(config).await.map_err(|error| error.to_string())?;
        let around = InRedis { url: around.to_owned(), namespace: namespace.clone(), name: "main" };
        let typed = Caches::redis(client.clone(), &namespace).cache("typed").time_to_live(LONG).open().unwrap();
        let cache = RedisCache::new(client, &namespace, "main", SchemaId(1)).unwrap();
        Ok(Self { cache, around: around.cache("main").await, typed })
    }

    async fn scene(&self, verb: Verb) -> Scene {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let name = LAST.fetch_add(1, Ordering::Relaxed);
        let (key, lock) = (key(&name.to_string()), Key::new(format!("lock/{name}")).unwrap());
        let holders = [1, 2].map(|token| Fence::new(lock.clone(), Version::new(token)));
        let (mut version, mut lease) = (Version::default(), None);
        match verb {
            Verb::SetUnderLease => {
                let reserved = self.around.reserve_with(&key, ReserveOptions::new(LONG)).await.unwrap();
                let Reservation::Leased(reserved) = reserved else { panic!("nothing is there") };
                lease = Some(reserved);
            }
            Verb::SetIfAbsent | Verb::Reserve => {}
            _ => version = self.around.set(&key, value("old ", verb), LONG).await.unwrap(),
        }
        Scene { key, version, lease, holders }
    }

    async fn run(&self, verb: Verb, scene: &Scene) -> std::result::Result<(), &'static str> {
        let work = match verb {
            Verb::Get | Verb::GetLarge | Verb::GetMany | Verb::Reserve | Verb::GetOrLoad => {
                self.reads(verb, scene).await
            }
            Verb::Remove | Verb::RemoveIfVersion | Verb::Clear => self.ends(verb, scene).await,
            Verb::Raise => self.cache.raise_with(&scene.holders[1], RaiseOptions::default()).await,
            Verb::Touch => {
                let touched = self.cache.touch(&scene.key, 2 * LONG).await;
                touched.map(|outcome| assert_eq!(outcome, TouchOutcome::Touched(scene.version)))
            }
            _ => self.sets(verb, scene).await,
        };
        work.map_err(|error: Error| error.kind().as_str())
    }

    async fn is_done(&self, verb: Verb, scene: &Scene) -> Option<bool> {
        let found = self.around.get(&scene.key).await.unwrap();
        match verb {
            Verb::Get | Verb::GetLarge | Verb::GetMany | Verb::Reserve | Verb::GetOrLoad => None,
            Verb::Remove | Verb::RemoveIfVersion => Some(found.is_none()),
            // One that fails may have cleared a part.
            Verb::Clear => found.is_some().then_some(false),
            Verb::Touch => {
                let found = found.expect("it is there");
                Some(found.expires.since(found.created) > LONG * 3 / 2)
            }
            Verb::Raise => {
                let options = SetOptions::new(LONG).with_fence(&scene.holders[0]);
                let late = self.around.set_with(&scene.key, value("late ", verb), options).await;
                // One that fails may have been raised.
                late.is_ok().then_some(false)
            }
            _ => {
                let before = matches!(verb, Verb::SetIfAbsent | Verb::SetUnderLease);
                assert!(found.is_some() || before, "what was there before is gone");
                Some(found.is_some_and(|found| found.value == value("new ", verb)))
            }
        }
    }

    async fn is_up(&self) -> bool {
        self.cache.health().await.is_up()
    }
}

/// Of 64 KiB, if it is large.
fn value(text: &str, verb: Verb) -> Bytes {
    text.repeat(if Behind::is_large(verb) { (64 << 10) / text.len() } else { 1 }).into()
}

impl Behind {
    async fn reads(&self, verb: Verb, scene: &Scene) -> Result<()> {
        let (cache, key) = (&self.cache, &scene.key);
        match verb {
            Verb::GetMany => {
                let found = cache.get_many(&[super::key("none"), key.clone()]).await?;
                let values: Vec<_> = found.into_iter().map(|found| found.map(|entry| entry.value)).collect();
                assert_eq!(values, [None, Some(value("old ", verb))]);
            }
            Verb::Reserve => {
                let reserved = cache.reserve_with(key, ReserveOptions::new(LONG)).await?;
                assert!(matches!(reserved, Reservation::Leased(_)), "{reserved:?}");
            }
            Verb::GetOrLoad => {
                let loaded = self.typed.get_or_load("typed", || async { Ok::<_, io::Error>(7) }).await?;
                assert_eq!(*loaded, 7);
            }
            _ => assert_eq!(cache.get(key).await?.expect("it is there").value, value("old ", verb)),
        }
        Ok(())
    }

    async fn sets(&self, verb: Verb, scene: &Scene) -> Result<()> {
        let mut options = SetOptions::new(LONG);
        match verb {
            Verb::SetIfAbsent => options = options.with_condition(Condition::Absent),
            Verb::SetIfVersion => options = options.with_condition(Condition::Match(scene.version)),
            Verb::SetUnderLease => options = options.with_lease(scene.lease.unwrap()),
            Verb::SetFenced => options = options.with_fence(&scene.holders[0]),
            _ => {}
        }
        let outcome = self.cache.set_with(&scene.key, value("new ", verb), options).await?;
        assert!(outcome.stored().is_some_and(|version| version > scene.version), "nobody else writes");
        Ok(())
    }

    async fn ends(&self, verb: Verb, scene: &Scene) -> Result<()> {
        let options = match verb {
            Verb::Clear => return self.cache.clear().await,
            Verb::RemoveIfVersion => RemoveOptions::default().with_condition(Condition::Match(scene.version)),
            _ => RemoveOptions::default(),
        };
        assert_eq!(self.cache.remove_with(&scene.key, options).await?, RemoveOutcome::Removed);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_every_fault_of_the_network_every_verb_of_the_cache_ends_as_allowed_and_works_again_afterwards() {
    network_table::<Behind>(RedisTopology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_ends_every_verb_of_the_cache_behind_a_sentinel_as_allowed() {
    network_table::<Behind>(RedisTopology::Sentinel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_ends_every_verb_of_the_cache_in_a_cluster_as_allowed() {
    network_table::<Behind>(RedisTopology::Cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_deadline_returns_by_then() {
    const DEADLINE: Duration = Duration::from_millis(100);
    let server = RedisServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let behind = Behind::open(&format!("{}{PATIENT}", proxy.url(&server.url())), &server.url()).await.unwrap();
    proxy.black_hole();
    let (cache, there) = (&behind.cache, key("there"));
    let timed = async |name: &str, call: &mut (dyn Future<Output = bool> + Send + Unpin)| {
        let begun = Instant::now();
        assert!(call.await, "{name}: no error");
        // Without it, as long as the client is patient.
        assert!(begun.elapsed() < PATIENCE / 2, "{name}: took {:?}", begun.elapsed());
    };
    let get = GetOptions::default().with_deadline(DEADLINE);
    timed("get", &mut Box::pin(async { cache.get_with(&there, get.clone()).await.is_err() })).await;
    let keys = std::slice::from_ref(&there);
    timed("get_many", &mut Box::pin(async { cache.get_many_with(keys, get.clone()).await.is_err() })).await;
    let set = SetOptions::new(LONG).with_deadline(DEADLINE);
    timed("set", &mut Box::pin(async { cache.set_with(&there, Bytes::new(), set).await.is_err() })).await;
    let remove = RemoveOptions::default().with_deadline(DEADLINE);
    timed("remove", &mut Box::pin(async { cache.remove_with(&there, remove).await.is_err() })).await;
    let touch = TouchOptions::new(LONG).with_deadline(DEADLINE);
    timed("touch", &mut Box::pin(async { cache.touch_with(&there, touch).await.is_err() })).await;
    let reserve = ReserveOptions::new(LONG).with_deadline(DEADLINE);
    timed("reserve", &mut Box::pin(async { cache.reserve_with(&there, reserve).await.is_err() })).await;
    let clear = ClearOptions::default().with_deadline(DEADLINE);
    timed("clear", &mut Box::pin(async { cache.clear_with(clear).await.is_err() })).await;
}
