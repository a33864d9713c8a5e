//! Whose the sessions are: lists, revocations and limits.

use std::sync::Arc;

use statehouse_core::conformance::{race, rounds};
use statehouse_core::{ErrorKind, Result};
use tokio::task::JoinSet;

use super::kit::{Fixture, IDLE, ROUNDS, SessionBackend, is_absent, is_gone_for_writes, loaded, ok, set};
use crate::api::{SessionStore, SessionStoreExt as _};
use crate::capability::PRINCIPALS;
use crate::outcome::{Deleted, Loaded, Saved, Touched};
use crate::record::{Authority, Delta, Limit, Principal, Revoke, Rotate, Rotation, Snapshot, Timeouts};
use crate::token::{SessionKey, Token};

/// One whom no other case knows.
fn somebody() -> Principal {
    Principal::new(Token::generate().expect("random bytes").key()).expect("a principal")
}

/// A new session of somebody, and what it came to.
async fn log_in(
    backend: &impl SessionBackend,
    who: &Principal,
    epoch: u64,
    limit: Option<Limit>,
) -> (Fixture, Result<Snapshot>) {
    let mut fixture = Fixture::new(backend.step());
    fixture.new.principal = Some(who.clone());
    (fixture.new.epoch, fixture.new.limit) = (epoch, limit);
    let created = backend.service().await.create(&fixture.key(), &fixture.new).await;
    (fixture, created)
}

async fn logged_in(backend: &impl SessionBackend, who: &Principal) -> Fixture {
    let (fixture, created) = log_in(backend, who, 0, None).await;
    created.expect("a new session");
    fixture
}

/// Logs in to a session that was there before.
async fn rotated_in(backend: &impl SessionBackend, who: &Principal, epoch: u64) -> (SessionKey, Result<Saved>) {
    let (fixture, created) = Fixture::create(backend).await;
    let next = fixture.token.with_new_verifier().expect("random bytes");
    let login = Rotation::login(next.verifier_hash(), who.clone()).with_epoch(epoch);
    let saved = backend.service().await.rotate(&created, fixture.holder(), &login, &Delta::new()).await;
    (fixture.key(), saved)
}

async fn listed(store: &dyn SessionStore, who: &Principal) -> Vec<SessionKey> {
    let mut keys: Vec<_> = store.list(who).await.expect("a list").iter().map(|found| *found.record().key()).collect();
    keys.sort_unstable();
    keys
}

fn sorted<const N: usize>(mut keys: [SessionKey; N]) -> [SessionKey; N] {
    keys.sort_unstable();
    keys
}

pub(super) async fn a_list_has_every_session_of_a_principal_and_no_other(backend: &impl SessionBackend) {
    let (store, who, other) = (backend.service().await, somebody(), somebody());
    assert!(listed(&*store, &who).await.is_empty());
    let created = logged_in(backend, &who).await;
    let (rotated, saved) = rotated_in(backend, &who, 0).await;
    ok(saved.expect("an answer"));
    let theirs = logged_in(backend, &other).await;
    Fixture::create(backend).await;
    assert_eq!(listed(&*store, &who).await, sorted([created.key(), rotated]));
    assert_eq!(listed(&*store, &other).await, [theirs.key()]);
    for found in store.list(&who).await.expect("a list") {
        assert_eq!(found.record(), loaded(&*store, found.record().key()).await.record());
    }
    // Whoever else logs in takes the session along.
    let base = loaded(&*store, &rotated).await;
    let next = Token::generate().expect("random bytes").verifier_hash();
    let login = Rotation::login(next, other.clone());
    ok(store.rotate(&base, Authority::Application, &login, &Delta::new()).await.expect("an answer"));
    assert_eq!(listed(&*store, &who).await, [created.key()]);
    assert_eq!(listed(&*store, &other).await, sorted([theirs.key(), rotated]));
    assert_eq!(store.delete(&created.key(), created.holder()).await.expect("an answer"), Deleted::Removed);
    assert!(listed(&*store, &who).await.is_empty());
    backend.pass_time(IDLE * backend.step()).await;
    assert!(listed(&*store, &other).await.is_empty(), "they are idle");
}

