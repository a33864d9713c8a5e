use std::time::Duration;

use bytes::Bytes;
use statehouse_coord::{
    BeatOptions, BeatsOptions, Condition, CoordKey, CoordStore as _, CoordStoreExt as _, PutOptions, RedisCoordStore,
    RemoveOutcome, WaitOptions,
};
use statehouse_core::{Fence, RaiseOptions, ServiceUrl, Version};
use statehouse_testkit::{Effect, NetworkSubject, RedisTopology, network_table};

use super::{LONG, fresh_key, holders, large, word};
use crate::{open_redis, random_namespace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    GetLarge,
    Scan,
    Now,
    Beats,
    Wait,
    Put,
    PutLarge,
    PutAbsent,
    PutInPlaceOf,
    PutMatch,
    PutFenced,
    Remove,
    Raise,
    BeatAnew,
    BeatAgain,
    BeatLast,
}

/// As long as a wait whose limit nobody sets.
const WAIT: Duration = Duration::from_secs(1);
/// For how long a beat counts before and after the verb.
const BEATS: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(6_000)];

struct InRedis {
    store: RedisCoordStore,
    around: RedisCoordStore,
}

/// A record that may be there.
struct Scene {
    key: CoordKey,
    version: Version,
    holders: [Fence; 2],
}

impl NetworkSubject for InRedis {
    type Verb = Verb;
    type Scene = Scene;

