//! Every verb of the sessions in Redis under every fault of the network: which outcomes are allowed, within what time, and
//! what is there afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use statehouse_core::{Error, Fence, Key, RaiseOptions, Result, ServiceUrl, Version};
use statehouse_session::{
    Attribute, AttributeName, Attributes, Authority, DeleteOptions, Deleted, Delta, Limit, Loaded, NewSession,
    Principal, RedisSessionStore, Revoke, Rotate, Rotation, SaveOptions, Saved, SessionStore as _,
    SessionStoreExt as _, Snapshot, Token, Touched,
};
use statehouse_testkit::{Effect, NetworkSubject, RedisTopology, network_table};

use crate::{open_redis, random_namespace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    CreateLarge,
    CreateLogin,
    Load,
    LoadLarge,
    LoadLogin,
    Save,
    SaveLarge,
    SaveLogin,
    SaveFenced,
    Rotate,
    RotateLogin,
    Touch,
    Delete,
    DeleteLogin,
    DeleteFenced,
    Epoch,
    List,
    RevokeOne,
    RevokeAll,
    RevokeOthers,
    RevokeEverything,
    Raise,
}

const LONG: Duration = Duration::from_secs(600);

struct InRedis {
    store: RedisSessionStore,
    around: RedisSessionStore,
}

/// A session, of somebody who may have another one.
struct Scene {
    token: Token,
    next: Token,
    /// What is created.
    new: NewSession,
    principal: Principal,
    base: Option<Snapshot>,
    other: Option<Token>,
    holders: [Fence; 2],
}

impl Scene {
    fn base(&self) -> &Snapshot {
        self.base.as_ref().unwrap()
    }

    fn holder(&self) -> Authority {
        Authority::Holder(self.token.verifier_hash())
    }
}

fn fresh(what: &str) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}", LAST.fetch_add(1, Ordering::Relaxed))
}

fn name() -> AttributeName {
    AttributeName::new("cart").unwrap()
}

/// Of 64 KiB, if it is large.
fn value(text: &str, verb: Verb) -> Attribute {
    let times = if InRedis::is_large(verb) { (64 << 10) / text.len() } else { 1 };
    Attribute::encode(&text.repeat(times)).unwrap()
}

fn has(session: &Snapshot, text: &str, verb: Verb) -> bool {
    session.record().attributes().get(&name()) == Some(&value(text, verb))
}

impl NetworkSubject for InRedis {
    type Verb = Verb;
    type Scene = Scene;