pub(super) async fn a_revoked_session_is_gone_and_the_others_stay(backend: &impl SessionBackend) {
    let (store, who, other) = (backend.service().await, somebody(), somebody());
    let [one, two] = [logged_in(backend, &who).await, logged_in(backend, &who).await];
    let theirs = logged_in(backend, &who).await;
    let base = loaded(&*store, &theirs.key()).await;
    let next = Token::generate().expect("random bytes").verifier_hash();
    let login = Rotation::login(next, other.clone());
    ok(store.rotate(&base, Authority::Application, &login, &Delta::new()).await.expect("another has logged in there"));
    store.revoke(Revoke::One(&who, &theirs.key())).await.expect("an answer");
    assert!(!is_absent(&*store, &theirs.key()).await, "it is not theirs to end");
    let base = loaded(&*store, &one.key()).await;
    for _ in 0..2 {
        store.revoke(Revoke::One(&who, &one.key())).await.expect("an answer");
        assert!(is_absent(&*store, &one.key()).await);
    }
    let late = store.save(&base, one.holder(), &set("late", 1)).await.expect("an answer");
    assert!(matches!(late, Saved::Gone), "{late:?}");
    assert_eq!(listed(&*store, &who).await, [two.key()]);
    store.revoke(Revoke::All(&who)).await.expect("an answer");
    for _ in 0..5 {
        // What is deleted afterwards is theirs, too.
        backend.pass_time(backend.step() / 20).await;
        assert_eq!(listed(&*store, &other).await, [theirs.key()]);
    }
}

pub(super) async fn all_sessions_of_a_principal_end_together_and_a_later_login_stands(backend: &impl SessionBackend) {
    let (store, who, other) = (backend.service().await, somebody(), somebody());
    store.revoke(Revoke::All(&who)).await.expect("there is none");
    for _ in 0..3 {
        let sessions = [logged_in(backend, &who).await.key(), logged_in(backend, &who).await.key()];
        let (rotated, saved) = rotated_in(backend, &who, store.epoch(&who).await.expect("an epoch")).await;
        ok(saved.expect("an answer"));
        let theirs = logged_in(backend, &other).await;
        let base = loaded(&*store, &rotated).await;
        store.revoke(Revoke::All(&who)).await.expect("an answer");
        for key in sessions.iter().chain([&rotated]) {
            assert!(is_absent(&*store, key).await);
        }
        // What is written to it late does not bring it back.
        let _late = store.save(&base, Authority::Application, &set("late", 1)).await;
        let _late = store.touch(&rotated).await;
        assert!(is_absent(&*store, &rotated).await);
        assert!(listed(&*store, &who).await.is_empty());
        assert!(!is_absent(&*store, &theirs.key()).await);
        let again = logged_in(backend, &who).await;
        let epoch = store.epoch(&who).await.expect("an epoch");
        let (more, created) = log_in(backend, &who, epoch, None).await;
        created.expect("it began after the revocation");
        assert_eq!(listed(&*store, &who).await, sorted([again.key(), more.key()]));
    }
}

pub(super) async fn all_sessions_but_one_end_together(backend: &impl SessionBackend) {
    let (store, who) = (backend.service().await, somebody());
    let [kept, one, two] =
        [logged_in(backend, &who).await, logged_in(backend, &who).await, logged_in(backend, &who).await];
    let begun = store.epoch(&who).await.expect("an epoch");
    store.revoke(Revoke::Others(&who, &kept.key())).await.expect("an answer");
    assert!(is_absent(&*store, &one.key()).await && is_absent(&*store, &two.key()).await);
    assert_eq!(listed(&*store, &who).await, [kept.key()]);
    let base = loaded(&*store, &kept.key()).await;
    ok(store.save(&base, kept.holder(), &set("a", 1)).await.expect("it goes on"));
    let (late, _) = log_in(backend, &who, begun, None).await;
    assert!(is_absent(&*store, &late.key()).await, "it began before");
    let later = logged_in(backend, &who).await;
    assert_eq!(listed(&*store, &who).await, sorted([kept.key(), later.key()]));
    store.revoke(Revoke::All(&who)).await.expect("an answer");
    assert!(is_absent(&*store, &kept.key()).await && is_absent(&*store, &later.key()).await);
}

