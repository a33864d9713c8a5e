//! Parallel requests of one session.

use std::sync::Arc;

use statehouse_core::conformance::{RACERS, race, rounds};
use tokio::task::JoinSet;

use super::kit::{ROUNDS, SessionBackend, cookie_of, header, logged_in};
use crate::config::SessionConfig;
use crate::session::Sessions;

/// Through [`Session`](crate::Session), which bases each change on the newer session when another was faster.
pub(super) async fn sixteen_parallel_requests_lose_no_attribute(backend: &impl SessionBackend) {
    let sessions = Sessions::new(backend.service().await, SessionConfig::default());
    for round in 0..ROUNDS {
        let cookie = logged_in(&sessions).await;
        let outcomes = race(|number| {
            let (sessions, cookie) = (sessions.clone(), cookie.clone());
            async move {
                let session = sessions.open(&cookie);
                session.insert(&format!("racer {number}"), &number)?;
                session.commit().await
            }
        })
        .await;
        outcomes.into_iter().collect::<Result<Vec<_>, _>>().expect("every request is saved");
        let session = sessions.open(&cookie);
        for number in 0..RACERS {
            let kept = session.get::<usize>(&format!("racer {number}")).await.expect("an answer");
            assert_eq!(kept, Some(number), "round {round}");
        }
    }
}

/// What a login removes is part of the login, whatever becomes of what the request itself has changed.
pub(super) async fn what_somebody_else_left_is_removed_by_a_login_in_any_case(backend: &impl SessionBackend) {
    let sessions = Sessions::new(backend.service().await, SessionConfig::default());
    for (before, discard) in [(true, false), (true, true), (false, false), (false, true)] {
        let alice = logged_in(&sessions).await;
        let session = sessions.open(&alice);
        session.insert("secret", "of alice").expect("a small value");
        session.flash("info", "for alice").expect("a small value");
        session.commit().await.expect("a save");

        let session = sessions.open(&alice);
        if before {
            session.insert("own", &1).expect("a small value");
            session
                .update("secret", |secret: Option<String>| secret.unwrap_or_default() + "!")
                .await
                .expect("a change");
        }
        session.login("bob").await.expect("a login");
        assert_eq!(session.get::<String>("secret").await.expect("an answer"), None);
        if !before {
            session.insert("own", &1).expect("a small value");
            session
                .update("secret", |secret: Option<String>| secret.unwrap_or_default() + "!")
                .await
                .expect("a change");
        }
        if discard {
            session.discard_attributes().await;
        }
        session.commit().await.expect("a rotation");
        let bob = sessions.open(&header(&cookie_of(&session).expect("a cookie")));
        assert_eq!(bob.principal().await.expect("an answer").expect("a login").as_str(), "bob");
        let secret: Option<String> = bob.get("secret").await.expect("an answer");
        assert_eq!(secret.as_deref(), (!before && !discard).then_some("!"), "before {before}, discard {discard}");
        assert_eq!(bob.get("own").await.expect("an answer"), (!discard).then_some(1), "before {before}");
        assert_eq!(bob.take_flash().await.expect("an answer"), []);
    }
}

/// Each adds what nobody else adds, to what the one before it left.
pub(super) async fn updates_of_one_attribute_by_twenty_tasks_are_all_kept(backend: &impl SessionBackend) {
    const TASKS: u32 = 20;
    let pushes = u32::try_from(rounds(5, 40)).expect("a small number");
    // As on replicas that know nothing of each other, and several requests on each.
    let store = backend.service().await;
    let replicas: Vec<_> = (0..4).map(|_| Sessions::new(Arc::clone(&store), SessionConfig::default())).collect();
    let cookie = logged_in(&replicas[0]).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (sessions, cookie) = (replicas[task as usize % replicas.len()].clone(), cookie.clone());
        tasks.spawn(async move {
            for push in 0..pushes {
                let session = sessions.open(&cookie);
                let add = move |list: Option<Vec<u32>>| [list.unwrap_or_default(), vec![task * 1000 + push]].concat();
                session.update("list", add).await.expect("an answer");
                session.commit().await.expect("a save");
            }
        });
    }
    tasks.join_all().await;
    let list = replicas[0].open(&cookie).get::<Vec<u32>>("list").await.expect("an answer").expect("the list");
    let all = list.iter().copied().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(
        (list.len(), all.len()),
        ((TASKS * pushes) as usize, (TASKS * pushes) as usize),
        "none lost, none twice"
    );
    for task in 0..TASKS {
        let own = list.iter().filter(|item| **item / 1000 == task);
        assert!(own.is_sorted(), "task {task}: an update comes after the one that was saved before it");
    }
}

/// On one replica, where they queue, and on as many as there are writers, where they only meet at the store.
pub(super) async fn of_256_writers_at_once_none_fails(backend: &impl SessionBackend) {
    const WRITERS: usize = 256;
    for replicas in [1, WRITERS] {
        let store = backend.service().await;
        let replicas: Vec<_> =
            (0..replicas).map(|_| Sessions::new(Arc::clone(&store), SessionConfig::default())).collect();
        let cookie = logged_in(&replicas[0]).await;
        let start = Arc::new(tokio::sync::Barrier::new(WRITERS));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (sessions, cookie) = (replicas[writer % replicas.len()].clone(), cookie.clone());
            let start = Arc::clone(&start);
            writers.spawn(async move {
                let session = sessions.open(&cookie);
                session.principal().await?;
                start.wait().await;
                session.insert(&format!("w{writer}"), &1)?;
                session.commit().await
            });
        }
        let failed = writers.join_all().await.into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert!(failed.is_empty(), "{} of {WRITERS} failed, the first: {}", failed.len(), failed[0]);
        let session = replicas[0].open(&cookie);
        for writer in 0..WRITERS {
            assert_eq!(session.get(&format!("w{writer}")).await.expect("an answer"), Some(1), "writer {writer}");
        }
    }
}

pub(super) async fn a_message_is_taken_by_one_of_sixteen_requests(backend: &impl SessionBackend) {
    let sessions = Sessions::new(backend.service().await, SessionConfig::default());
    for round in 0..rounds(5, 50) {
        let cookie = logged_in(&sessions).await;
        for message in ["first", "second"] {
            let session = sessions.open(&cookie);
            session.flash("info", message).expect("a small value");
            session.commit().await.expect("a save");
        }
        let taken = race(|_| {
            let session = sessions.open(&cookie);
            async move { session.take_flash().await.expect("an answer") }
        })
        .await;
        let shown: Vec<_> = taken.iter().flatten().map(|flash| flash.message.as_str()).collect();
        assert_eq!(shown, ["first", "second"], "round {round}");
    }
}
