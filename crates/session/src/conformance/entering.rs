//! A load and the begin of a login in one.

use std::sync::Arc;

use super::kit::{Fixture, SessionBackend, loaded, ok};
use crate::api::{SessionStore, SessionStoreExt as _};
use crate::outcome::Loaded;
use crate::record::{Authority, Delta, Limit, Principal, Revoke, Rotation, Snapshot};
use crate::token::{SessionKey, Token};

fn somebody() -> Principal {
    Principal::new(Token::generate().expect("random bytes").key()).expect("a principal")
}

/// What a login to the session that began in this epoch leaves.
async fn rotated(store: &dyn SessionStore, base: &Snapshot, who: &Principal, epoch: u64) -> Option<Snapshot> {
    let next = Token::generate().expect("random bytes").verifier_hash();
    let login = Rotation::login(next, who.clone()).with_epoch(epoch).with_limit(Limit::reject(9));
    let _outcome = store.rotate(base, Authority::Application, &login, &Delta::new()).await;
    let found = store.load(base.record().key()).await.expect("an answer").found();
    found.filter(|session| session.record().principal() == Some(who))
}

async fn entering(store: &Arc<dyn SessionStore>, key: &SessionKey, who: &Principal) -> (Loaded, u64) {
    let (loaded, epoch) = store.load_entering(key, who).await.expect("an answer");
    assert_ne!(epoch, 0, "it can be read");
    (loaded, epoch)
}

pub(super) async fn a_login_may_load_and_begin_at_once(backend: &impl SessionBackend) {
    let (store, who, other) = (backend.service().await, somebody(), somebody());
    let never = Token::generate().expect("random bytes").key();
    assert!(matches!(entering(&store, &never, &who).await.0, Loaded::Absent));

    let (anonymous, created) = Fixture::create(backend).await;
    let (found, begun) = entering(&store, &anonymous.key(), &who).await;
    assert_eq!(found.found().expect("it is there").record(), created.record());
    // As of a login that began before a revocation, and of one that began after it.
    store.revoke(Revoke::All(&who)).await.expect("an answer");
    assert!(rotated(&*store, &created, &who, begun).await.is_none());
    let (_, created) = Fixture::create(backend).await;
    let (found, begun) = entering(&store, created.record().key(), &who).await;
    let theirs = rotated(&*store, &found.found().expect("it is there"), &who, begun).await.expect("it stands");
    assert_eq!(store.list(&who).await.expect("a list").len(), 1);

    // Whoever is logged in there already, be it they or somebody else.
    let key = *theirs.record().key();
    for next in [&who, &other] {
        let (found, begun) = entering(&store, &key, next).await;
        assert_eq!(found.found().expect("it is there").record(), loaded(&*store, &key).await.record());
        let next_of = Token::generate().expect("random bytes").verifier_hash();
        let login = Rotation::login(next_of, next.clone()).with_epoch(begun);
        let base = loaded(&*store, &key).await;
        ok(store.rotate(&base, Authority::Application, &login, &Delta::new()).await.expect("an answer"));
    }
    for revoked in [Revoke::All(&other), Revoke::Everything] {
        store.revoke(revoked).await.expect("an answer");
        for next in [&who, &other] {
            let (found, _) = entering(&store, &key, next).await;
            assert!(matches!(found, Loaded::Deleted { .. }), "{revoked:?}: {found:?}");
        }
    }
}