pub(super) async fn all_sessions_but_one_end_also_where_that_one_is_none_of_theirs(backend: &impl SessionBackend) {
    let store = backend.service().await;
    let (anonymous, _) = Fixture::create(backend).await;
    let theirs = logged_in(backend, &somebody()).await;
    let never = Token::generate().expect("random bytes").key();
    for kept in [Some(anonymous.key()), Some(theirs.key()), Some(never), None] {
        // One whose sessions nobody has ever revoked.
        let who = somebody();
        let [one, two] = [logged_in(backend, &who).await, logged_in(backend, &who).await];
        let deleted = logged_in(backend, &who).await;
        assert_eq!(store.delete(&deleted.key(), deleted.holder()).await.expect("an answer"), Deleted::Removed);
        let begun = store.epoch(&who).await.expect("an epoch");
        store.revoke(Revoke::Others(&who, &kept.unwrap_or(deleted.key()))).await.expect("an answer");
        for key in [one.key(), two.key()] {
            let found = store.load(&key).await.expect("an answer");
            assert!(matches!(found, Loaded::Deleted { .. }), "{kept:?}: {found:?}");
        }
        assert!(listed(&*store, &who).await.is_empty());
        let (late, _) = log_in(backend, &who, begun, None).await;
        assert!(is_absent(&*store, &late.key()).await, "it began before");
        let later = logged_in(backend, &who).await;
        assert_eq!(listed(&*store, &who).await, [later.key()]);
    }
    assert!(!is_absent(&*store, &anonymous.key()).await && !is_absent(&*store, &theirs.key()).await);
}

pub(super) async fn a_login_that_began_before_a_revocation_does_not_stand(backend: &impl SessionBackend) {
    let (store, who) = (backend.service().await, somebody());
    let begun = store.epoch(&who).await.expect("an epoch");
    assert_ne!(begun, 0);
    store.revoke(Revoke::All(&who)).await.expect("an answer");
    let (created, outcome) = log_in(backend, &who, begun, None).await;
    let (limited, limited_outcome) = log_in(backend, &who, begun, Some(Limit::reject(9))).await;
    let (rotated, saved) = rotated_in(backend, &who, begun).await;
    for refused in [outcome.err(), limited_outcome.err(), saved.err()].into_iter().flatten() {
        assert_eq!(refused.kind(), ErrorKind::Conflict);
    }
    for key in [created.key(), limited.key()] {
        assert!(is_absent(&*store, &key).await);
    }
    let there = store.load(&rotated).await.expect("an answer").found();
    assert!(there.is_none_or(|session| session.record().principal().is_none()));
    assert!(listed(&*store, &who).await.is_empty());
}

pub(super) async fn of_logins_among_a_revocation_none_stands_that_began_before(backend: &impl SessionBackend) {
    let store = backend.service().await;
    for round in 0..rounds(ROUNDS / 4, 1_000) {
        let who = somebody();
        let begun = store.epoch(&who).await.expect("an epoch");
        let keys = race(|number| {
            let (store, who, mut fixture) = (Arc::clone(&store), who.clone(), Fixture::new(backend.step()));
            async move {
                if number == 7 {
                    store.revoke(Revoke::All(&who)).await.expect("an answer");
                }
                (fixture.new.principal, fixture.new.epoch) = (Some(who), begun);
                if let Err(refused) = store.create(&fixture.key(), &fixture.new).await {
                    assert_eq!(refused.kind(), ErrorKind::Conflict);
                }
                fixture.key()
            }
        })
        .await;
        for key in keys {
            assert!(is_absent(&*store, &key).await, "round {round}");
        }
        assert!(listed(&*store, &who).await.is_empty(), "round {round}");
    }
}

/// How many log in at once.
const LOGINS: usize = 64;

pub(super) async fn of_64_parallel_logins_with_a_limit_of_one_one_is_left(backend: &impl SessionBackend) {
    let store = backend.service().await;
    for (round, limit) in
        (0..rounds(4, 100)).flat_map(|round| [(round, Limit::reject(1)), (round, Limit::evict_oldest(1))])
    {
        let (who, mut logins) = (somebody(), JoinSet::new());
        for _ in 0..LOGINS {
            // None expires while a busy machine is at it.
            let (store, mut fixture) = (Arc::clone(&store), Fixture::new(60 * backend.step()));
            (fixture.new.principal, fixture.new.limit) = (Some(who.clone()), Some(limit));
            logins.spawn(async move { (fixture.key(), store.create(&fixture.key(), &fixture.new).await) });
        }
        let mut found = Vec::new();
        for (key, created) in logins.join_all().await {
            if let Err(refused) = created {
                assert_eq!(refused.kind(), ErrorKind::Conflict, "{limit:?}, round {round}: {refused}");
            }
            if !is_absent(&*store, &key).await {
                found.push(key);
            }
        }
        assert_eq!(found.len(), 1, "{limit:?}, round {round}");
        assert_eq!(listed(&*store, &who).await, found, "{limit:?}, round {round}");
    }
}