    const VERBS: &'static [Verb] = &[
        Verb::Create,
        Verb::CreateLarge,
        Verb::CreateLogin,
        Verb::Load,
        Verb::LoadLarge,
        Verb::LoadLogin,
        Verb::Save,
        Verb::SaveLarge,
        Verb::SaveLogin,
        Verb::SaveFenced,
        Verb::Rotate,
        Verb::RotateLogin,
        Verb::Touch,
        Verb::Delete,
        Verb::DeleteLogin,
        Verb::DeleteFenced,
        Verb::Epoch,
        Verb::List,
        Verb::RevokeOne,
        Verb::RevokeAll,
        Verb::RevokeOthers,
        Verb::RevokeEverything,
        Verb::Raise,
    ];

    /// Marks of fences lie in no slot of a session's.
    fn has(verb: Verb, topology: RedisTopology) -> bool {
        topology != RedisTopology::Cluster || !matches!(verb, Verb::SaveFenced | Verb::DeleteFenced | Verb::Raise)
    }

    fn effect(verb: Verb) -> Effect {
        match verb {
            Verb::Load | Verb::LoadLarge | Verb::LoadLogin | Verb::Epoch | Verb::List => Effect::Reads,
            _ => Effect::Writes,
        }
    }

    /// Three seconds for each round trip that it may take one after the other, and a little more for 64 KiB.
    fn deadline(verb: Verb) -> u64 {
        match verb {
            Verb::CreateLogin | Verb::RotateLogin | Verb::RevokeOthers => 4 * 3,
            Verb::LoadLogin | Verb::SaveLogin | Verb::DeleteLogin | Verb::List | Verb::RevokeOne | Verb::Touch => 2 * 3,
            Verb::CreateLarge | Verb::LoadLarge | Verb::SaveLarge => 4,
            _ => 3,
        }
    }

    fn is_large(verb: Verb) -> bool {
        matches!(verb, Verb::CreateLarge | Verb::LoadLarge | Verb::SaveLarge)
    }

    async fn open(url: &str, around: &str) -> std::result::Result<Self, String> {
        let namespace = random_namespace();
        let url = ServiceUrl::parse("STATEHOUSE_SESSION_URL", url).unwrap();
        let store = RedisSessionStore::open(url, &namespace).await.map_err(|error| error.to_string())?;
        Ok(Self { store, around: open_redis(around, &namespace).await })
    }

    async fn scene(&self, verb: Verb) -> Scene {
        let (token, principal) = (Token::generate().unwrap(), Principal::new(fresh("u")).unwrap());
        let lock = Key::new(fresh("lock/")).unwrap();
        let holders = [1, 2].map(|number| Fence::new(lock.clone(), Version::new(number)));
        let attributes = Attributes::from([(name(), value("old ", verb))]);
        let mut new = NewSession::new(token.verifier_hash(), LONG, LONG).with_attributes(attributes);
        if matches!(verb, Verb::CreateLogin | Verb::LoadLogin | Verb::SaveLogin | Verb::DeleteLogin | Verb::List)
            || matches!(verb, Verb::RevokeOne | Verb::RevokeAll | Verb::RevokeOthers | Verb::RevokeEverything)
        {
            new = new.with_principal(principal.clone()).with_limit(Limit::evict_oldest(5));
        }
        let (mut base, mut other) = (None, None);
        if !matches!(verb, Verb::Create | Verb::CreateLarge | Verb::CreateLogin) {
            base = Some(self.around.create(&token.key(), &new).await.unwrap());
        }
        if matches!(verb, Verb::List | Verb::RevokeOne | Verb::RevokeOthers) {
            let another = Token::generate().unwrap();
            self.around.create(&another.key(), &new).await.unwrap();
            other = Some(another);
        }
        let next = token.with_new_verifier().unwrap();
        Scene { token, next, new, principal, base, other, holders }
    }

    async fn run(&self, verb: Verb, scene: &Scene) -> std::result::Result<(), &'static str> {
        let work = match verb {
            Verb::Create
            | Verb::CreateLarge
            | Verb::CreateLogin
            | Verb::Load
            | Verb::LoadLarge
            | Verb::LoadLogin
            | Verb::Epoch
            | Verb::List => self.reads(verb, scene).await,
            Verb::Save | Verb::SaveLarge | Verb::SaveLogin | Verb::SaveFenced | Verb::Rotate | Verb::RotateLogin => {
                self.changes(verb, scene).await
            }
            _ => self.ends(verb, scene).await,
        };
        work.map_err(|error: Error| error.kind().as_str())
    }

    async fn is_done(&self, verb: Verb, scene: &Scene) -> Option<bool> {
        let (around, key) = (&self.around, scene.token.key());
        let found = around.load(&key).await.unwrap().found();
        match verb {
            Verb::Load | Verb::LoadLarge | Verb::LoadLogin | Verb::Touch | Verb::Epoch | Verb::List => None,
            Verb::Create | Verb::CreateLarge | Verb::CreateLogin => Some(found.is_some()),
            Verb::Save | Verb::SaveLarge | Verb::SaveLogin | Verb::SaveFenced => {
                Some(has(&found.expect("it is there"), "new ", verb))
            }
            Verb::Rotate | Verb::RotateLogin => {
                let record = found.expect("it is there");
                let has_new = record.record().is_newest(&scene.next.verifier_hash());
                assert_eq!(record.record().principal().is_some(), has_new && verb == Verb::RotateLogin);
                Some(has_new)
            }
            Verb::Delete | Verb::DeleteLogin | Verb::DeleteFenced | Verb::RevokeAll => Some(found.is_none()),
            // Trying it again has ended this one too, if the first did not.
            Verb::RevokeEverything => found.is_some().then_some(false),
            Verb::RevokeOne | Verb::RevokeOthers => {
                let other = around.load(&scene.other.as_ref().unwrap().key()).await.unwrap().found();
                let (ends, stays) = if verb == Verb::RevokeOne { (found, other) } else { (other, found) };
                assert!(stays.is_some(), "one that was to stay has ended");
                Some(ends.is_none())
            }
            Verb::Raise => {
                let options = SaveOptions::default().with_fence(&scene.holders[0]);
                let delta = Delta::new().with_set(name(), value("late ", verb));
                let late = around.save_with(scene.base(), scene.holder(), &delta, options).await;
                // One that fails may have been raised.
                late.is_ok().then_some(false)
            }
        }
    }

    async fn is_up(&self) -> bool {
        self.store.health().await.is_up()
    }
}

