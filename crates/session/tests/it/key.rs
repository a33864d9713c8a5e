use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_session::{
    Authority, Deleted, MemorySessionStore, Session, SessionConfig, SessionKey, SessionStoreExt as _, Sessions,
};

/// Commits the session and opens it again as the browser's next request would.
async fn next_request(sessions: &Sessions, session: Session, cookie: &mut String) -> Session {
    session.commit().await.unwrap();
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    if let Some(set) = response.get(SET_COOKIE) {
        *cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
    }
    sessions.open(&HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]))
}

#[tokio::test]
async fn a_key_stays_through_a_login_and_ends_the_session_in_the_applications_name() {
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let mut cookie = String::new();
    let session = sessions.open(&HeaderMap::new());
    assert_eq!(session.key().await.unwrap(), None);
    session.insert("theme", "dark").unwrap();
    let session = next_request(&sessions, session, &mut cookie).await;
    let key = session.key().await.unwrap().unwrap();
    session.login("u42").await.unwrap();
    let session = next_request(&sessions, session, &mut cookie).await;
    assert_eq!(session.key().await.unwrap(), Some(key));

    let read: SessionKey = key.to_string().parse().unwrap();
    let snapshot = sessions.store().load(&read).await.unwrap().found().unwrap();
    assert_eq!(snapshot.record().principal().map(|principal| principal.as_str()), Some("u42"));
    assert_eq!(sessions.store().delete(&read, Authority::Application).await.unwrap(), Deleted::Removed);
    let session = next_request(&sessions, session, &mut cookie).await;
    assert_eq!(session.principal().await.unwrap(), None);
}

#[test]
fn only_a_keys_own_text_is_read() {
    for text in ["", "0", &"0".repeat(63), &"G".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
        assert!(text.parse::<SessionKey>().is_err(), "{text}");
    }
}