pub(super) async fn the_oldest_makes_room_or_the_next_is_refused_and_what_has_ended_does_not_count(
    backend: &impl SessionBackend,
) {
    let store = backend.service().await;
    for limit in [Limit::reject(2), Limit::evict_oldest(2)] {
        let who = somebody();
        let [one, two] = [logged_in(backend, &who).await, logged_in(backend, &who).await];
        assert_eq!(store.delete(&two.key(), two.holder()).await.expect("an answer"), Deleted::Removed);
        backend.pass_time(backend.step() / 20).await;
        let (three, created) = log_in(backend, &who, 0, Some(limit)).await;
        created.expect("one has ended");
        assert_eq!(listed(&*store, &who).await, sorted([one.key(), three.key()]));
        // The same session again is none more.
        let base = loaded(&*store, &three.key()).await;
        let next = Token::generate().expect("random bytes").verifier_hash();
        let again = Rotation::login(next, who.clone()).with_limit(limit);
        ok(store.rotate(&base, Authority::Application, &again, &Delta::new()).await.expect("an answer"));
        let (four, outcome) = log_in(backend, &who, 0, Some(limit)).await;
        if limit == Limit::reject(2) {
            assert_eq!(outcome.expect_err("there are two").kind(), ErrorKind::Conflict);
            assert_eq!(listed(&*store, &who).await, sorted([one.key(), three.key()]));
            assert!(is_absent(&*store, &four.key()).await);
        } else {
            outcome.expect("the oldest has ended");
            assert!(is_absent(&*store, &one.key()).await);
            assert_eq!(listed(&*store, &who).await, sorted([three.key(), four.key()]));
        }
        backend.pass_time(IDLE * backend.step()).await;
        let (last, created) = log_in(backend, &who, 0, Some(Limit::reject(1))).await;
        created.expect("the others are idle");
        assert_eq!(listed(&*store, &who).await, [last.key()]);
    }
    let none = log_in(backend, &somebody(), 0, Some(Limit::reject(0))).await.1.expect_err("not even one");
    assert_eq!(none.kind(), ErrorKind::InvalidInput);
}

/// What a login to the session of `base` comes to.
async fn outcome(store: &dyn SessionStore, base: &Snapshot, holder: Authority, who: &Principal, limit: Limit) -> Saved {
    let next = Token::generate().expect("random bytes").verifier_hash();
    let login = Rotation::login(next, who.clone()).with_limit(limit);
    store.rotate(base, holder, &login, &Delta::new()).await.expect("whether it was made")
}

pub(super) async fn a_login_that_is_not_made_ends_no_other_session(backend: &impl SessionBackend) {
    let store = backend.service().await;
    for limit in [Limit::evict_oldest(2), Limit::reject(2)] {
        let who = somebody();
        let theirs = sorted([logged_in(backend, &who).await.key(), logged_in(backend, &who).await.key()]);
        let (mut taken, base) = Fixture::create(backend).await;
        (taken.new.principal, taken.new.limit) = (Some(who.clone()), Some(limit));
        let refused = store.create(&taken.key(), &taken.new).await.expect_err("it is taken");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{limit:?}: {refused}");

        ok(store.save(&base, Authority::Application, &set("a", 1)).await.expect("an answer"));
        let late = outcome(&*store, &base, Authority::Application, &who, limit).await;
        let Saved::Conflict(current) = late else { panic!("{limit:?}: {late:?}") };
        assert_eq!(current.record(), loaded(&*store, &taken.key()).await.record());

        let other = taken.token.with_new_verifier().expect("random bytes");
        let rotation = Rotation::new(other.verifier_hash(), Rotate::PrivilegeChange);
        ok(store.rotate(&current, taken.holder(), &rotation, &Delta::new()).await.expect("an answer"));
        let late = outcome(&*store, &current, taken.holder(), &who, limit).await;
        assert!(matches!(late, Saved::Superseded), "{limit:?}: {late:?}");

        assert_eq!(store.delete(&taken.key(), Authority::Application).await.expect("an answer"), Deleted::Removed);
        let late = outcome(&*store, &current, taken.holder(), &who, limit).await;
        assert!(matches!(late, Saved::Gone), "{limit:?}: {late:?}");
        let refused = store.create(&taken.key(), &taken.new).await.expect_err("it is remembered");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{limit:?}: {refused}");
        assert_eq!(listed(&*store, &who).await, theirs, "{limit:?}");
    }
}

