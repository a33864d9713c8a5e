//! What comes too late is not done: nothing that a client was told had failed is executed over what others did after.

use std::time::Duration;

use statehouse_core::conformance::rounds;
use statehouse_core::{ErrorKind, Result};
use statehouse_session::{
    Attribute, AttributeName, Authority, Deleted, Delta, Loaded, NewSession, RedisSessionStore, Rotate, Rotation,
    Saved, SessionStoreExt as _, Snapshot, Token,
};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};

use crate::{open_redis, random_namespace};

const MINUTE: Duration = Duration::from_secs(60);

fn set(value: u32) -> Delta {
    Delta::new().with_set(AttributeName::new("a").unwrap(), Attribute::encode(&value).unwrap())
}

fn applied(saved: Saved) -> Snapshot {
    match saved {
        Saved::Applied(snapshot) => snapshot,
        other => panic!("expected a save that was applied, got {other:?}"),
    }
}

async fn version(store: &RedisSessionStore, token: &Token) -> Option<u64> {
    store.load(&token.key()).await.unwrap().found().map(|found| found.record().version().get())
}

/// What one client tries while nothing of it reaches the server.
async fn lost(store: &RedisSessionStore, what: usize, token: &Token, base: &Snapshot) -> Result<()> {
    let holder = Authority::Holder(token.verifier_hash());
    let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE);
    let next = token.with_new_verifier()?.verifier_hash();
    match what {
        0 => store.save(base, holder, &set(1)).await.map(drop),
        1 => store.rotate(base, holder, &Rotation::new(next, Rotate::PrivilegeChange), &set(1)).await.map(drop),
        2 => store.create(&token.key(), &new).await.map(drop),
        3 => store.delete(&token.key(), holder).await.map(drop),
        _ => store.touch(&token.key()).await.map(drop),
    }
}

/// Each is told that it failed, then another client writes, logs out or leaves it, and then the network heals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_neither_overwrites_nor_resurrects_nor_ends_a_session_when_the_network_heals() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let other = open_redis(&server.url(), &namespace).await;
    for round in 0..rounds(2, 67) {
        let url = format!("{}?connections=1&timeout=500ms&deadline=600ms", proxy.url(&server.url()));
        let store = open_redis(&url, &namespace).await;
        let tokens: Vec<_> = (0..15).map(|_| Token::generate().unwrap()).collect();
        let mut bases = Vec::new();
        for token in &tokens {
            let new = NewSession::new(token.verifier_hash(), MINUTE, MINUTE);
            bases.push(other.create(&token.key(), &new).await.unwrap());
        }
        // What is created late has no session before.
        for token in tokens.iter().skip(2).step_by(5) {
            server.command(&["DEL", &format!("{namespace}:session:records:{}", token.key())]).await.unwrap();
        }
        proxy.black_hole_way(Direction::ToServer);
        let tried =
            tokens.iter().zip(&bases).enumerate().map(|(what, (token, base))| lost(&store, what % 5, token, base));
        for outcome in futures_util::future::join_all(tried).await {
            let kind = outcome.unwrap_err().kind();
            let known = [ErrorKind::OutcomeUnknown, ErrorKind::Timeout, ErrorKind::Unavailable];
            assert!(known.contains(&kind), "round {round}: {kind:?}");
        }
        // Of each kind one is written by somebody else, one ended, and one left as it is.
        let mut expected = Vec::new();
        for (at, (token, base)) in tokens.iter().zip(&bases).enumerate() {
            let is_there = at % 5 != 2;
            match at / 5 {
                0 if is_there => drop(applied(other.save(base, Authority::Application, &set(2)).await.unwrap())),
                1 if is_there => {
                    let deleted = other.delete(&token.key(), Authority::Application).await.unwrap();
                    assert_eq!(deleted, Deleted::Removed);
                }
                _ => {}
            }
            expected.push(version(&other, token).await);
        }
        proxy.heal();
        // The same connection, or the next: what was held back is delivered before this is answered.
        let _ = store.load(&tokens[0].key()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        for (at, (token, expected)) in tokens.iter().zip(expected).enumerate() {
            assert_eq!(version(&other, token).await, expected, "round {round}, {at}");
            if at / 5 == 1 && at % 5 != 2 {
                assert!(
                    matches!(other.load(&token.key()).await.unwrap(), Loaded::Deleted { .. }),
                    "round {round}, {at}"
                );
            }
        }
    }
}

/// The answer of the first try is lost after the server has stored what it says, and others save before it is repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_knows_its_own_write_although_others_came_in_between() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let other = open_redis(&server.url(), &namespace).await;
    let store = open_redis(&format!("{}?connections=1&timeout=1s", proxy.url(&server.url())), &namespace).await;
    let add = |base: &Snapshot, name: &str| {
        let name = AttributeName::new(name).unwrap();
        let value = base.record().attributes().get(&name).map_or(0, |value| value.decode::<u32>().unwrap());
        Delta::new().with_set(name, Attribute::encode(&(value + 1)).unwrap())
    };
    let token = Token::generate().unwrap();
    let holder = Authority::Holder(token.verifier_hash());
    let mut base = store.create(&token.key(), &NewSession::new(token.verifier_hash(), MINUTE, MINUTE)).await.unwrap();
    for round in 1..=3_u32 {
        proxy.delay(Direction::ToClient, Duration::from_millis(300));
        let delta = add(&base, "own");
        let (saved, ()) = tokio::join!(store.save(&base, holder, &delta), async {
            while version(&other, &token).await == Some(base.record().version().get()) {
                tokio::task::yield_now().await;
            }
            // It is stored, and the answer is on its way.
            proxy.reset_connections();
            proxy.heal();
            for _ in 0..3 {
                let current = other.load(&token.key()).await.unwrap().found().unwrap();
                drop(applied(other.save(&current, holder, &add(&current, "others")).await.unwrap()));
            }
        });
        let value = |of: &Snapshot, name: &str| {
            let name = AttributeName::new(name).unwrap();
            of.record().attributes()[&name].decode::<u32>().unwrap()
        };
        assert_eq!(value(&applied(saved.unwrap()), "own"), round);
        // It may have been repeated before the last of the others.
        base = other.load(&token.key()).await.unwrap().found().unwrap();
        assert_eq!((value(&base, "own"), value(&base, "others")), (round, 3 * round));
    }
}
