//! Tokens that are accepted once, whoever comes with them and whatever is lost on the way.

use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::capability::SERVER_TIME;
use statehouse_coord::{
    Accepted, CoordStore, Coordination, LayeredCoordStore, MemoryConfig, MemoryCoordStore, WriteId,
};
use statehouse_core::layer::Faults;
use statehouse_core::{ErrorKind, ManualClock};
use statehouse_testkit::RedisServer;
use tokio::task::JoinSet;

use crate::without::Without;
use crate::{durable_redis, open_redis, random_namespace};

const MINUTE: Duration = Duration::from_secs(60);

fn over(store: impl CoordStore) -> Coordination {
    Coordination::new(Arc::new(store))
}

async fn first_of_many(handles: &[Coordination]) {
    for round in 0..10 {
        let mut racers = JoinSet::new();
        for racer in 0..12 {
            let links = handles[racer % handles.len()].single_use("links", MINUTE);
            racers.spawn(async move { links.accept(format!("token {round}")).await.unwrap() });
        }
        let first = racers.join_all().await.into_iter().filter(|accepted| *accepted == Accepted::First).count();
        assert_eq!(first, 1, "in round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_come_with_one_token_one_is_the_first() {
    first_of_many(&[over(MemoryCoordStore::new())]).await;
    let (server, namespace) = (durable_redis().await, random_namespace());
    let [one, other] = [open_redis(&server.url(), &namespace).await, open_redis(&server.url(), &namespace).await];
    first_of_many(&[over(one), over(other)]).await;
}

#[tokio::test]
async fn a_token_is_remembered_for_its_time_and_apart_from_other_names() {
    let clock = ManualClock::default();
    let store = Arc::new(MemoryCoordStore::with_config(MemoryConfig::default().with_clock(clock.clone())));
    let coord = Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>);
    let links = coord.single_use("links", MINUTE);
    let long = [0xff; 100_000];
    for token in [&b"secret"[..], b"", b"a/b~", &long] {
        assert_eq!(links.accept(token).await.unwrap(), Accepted::First);
        assert_eq!(links.accept(token).await.unwrap(), Accepted::Before);
    }
    assert_eq!(coord.single_use("nonces", MINUTE).accept("secret").await.unwrap(), Accepted::First);
    let page = store.scan_with(statehouse_coord::ScanOptions::new("")).await.unwrap();
    assert!(page.records.len() == 5 && !format!("{page:?}").contains("secret"), "{page:?}");
    clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(links.accept("secret").await.unwrap(), Accepted::Before);
    clock.advance(Duration::from_millis(1));
    assert_eq!(links.accept("secret").await.unwrap(), Accepted::First);
    for wrong in [coord.single_use("a//b", MINUTE), coord.single_use("links", Duration::ZERO)] {
        assert_eq!(wrong.accept("x").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// Where an answer was lost, it is found out, or said to be unknown: never are two the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_answer_was_lost_is_the_first_nevertheless() {
    let store = Arc::new(MemoryCoordStore::new());
    let sound = Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>).single_use("links", MINUTE);
    let mut found_out = 0;
    for seed in 0..20 {
        let faults = Faults::seeded(seed).with_lost_answers(0.5);
        let layered = LayeredCoordStore::new(Arc::clone(&store) as Arc<dyn CoordStore>, faults);
        let faulty = over(layered).single_use("links", MINUTE);
        let (token, id) = (format!("token {seed}"), WriteId::generate().unwrap());
        let first = faulty.accept_as(&token, id).await;
        match first {
            Ok(accepted) => {
                assert_eq!(accepted, Accepted::First);
                found_out += 1;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown),
        }
        // Who comes back with its id is the first still, and nobody else is.
        assert_eq!(sound.accept_as(&token, id).await.unwrap(), Accepted::First);
        assert_eq!(sound.accept(&token).await.unwrap(), Accepted::Before);
        if let Ok(accepted) = faulty.accept(&token).await {
            assert_eq!(accepted, Accepted::Before);
        }
    }
    assert!(found_out > 10, "{found_out}");
}

#[tokio::test]
async fn a_store_that_keeps_tokens_for_ever_or_may_forget_them_is_refused() {
    let store = Without(Arc::new(MemoryCoordStore::new()), &[SERVER_TIME]);
    let error = over(store).single_use("links", MINUTE).accept("x").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("sweeps"), "{error}");
    let server = RedisServer::start().await;
    let coord = over(open_redis(&server.url(), &random_namespace()).await);
    let error = coord.single_use("links", MINUTE).accept("x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// Whoever guesses tokens without end fills no store with it, and no lock waits for their time to live.
#[tokio::test]
async fn however_many_tokens_somebody_comes_with_locks_have_room() {
    let config = MemoryConfig::default().with_capacity(64 << 10).unwrap();
    let coord = over(MemoryCoordStore::with_config(config));
    let links = coord.single_use("links", MINUTE);
    let mut count = 0;
    let error = loop {
        match links.accept(format!("guess {count}")).await {
            Ok(accepted) => assert_eq!(accepted, Accepted::First),
            Err(error) => break error,
        }
        count += 1;
        assert!(count < 1_000, "it takes no end of them");
    };
    assert!(error.kind() == ErrorKind::Unavailable && count > 50, "{count}: {error:?}");
    coord.lock("export").await.unwrap().release().await.unwrap();
    assert_eq!(links.accept("guess 0").await.unwrap(), Accepted::Before);
}