pub(super) async fn what_is_over_by_a_limits_timeouts_does_not_count_and_ends(backend: &impl SessionBackend) {
    let (store, step) = (backend.service().await, backend.step());
    let (idle, absolute) =
        (Timeouts::new(5 * step, 30 * step, 30 * step), Timeouts::new(10 * step, 5 * step, 30 * step));
    for timeouts in [idle, absolute] {
        let who = somebody();
        let stale = logged_in(backend, &who).await.key();
        backend.pass_time(5 * step).await;
        let (next, created) = log_in(backend, &who, 0, Some(Limit::reject(1).with_timeouts(timeouts))).await;
        created.expect("nothing is in its way");
        assert!(is_absent(&*store, &stale).await, "{timeouts:?}");
        assert_eq!(listed(&*store, &who).await, [next.key()], "{timeouts:?}");
    }
    // The oldest is used, and so it is another that ends.
    let who = somebody();
    let [used, stale] = [logged_in(backend, &who).await.key(), logged_in(backend, &who).await.key()];
    backend.pass_time(5 * step).await;
    assert_eq!(store.touch(&used).await.expect("an answer"), Touched::Slid);
    let (next, created) = log_in(backend, &who, 0, Some(Limit::evict_oldest(2).with_timeouts(idle))).await;
    created.expect("there is room");
    assert!(is_absent(&*store, &stale).await);
    assert_eq!(listed(&*store, &who).await, sorted([used, next.key()]));
}

pub(super) async fn what_is_over_ends_where_it_is_in_the_way_of_a_login_that_is_made(backend: &impl SessionBackend) {
    let (store, step) = (backend.service().await, backend.step());
    for limit in [Limit::reject(1), Limit::evict_oldest(1)] {
        let limit = limit.with_timeouts(Timeouts::new(5 * step, 30 * step, 30 * step));
        let (who, other) = (somebody(), somebody());
        let own = logged_in(backend, &who).await;
        let (stale, of_other) = (logged_in(backend, &who).await.key(), logged_in(backend, &other).await.key());
        let base = loaded(&*store, &own.key()).await;
        backend.pass_time(5 * step).await;
        // Not made.
        let (mut taken, anonymous) = Fixture::create(backend).await;
        (taken.new.principal, taken.new.limit) = (Some(who.clone()), Some(limit));
        let refused = store.create(&taken.key(), &taken.new).await.expect_err("it is taken");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{limit:?}: {refused}");
        ok(store.save(&anonymous, Authority::Application, &set("a", 1)).await.expect("an answer"));
        let late = outcome(&*store, &anonymous, Authority::Application, &who, limit).await;
        assert!(matches!(late, Saved::Conflict(_)), "{limit:?}: {late:?}");
        assert_eq!(listed(&*store, &who).await, sorted([own.key(), stale]), "{limit:?}");
        // Not in the way.
        let roomy = Limit { max: 2, ..limit };
        let (next, created) = log_in(backend, &other, 0, Some(roomy)).await;
        created.expect("there is room");
        assert_eq!(listed(&*store, &other).await, sorted([of_other, next.key()]), "{limit:?}");
        // In the way of a login in a session that would itself be over.
        let made = outcome(&*store, &base, Authority::Application, &who, limit).await;
        assert!(matches!(made, Saved::Applied(_)), "{limit:?}: {made:?}");
        assert_eq!(listed(&*store, &who).await, [own.key()], "{limit:?}");
        assert!(is_absent(&*store, &stale).await, "{limit:?}");
    }
}