    const VERBS: &'static [Verb] = &[
        Verb::Get,
        Verb::GetLarge,
        Verb::Scan,
        Verb::Now,
        Verb::Beats,
        Verb::Wait,
        Verb::Put,
        Verb::PutLarge,
        Verb::PutAbsent,
        Verb::PutInPlaceOf,
        Verb::PutMatch,
        Verb::PutFenced,
        Verb::Remove,
        Verb::Raise,
        Verb::BeatAnew,
        Verb::BeatAgain,
        Verb::BeatLast,
    ];

    fn effect(verb: Verb) -> Effect {
        match verb {
            Verb::Get | Verb::GetLarge | Verb::Scan | Verb::Now | Verb::Beats => Effect::Reads,
            Verb::Wait => Effect::Endures,
            _ => Effect::Writes,
        }
    }

    fn deadline(verb: Verb) -> u64 {
        match verb {
            Verb::Wait => WAIT.as_secs(),
            // Repeated once if its answer is lost, and 64 KiB are given a little more time.
            Verb::Put | Verb::PutLarge | Verb::PutAbsent | Verb::PutInPlaceOf | Verb::PutMatch | Verb::PutFenced => 7,
            Verb::Remove => 6,
            _ => 3,
        }
    }

    fn is_large(verb: Verb) -> bool {
        matches!(verb, Verb::GetLarge | Verb::PutLarge)
    }

    async fn open(url: &str, around: &str) -> Result<Self, String> {
        let namespace = random_namespace();
        let url = ServiceUrl::parse("STATEHOUSE_COORDINATION_URL", url).unwrap();
        let store = RedisCoordStore::open(url, &namespace).await.map_err(|error| error.to_string())?;
        Ok(Self { store, around: open_redis(around, &namespace).await })
    }

    async fn scene(&self, verb: Verb) -> Scene {
        let (key, holders) = (fresh_key(), holders());
        let value = if verb == Verb::GetLarge { large("old ") } else { "old ".to_owned() };
        let mut version = Version::default();
        if verb != Verb::PutAbsent {
            version = self.around.put(&key, value).await.unwrap().stored().unwrap();
        }
        if matches!(verb, Verb::Beats | Verb::BeatAgain | Verb::BeatLast) {
            self.around.beat_with(&key, version, BeatOptions::anew(BEATS[0])).await.unwrap();
        }
        Scene { key, version, holders }
    }

    async fn run(&self, verb: Verb, scene: &Scene) -> Result<(), &'static str> {
        let options = PutOptions::default();
        match verb {
            Verb::PutLarge => return self.put(scene, large("new "), options).await,
            Verb::PutAbsent => return self.put(scene, "new ", options.with_condition(Condition::Absent)).await,
            Verb::PutInPlaceOf => {
                let options = options.with_condition(Condition::Absent).or_in_place_of("old ");
                return self.put(scene, "new ", options).await;
            }
            Verb::PutMatch => {
                return self.put(scene, "new ", options.with_condition(Condition::Match(scene.version))).await;
            }
            Verb::PutFenced => return self.put(scene, "new ", options.with_fence(&scene.holders[0])).await,
            Verb::Put => return self.put(scene, "new ", options).await,
            _ => {}
        }
        let (store, key, version) = (&self.store, &scene.key, scene.version);
        match verb {
            Verb::Get | Verb::GetLarge => store.get(key).await.map(|found| {
                let value = found.expect("it is there").value;
                assert!(value.starts_with(b"old ") && (value.len() > 4) == (verb == Verb::GetLarge));
            }),
            Verb::Scan => store.scan(key.as_str()).await.map(|page| assert_eq!(page.records.len(), 1)),
            Verb::Now => store.now().await.map(|now| assert!(now.as_micros() >= version.get())),
            Verb::Beats => {
                let beats = store.beats_with(&group(key), BeatsOptions::default()).await;
                beats.map(|beats| assert_eq!(beats.living.len(), 1))
            }
            Verb::Wait => {
                store.wait_with(key, Some(version), WaitOptions::default().with_limit(WAIT)).await;
                Ok(())
            }
            Verb::Remove => store.remove(key, version).await.map(|outcome| assert_eq!(outcome, RemoveOutcome::Removed)),
            Verb::Raise => store.raise_with(&scene.holders[1], RaiseOptions::default()).await,
            Verb::BeatLast => {
                store.beat_with(key, version, BeatOptions::last()).await.map(|beaten| assert!(!beaten.is_there))
            }
            _ => {
                let kind = if verb == Verb::BeatAnew { BeatOptions::anew } else { BeatOptions::again };
                store.beat_with(key, version, kind(BEATS[1])).await.map(|beaten| assert!(beaten.is_there))
            }
        }
        .map_err(|error| word(&error))
    }

    async fn is_done(&self, verb: Verb, scene: &Scene) -> Option<bool> {
        let (around, key) = (&self.around, &scene.key);
        match verb {
            Verb::Get | Verb::GetLarge | Verb::Scan | Verb::Now | Verb::Beats | Verb::Wait => None,
            Verb::Remove => Some(around.get(key).await.unwrap().is_none()),
            Verb::Raise => {
                let options = PutOptions::default().with_fence(&scene.holders[0]);
                let late = around.put_with(key, "late".into(), options).await;
                // One that fails may have been raised.
                late.is_ok().then_some(false)
            }
            Verb::BeatAnew | Verb::BeatAgain | Verb::BeatLast => {
                let beats = around.beats_with(&group(key), BeatsOptions::default()).await.unwrap();
                let left = beats.living.first().map(|(_, left)| *left);
                Some(if verb == Verb::BeatLast { left.is_none() } else { left.is_some_and(|left| left > BEATS[0]) })
            }
            _ => {
                let found = around.get(key).await.unwrap();
                assert!(found.is_some() || verb == Verb::PutAbsent, "what was there before is gone");
                Some(found.is_some_and(|found| found.value.starts_with(b"new ")))
            }
        }
    }

    async fn is_up(&self) -> bool {
        self.store.health().await.is_up()
    }
}

impl InRedis {
    async fn put(&self, scene: &Scene, value: impl Into<Bytes>, options: PutOptions) -> Result<(), &'static str> {
        let put = self.store.put_with(&scene.key, value.into(), options.with_time_to_live(LONG)).await;
        put.map(|outcome| assert!(outcome.stored().is_some(), "nobody else writes")).map_err(|error| word(&error))
    }
}

/// The key's first segment.
fn group(key: &CoordKey) -> CoordKey {
    CoordKey::new(key.as_str().split('/').next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_every_fault_of_the_network_every_verb_of_the_records_ends_as_allowed_and_works_again_afterwards() {
    network_table::<InRedis>(RedisTopology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_ends_every_verb_of_the_records_behind_a_sentinel_as_allowed() {
    network_table::<InRedis>(RedisTopology::Sentinel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_ends_every_verb_of_the_records_in_a_cluster_as_allowed() {
    network_table::<InRedis>(RedisTopology::Cluster).await;
}