impl InRedis {
    async fn reads(&self, verb: Verb, scene: &Scene) -> Result<()> {
        let (store, key) = (&self.store, scene.token.key());
        match verb {
            Verb::Load | Verb::LoadLarge | Verb::LoadLogin => {
                let loaded = store.load(&key).await?;
                assert!(matches!(&loaded, Loaded::Found(found) if has(found, "old ", verb)), "{loaded:?}");
            }
            Verb::Epoch => assert_ne!(store.epoch(&scene.principal).await?, 0),
            Verb::List => assert_eq!(store.list(&scene.principal).await?.len(), 2),
            _ => assert!(has(&store.create(&key, &scene.new).await?, "old ", verb)),
        }
        Ok(())
    }

    async fn changes(&self, verb: Verb, scene: &Scene) -> Result<()> {
        let (store, holder, next) = (&self.store, scene.holder(), scene.next.verifier_hash());
        let delta = Delta::new().with_set(name(), value("new ", verb));
        let rotation = match verb {
            Verb::RotateLogin => Rotation::login(next, scene.principal.clone()).with_limit(Limit::evict_oldest(5)),
            _ => Rotation::new(next, Rotate::PrivilegeChange),
        };
        let saved = match verb {
            Verb::Rotate | Verb::RotateLogin => store.rotate(scene.base(), holder, &rotation, &delta).await?,
            Verb::SaveFenced => {
                let options = SaveOptions::default().with_fence(&scene.holders[0]);
                store.save_with(scene.base(), holder, &delta, options).await?
            }
            _ => store.save(scene.base(), holder, &delta).await?,
        };
        assert!(matches!(&saved, Saved::Applied(session) if has(session, "new ", verb)), "{saved:?}");
        Ok(())
    }

    async fn ends(&self, verb: Verb, scene: &Scene) -> Result<()> {
        let (store, key, who) = (&self.store, scene.token.key(), &scene.principal);
        match verb {
            Verb::Touch => assert_eq!(store.touch(&key).await?, Touched::Slid),
            Verb::Delete | Verb::DeleteLogin => assert_eq!(store.delete(&key, scene.holder()).await?, Deleted::Removed),
            Verb::DeleteFenced => {
                let options = DeleteOptions::default().with_fence(&scene.holders[0]);
                assert_eq!(store.delete_with(&key, scene.holder(), options).await?, Deleted::Removed);
            }
            Verb::RevokeOne => store.revoke(Revoke::One(who, &key)).await?,
            Verb::RevokeAll => store.revoke(Revoke::All(who)).await?,
            Verb::RevokeOthers => store.revoke(Revoke::Others(who, &key)).await?,
            Verb::RevokeEverything => store.revoke(Revoke::Everything).await?,
            _ => store.raise_with(&scene.holders[1], RaiseOptions::default()).await?,
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_every_fault_of_the_network_every_verb_of_the_sessions_ends_as_allowed_and_works_again_afterwards() {
    network_table::<InRedis>(RedisTopology::Single).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_ends_every_verb_of_the_sessions_behind_a_sentinel_as_allowed() {
    network_table::<InRedis>(RedisTopology::Sentinel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_ends_every_verb_of_the_sessions_in_a_cluster_as_allowed() {
    network_table::<InRedis>(RedisTopology::Cluster).await;
}