pub(super) async fn what_is_revoked_is_remembered_as_a_deletion(backend: &impl SessionBackend) {
    let (store, who) = (backend.service().await, somebody());
    let kept = logged_in(backend, &who).await.key();
    for round in 0..4 {
        let key = logged_in(backend, &who).await.key();
        let which = match round {
            0 => Revoke::One(&who, &key),
            1 => Revoke::Others(&who, &kept),
            2 => Revoke::All(&who),
            _ => Revoke::Everything,
        };
        store.revoke(which).await.expect("an answer");
        let found = store.load(&key).await.expect("an answer");
        assert!(matches!(found, Loaded::Deleted { .. }), "{which:?}: {found:?}");
    }
}

pub(super) async fn what_is_revoked_is_gone_for_every_method(backend: &impl SessionBackend) {
    let (store, who, other) = (backend.service().await, somebody(), somebody());
    let kept = logged_in(backend, &who).await.key();
    for round in 0..8 {
        let fixture = logged_in(backend, &who).await;
        let (key, base) = (fixture.key(), loaded(&*store, &fixture.key()).await);
        let which = match round % 4 {
            0 => Revoke::One(&who, &key),
            1 => Revoke::Others(&who, &kept),
            2 => Revoke::All(&who),
            _ => Revoke::Everything,
        };
        store.revoke(which).await.expect("an answer");
        if round < 4 {
            let next = Token::generate().expect("random bytes").verifier_hash();
            for login in [Rotation::login(next, who.clone()), Rotation::login(next, other.clone())] {
                let late = store.rotate(&base, fixture.holder(), &login, &Delta::new()).await.expect("an answer");
                assert!(matches!(late, Saved::Gone), "{which:?}: {late:?}");
            }
        }
        is_gone_for_writes(&*store, &fixture, &base).await;
    }
    // Of one that is kept, whoever has met it before is told what there is now.
    let fixture = logged_in(backend, &who).await;
    let (key, base) = (fixture.key(), loaded(&*store, &fixture.key()).await);
    store.revoke(Revoke::Others(&who, &key)).await.expect("an answer");
    let late = store.save(&base, fixture.holder(), &set("late", 1)).await.expect("an answer");
    let current = match late {
        Saved::Applied(current) | Saved::Conflict(current) => current,
        gone => panic!("{gone:?}"),
    };
    ok(store.save(&current, fixture.holder(), &set("late", 2)).await.expect("an answer"));
    assert_eq!(store.touch(&key).await.expect("an answer"), Touched::Slid);
    assert_eq!(store.delete(&key, fixture.holder()).await.expect("an answer"), Deleted::Removed);
}

pub(super) async fn all_sessions_of_everybody_end_together(backend: &impl SessionBackend) {
    let (store, one, two) = (backend.service().await, somebody(), somebody());
    store.revoke(Revoke::All(&two)).await.expect("an answer");
    let sessions = [logged_in(backend, &one).await, logged_in(backend, &two).await];
    let begun = store.epoch(&one).await.expect("an epoch");
    store.revoke(Revoke::Everything).await.expect("an answer");
    let (late, _) = log_in(backend, &one, begun, None).await;
    for key in sessions.iter().map(Fixture::key).chain([late.key()]) {
        assert!(is_absent(&*store, &key).await);
    }
    let again = [logged_in(backend, &one).await, logged_in(backend, &two).await];
    for (who, session) in [(&one, &again[0]), (&two, &again[1])] {
        assert_eq!(listed(&*store, who).await, [session.key()]);
        store.revoke(Revoke::All(who)).await.expect("an answer");
        assert!(is_absent(&*store, &session.key()).await, "its epoch is later than everybody's");
        let later = logged_in(backend, who).await;
        assert_eq!(listed(&*store, who).await, [later.key()]);
    }
}

pub(super) async fn who_keeps_no_principals_says_so(backend: &impl SessionBackend) {
    let (store, who) = (backend.service().await, somebody());
    let (epoch, list) = (store.epoch(&who).await.map(drop), store.list(&who).await.map(drop));
    for answer in [epoch, list, store.revoke(Revoke::All(&who)).await] {
        let expected = (!store.capabilities().has(PRINCIPALS)).then_some(ErrorKind::Unsupported);
        assert_eq!(answer.err().map(|error| error.kind()), expected);
    }
}
