//! Attributes that end before their session.

use std::time::Duration;

use http::header::HeaderMap;

use super::kit::{Fixture, SessionBackend, cookie_of, header, loaded, name, ok, set, value};
use crate::api::SessionStoreExt as _;
use crate::config::SessionConfig;
use crate::record::{Attribute, Attributes, Authority, Delta, Snapshot};
use crate::session::Sessions;

/// How many steps such an attribute lives.
const LIVES: u32 = 10;

fn timed(attribute: &str, number: u32, step: Duration) -> Delta {
    let value = Attribute::encode(&number).expect("a plain value").with_time_to_live(LIVES * step);
    Delta::new().with_set(name(attribute), value)
}

/// A session that outlives its attributes.
async fn create(backend: &impl SessionBackend, attributes: Attributes) -> (Fixture, Snapshot) {
    let mut fixture = Fixture::new(backend.step());
    (fixture.new.idle_timeout, fixture.new.absolute_timeout) = (60 * backend.step(), 120 * backend.step());
    fixture.new.attributes = attributes;
    let created = fixture.create_in(&*backend.service().await).await;
    (fixture, created)
}

pub(super) async fn an_attribute_ends_by_the_stores_clock_and_the_others_stay(backend: &impl SessionBackend) {
    let (store, step, app) = (backend.service().await, backend.step(), Authority::Application);
    let (fixture, created) = create(backend, timed("a", 1, step).then(set("b", 2)).set).await;
    let saved = ok(store.save(&created, app, &timed("c", 3, step)).await.expect("an answer"));
    let end = saved.record().end_of(&name("c")).expect("it has one");
    assert!((saved.record().created() + LIVES * step..=saved.now() + LIVES * step).contains(&end));
    backend.pass_time((LIVES / 2) * step).await;
    let read = loaded(&*store, &fixture.key()).await;
    let values = |session: &Snapshot| ["a", "b", "c", "d"].map(|name| value(session.record(), name));
    assert_eq!(values(&read), [Some(1), Some(2), Some(3), None]);
    // What others change keeps when it ends, and so does what somebody else read before.
    ok(store.save(&read, app, &set("d", 4)).await.expect("an answer"));
    let again = loaded(&*store, &fixture.key()).await;
    assert_eq!(again.record().end_of(&name("c")), Some(end));
    backend.pass_time((LIVES / 2 + 2) * step).await;
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!(values(&read), [None, Some(2), None, Some(4)]);
    let saved = ok(store.save(&again, app, &set("b", 5)).await.expect("an answer"));
    assert_eq!(values(&saved), [None, Some(5), None, Some(4)]);
}

pub(super) async fn an_attribute_that_is_set_again_ends_as_it_then_says(backend: &impl SessionBackend) {
    let (store, step, app) = (backend.service().await, backend.step(), Authority::Application);
    let (fixture, created) = create(backend, timed("a", 1, step).set).await;
    backend.pass_time((LIVES / 2) * step).await;
    let renewed = ok(store.save(&created, app, &timed("a", 1, step)).await.expect("an answer"));
    assert!(renewed.record().version() > created.record().version(), "its time begins anew");
    assert!(renewed.record().end_of(&name("a")) > created.record().end_of(&name("a")));
    backend.pass_time((LIVES / 2) * step).await;
    let read = loaded(&*store, &fixture.key()).await;
    assert_eq!(value(read.record(), "a"), Some(1), "after the end that it had before");
    let lasting = ok(store.save(&read, app, &set("a", 1)).await.expect("an answer"));
    assert_eq!(lasting.record().end_of(&name("a")), None);
    let equal = ok(store.save(&lasting, app, &set("a", 1)).await.expect("an answer"));
    assert_eq!(equal.record().version(), lasting.record().version());
    backend.pass_time(LIVES * step).await;
    assert_eq!(value(loaded(&*store, &fixture.key()).await.record(), "a"), Some(1));
}

/// Through [`Session`](crate::Session): as parallel requests change other attributes, and this one.
pub(super) async fn an_attribute_ends_among_the_changes_of_parallel_requests(backend: &impl SessionBackend) {
    let unit = ((LIVES / 2) * backend.step()).max(Duration::from_secs(1));
    let config = SessionConfig::builder().idle_timeout(20 * unit).absolute_timeout(40 * unit).build();
    let sessions = Sessions::new(backend.service().await, config.expect("good settings"));
    let begun = sessions.open(&HeaderMap::new());
    begun.login("u42").await.expect("a login");
    begun.commit().await.expect("a new session");
    let request = header(&cookie_of(&begun).expect("a cookie"));
    let [sends, other] = [sessions.open(&request), sessions.open(&request)];
    assert_eq!(other.get::<u32>("code").await.expect("an answer"), None);
    sends.insert_for("code", &1, 2 * unit).expect("a small value");
    sends.commit().await.expect("a save");
    other.insert("theme", &7).expect("a small value");
    other.commit().await.expect("a save on top of that");
    backend.pass_time(unit).await;
    let [tries, again] = [sessions.open(&request), sessions.open(&request)];
    for session in [&tries, &again] {
        let change = |code: Option<u32>| code.expect("it has not ended") + 1;
        session.update("code", change).await.expect("an answer");
    }
    for session in [&tries, &again] {
        session.commit().await.expect("a save");
    }
    assert_eq!(sessions.open(&request).get::<u32>("code").await.expect("an answer"), Some(3));
    backend.pass_time(unit + 2 * backend.step()).await;
    let session = sessions.open(&request);
    assert_eq!(session.get::<u32>("code").await.expect("an answer"), None, "no try makes it last longer");
    assert_eq!(session.get::<u32>("theme").await.expect("an answer"), Some(7));
    session.update("code", |code: Option<u32>| code.map_or(9, |_| 0)).await.expect("an answer");
    session.commit().await.expect("a save");
    backend.pass_time(2 * unit).await;
    assert_eq!(sessions.open(&request).get::<u32>("code").await.expect("an answer"), Some(9), "it is another one");
}
