//! Sessions whose store can read nothing of them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_core::{CodecId, ErrorKind, KeyRing, Namespace, Secret};
use statehouse_session::{
    Attribute, AttributeName, Attributes, Authority, Deleted, Delta, Limit, LocalSessionStore, MemorySessionStore,
    NewSession, Principal, Revoke, Rotate, Rotation, Saved, SealedSessionStore, Session, SessionConfig,
    SessionEventKind, SessionStore, SessionStoreExt as _, Sessions, Snapshot, Token, TowerSessionStore,
    UnreadablePolicy,
};
use statehouse_testkit::RedisServer;

use crate::logs::Log;
use crate::{open_redis, random_namespace};

const HOUR: Duration = Duration::from_secs(3_600);
/// What nobody finds in the store.
const SECRETS: [&str; 4] = ["patient-4711", "statehouse.principal", "diagnosis", "fracture"];

fn name(text: &str) -> AttributeName {
    AttributeName::new(text).unwrap()
}

fn who() -> Principal {
    Principal::new(SECRETS[0]).unwrap()
}

fn set(value: &str) -> Delta {
    Delta::new().with_set(name(SECRETS[2]), Attribute::encode(value).unwrap())
}

fn secret(id: &str) -> Secret {
    Secret::new(id.repeat(32))
}

/// The first is the newest.
fn ring(ids: &[&str]) -> KeyRing {
    let newest = KeyRing::new(ids[0], secret(ids[0])).unwrap();
    ids[1..].iter().fold(newest, |ring, id| ring.and_former(*id, secret(id)).unwrap())
}

fn sealed_by(names: &Secret, inner: &Arc<dyn SessionStore>) -> SealedSessionStore {
    SealedSessionStore::new(Arc::clone(inner), &Namespace::new("clinic").unwrap(), ring(&["a"]), names).unwrap()
}

fn sealed_for(namespace: &str, inner: &Arc<dyn SessionStore>, ids: &[&str]) -> SealedSessionStore {
    let namespace = Namespace::new(namespace).unwrap();
    SealedSessionStore::new(Arc::clone(inner), &namespace, ring(ids), &secret("n")).unwrap()
}

fn sealed(inner: &Arc<dyn SessionStore>, ids: &[&str]) -> SealedSessionStore {
    sealed_for("clinic", inner, ids)
}

pub(crate) fn in_memory(ids: &[&str]) -> SealedSessionStore {
    sealed(&memory(), ids)
}

fn memory() -> Arc<dyn SessionStore> {
    Arc::new(MemorySessionStore::new())
}

fn new(token: &Token) -> NewSession {
    NewSession::new(token.verifier_hash(), HOUR, 10 * HOUR)
}

async fn logged_in(store: &dyn SessionStore) -> (Token, Snapshot) {
    let token = Token::generate().unwrap();
    let new = new(&token).with_principal(who()).with_attributes(set(SECRETS[3]).set);
    let created = store.create(&token.key(), &new).await.unwrap();
    (token, created)
}

async fn found(store: &dyn SessionStore, token: &Token) -> Snapshot {
    store.load(&token.key()).await.unwrap().found().unwrap()
}

fn applied(saved: Saved) -> Snapshot {
    let Saved::Applied(snapshot) = saved else { panic!("{saved:?}") };
    snapshot
}

/// A session whose user logs in, works, is listed and logged in elsewhere: everything that a store keeps of one.
async fn use_all(store: &dyn SessionStore) {
    let token = Token::generate().unwrap();
    let created = store.create(&token.key(), &new(&token)).await.unwrap();
    let next = token.with_new_verifier().unwrap();
    let rotation = Rotation::login(next.verifier_hash(), who()).with_epoch(store.epoch(&who()).await.unwrap());
    let authority = Authority::Holder(token.verifier_hash());
    let rotated = applied(store.rotate(&created, authority, &rotation, &set(SECRETS[3])).await.unwrap());
    applied(store.save(&rotated, Authority::Application, &set("later").with_removed(name("other"))).await.unwrap());
    logged_in(store).await;
    let (_, last) = logged_in(store).await;
    store.revoke(Revoke::One(&who(), last.record().key())).await.unwrap();
    assert_eq!(store.list(&who()).await.unwrap().len(), 2);
}

fn is_in(text: &str, bytes: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// The names and the bytes of all files in a folder.
fn files(folder: &Path, into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        into.extend_from_slice(path.as_os_str().as_encoded_bytes());
        match path.is_dir() {
            true => files(&path, into),
            false => into.extend(std::fs::read(&path).unwrap()),
        }
    }
}

#[tokio::test]
async fn nothing_of_a_session_is_readable_on_a_disk() {
    for is_sealed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let inner: Arc<dyn SessionStore> = Arc::new(LocalSessionStore::open(folder.path()).await.unwrap());
        match is_sealed {
            true => use_all(&sealed(&inner, &["a"])).await,
            false => use_all(&*inner).await,
        }
        let mut bytes = Vec::new();
        files(folder.path(), &mut bytes);
        let seen = SECRETS.map(|secret| is_in(secret, &bytes));
        assert_eq!(seen, if is_sealed { [false; 4] } else { [true, false, true, true] });
    }
}

#[tokio::test]
async fn nothing_of_a_session_is_readable_in_redis() {
    const FIND: &str = "local all = {} for _, key in ipairs(redis.call('KEYS', '*')) do all[#all + 1] = key .. redis.call('DUMP', key) end
        return string.find(table.concat(all), ARGV[1], 1, true) and 1 or 0";
    let server = RedisServer::start().await;
    server.command(&["CONFIG", "SET", "rdbcompression", "no"]).await.unwrap();
    for is_sealed in [false, true] {
        server.command(&["FLUSHALL"]).await.unwrap();
        let inner: Arc<dyn SessionStore> = Arc::new(open_redis(&server.url(), &random_namespace()).await);
        match is_sealed {
            true => use_all(&sealed(&inner, &["a"])).await,
            false => use_all(&*inner).await,
        }
        for (at, secret) in SECRETS.iter().enumerate() {
            let seen = server.command(&["EVAL", FIND, "0", secret]).await.unwrap().integer().unwrap() == 1;
            assert_eq!(seen, !is_sealed && at != 1, "{secret}");
        }
    }
}

/// Puts these attributes in place of those of a stored session.
async fn plant(inner: &dyn SessionStore, token: &Token, attributes: Attributes) {
    let base = found(inner, token).await;
    applied(inner.save(&base, Authority::Application, &Delta::replace(attributes)).await.unwrap());
}

/// Whether a session that is there is refused as damaged.
async fn is_refused(store: &dyn SessionStore, token: &Token) -> bool {
    match store.load(&token.key()).await {
        Ok(loaded) => loaded.found().map(|_| false).unwrap(),
        Err(error) => error.kind() == ErrorKind::Corrupt,
    }
}

#[tokio::test]
async fn what_was_altered_is_refused_byte_for_byte() {
    let inner = memory();
    let store = sealed(&inner, &["a"]);
    let (token, _) = logged_in(&store).await;
    let stored = found(&*inner, &token).await.record().attributes().clone();
    assert_eq!(stored.len(), 2);
    for (code, value) in &stored {
        let mut altered: Vec<Vec<u8>> =
            vec![Vec::new(), value.bytes()[..17].to_vec(), [value.bytes(), &b"x"[..]].concat()];
        altered.extend((0..value.bytes().len()).map(|at| {
            let mut bytes = value.bytes().to_vec();
            bytes[at] ^= 1 << (at % 8);
            bytes
        }));
        let bare = altered.into_iter().map(|bytes| Attribute::new(CodecId::RAW, Bytes::from(bytes)));
        let clad = [Attribute::new(CodecId(9), value.bytes().clone()), value.clone().with_schema(1)];
        for bytes in bare.chain(clad) {
            let delta = Delta::replace(stored.clone()).with_set(code.clone(), bytes);
            plant(&*inner, &token, delta.set).await;
            assert!(is_refused(&store, &token).await);
        }
    }
    plant(&*inner, &token, stored).await;
    assert!(!is_refused(&store, &token).await);
}

#[tokio::test]
async fn what_was_moved_is_refused() {
    let inner = memory();
    let store = sealed(&inner, &["a"]);
    let ((token, created), (other, _)) = (logged_in(&store).await, logged_in(&store).await);
    let (stored, of_other) = (found(&*inner, &token).await, found(&*inner, &other).await);
    let attributes = stored.record().attributes().clone();
    assert!(
        !attributes.keys().any(|code| of_other.record().attributes().contains_key(code)),
        "a name has a code for each session"
    );

    // To another name, and to another session of the same user.
    let swapped = attributes.keys().cloned().zip(attributes.values().rev().cloned()).collect();
    plant(&*inner, &token, swapped).await;
    assert!(is_refused(&store, &token).await);
    plant(&*inner, &token, of_other.record().attributes().clone()).await;
    assert!(is_refused(&store, &token).await);
    let of_others = attributes.keys().cloned().zip(of_other.record().attributes().values().cloned()).collect();
    plant(&*inner, &token, of_others).await;
    assert!(is_refused(&store, &token).await);

    // Somebody's session without who it is of, and somebody else's.
    let mut refused = 0;
    for left in attributes.keys() {
        let rest =
            attributes.iter().filter(|(code, _)| *code != left).map(|(code, value)| (code.clone(), value.clone()));
        plant(&*inner, &token, rest.collect()).await;
        match is_refused(&store, &token).await {
            true => refused += 1,
            false => assert!(found(&store, &token).await.record().attributes().is_empty(), "the value was left out"),
        }
    }
    assert_eq!(refused, 1, "without who it is of");
    plant(&*inner, &token, attributes.clone()).await;
    assert_eq!(found(&store, &token).await.record().attributes(), created.record().attributes());
    let somebody = Rotation::login(token.verifier_hash(), Principal::new("somebody").unwrap());
    let base = found(&*inner, &token).await;
    applied(inner.rotate(&base, Authority::Application, &somebody, &Delta::new()).await.unwrap());
    assert!(is_refused(&store, &token).await);

    // What was never sealed.
    let plain = Token::generate().unwrap();
    inner.create(&plain.key(), &new(&plain).with_attributes(set("plain").set)).await.unwrap();
    assert!(is_refused(&store, &plain).await);
}

#[tokio::test]
async fn nothing_opens_in_another_namespace() {
    let inner = memory();
    let (store, shop) = (sealed(&inner, &["a"]), sealed_for("shop", &inner, &["a"]));
    let (user, _) = logged_in(&store).await;
    let nobody = Token::generate().unwrap();
    store.create(&nobody.key(), &new(&nobody).with_attributes(set("x").set)).await.unwrap();
    for token in [user, nobody] {
        assert!(is_refused(&shop, &token).await && !is_refused(&store, &token).await);
    }
    assert!(shop.list(&who()).await.unwrap().is_empty());
    shop.revoke(Revoke::All(&who())).await.unwrap();
    assert_eq!(store.list(&who()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn keys_are_changed_and_nobody_is_logged_out() {
    let inner = memory();
    let (before, while_changing, after) = (sealed(&inner, &["a"]), sealed(&inner, &["b", "a"]), sealed(&inner, &["b"]));
    let ((saved, created), (unsaved, _)) = (logged_in(&before).await, logged_in(&before).await);
    let read = found(&while_changing, &saved).await;
    assert_eq!(read.record(), created.record());
    assert_eq!(while_changing.list(&who()).await.unwrap().len(), 2);

    // Replicas that have the new key behind read what one seals that has it in front.
    let behind = sealed(&inner, &["a", "b"]);
    // What changes nothing is not written, whatever it is sealed with.
    let same = applied(while_changing.save(&read, Authority::Application, &set(SECRETS[3])).await.unwrap());
    assert_eq!(same.record().version(), read.record().version());
    let cart = Delta::new().with_set(name("cart"), Attribute::encode(&7).unwrap());
    applied(while_changing.save(&read, Authority::Application, &cart).await.unwrap());
    // The rest of it is sealed anew with what was written.
    assert_eq!(found(&after, &saved).await.record().attributes().len(), 2);
    let read = found(&while_changing, &saved).await;
    let base = applied(
        while_changing.save(&read, Authority::Application, &set("new").with_removed(name("cart"))).await.unwrap(),
    );
    let base = applied(behind.save(&base, Authority::Application, &set("old")).await.unwrap());
    assert_eq!(found(&while_changing, &saved).await.record(), base.record());
    applied(while_changing.save(&base, Authority::Application, &set("last")).await.unwrap());

    assert_eq!(found(&after, &saved).await.record().attributes(), &set("last").set);

    // So it is with a token that is renewed, though nothing changes.
    let (renewed, created) = logged_in(&before).await;
    let next = renewed.with_new_verifier().unwrap();
    let rotation = Rotation::new(next.verifier_hash(), Rotate::PrivilegeChange);
    let read = found(&while_changing, &renewed).await;
    let rotated = while_changing.rotate(&read, Authority::Application, &rotation, &Delta::new()).await;
    let rotated = applied(rotated.unwrap());
    assert_eq!(found(&after, &next).await.record(), rotated.record());
    assert_eq!(rotated.record().attributes(), created.record().attributes());
    applied(after.save(&rotated, Authority::Application, &set("also")).await.unwrap());
    assert_eq!(after.delete(&next.key(), Authority::Application).await.unwrap(), Deleted::Removed);
    assert!(is_refused(&after, &unsaved).await, "its key is gone");
    let listed: Vec<_> = after.list(&who()).await.unwrap().iter().map(|listed| *listed.record().key()).collect();
    assert_eq!(listed, [saved.key()], "what cannot be opened is left out");
    assert_eq!(while_changing.list(&who()).await.unwrap().len(), 2);
    after.revoke(Revoke::All(&who())).await.unwrap();
    assert!(while_changing.list(&who()).await.unwrap().is_empty(), "it is ended all the same");
}

#[tokio::test]
async fn a_key_is_no_other_one() {
    let inner = memory();
    let store = sealed(&inner, &["a", "b"]);
    let (token, _) = logged_in(&store).await;
    let stored = found(&*inner, &token).await.record().attributes().clone();
    for (code, value) in &stored {
        let mut bytes = value.bytes().to_vec();
        assert_eq!(bytes[..3], [1, 1, b'a']);
        bytes[2] = b'b';
        let delta = Delta::replace(stored.clone()).with_set(code.clone(), Attribute::new(CodecId::RAW, bytes.into()));
        plant(&*inner, &token, delta.set).await;
        assert!(is_refused(&store, &token).await);
    }
}

#[tokio::test]
async fn under_another_secret_of_names_nothing_opens() {
    let inner = memory();
    let (store, other) = (sealed_by(&secret("n"), &inner), sealed_by(&secret("m"), &inner));
    let (user, _) = logged_in(&store).await;
    let nobody = Token::generate().unwrap();
    store.create(&nobody.key(), &new(&nobody).with_attributes(set("x").set)).await.unwrap();
    for token in [user, nobody] {
        assert!(is_refused(&other, &token).await && !is_refused(&store, &token).await);
    }
    assert!(other.list(&who()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_session_goes_back_to_the_store_that_it_is_of() {
    let inner = memory();
    let (store, shop) = (sealed(&inner, &["a"]), sealed_for("shop", &inner, &["a"]));
    let (token, created) = logged_in(&store).await;
    let error = shop.save(&created, Authority::Application, &set("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(found(&store, &token).await.record(), created.record());

    // Nor is what was opened stored as it is.
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start().await;
    let others: [Arc<dyn SessionStore>; 3] = [
        Arc::clone(&inner),
        Arc::new(LocalSessionStore::open(folder.path()).await.unwrap()),
        Arc::new(open_redis(&server.url(), &random_namespace()).await),
    ];
    for other in others {
        let rotation = Rotation::new(token.verifier_hash(), Rotate::PrivilegeChange);
        let saved = other.save(&created, Authority::Application, &set("x")).await;
        let rotated = other.rotate(&created, Authority::Application, &rotation, &Delta::new()).await;
        for refused in [saved, rotated] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
    assert_eq!(found(&store, &token).await.record(), created.record());
    let code = found(&*inner, &token).await.record().attributes().keys().next().unwrap().clone();
    assert!(!format!("{created:?}").contains(code.as_str()), "what stands for a name is not shown beside it");
}

#[tokio::test]
async fn a_value_of_a_type_of_another_name_is_no_change() {
    let store = sealed(&memory(), &["a"]);
    let (_, created) = logged_in(&store).await;
    let again = Delta::new().with_set(name(SECRETS[2]), Attribute::encode(&SECRETS[3].to_owned()).unwrap());
    let saved = applied(store.save(&created, Authority::Application, &again).await.unwrap());
    assert_eq!(saved.record().version(), created.record().version());
}

#[tokio::test]
async fn a_limit_counts_what_was_sealed_with_any_key() {
    let inner = memory();
    let (old, newest) = (sealed(&inner, &["a"]), sealed(&inner, &["b", "a"]));
    let (first, _) = logged_in(&old).await;
    let second = Token::generate().unwrap();
    let login = new(&second).with_principal(who()).with_limit(Limit::evict_oldest(1));
    newest.create(&second.key(), &login).await.unwrap();
    assert!(newest.load(&first.key()).await.unwrap().found().is_none());
    assert_eq!(newest.list(&who()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_is_logged_in_stays_so_when_the_attributes_are_cleared() {
    let inner = memory();
    let store = sealed(&inner, &["a"]);
    let (token, created) = logged_in(&store).await;
    let cleared = Delta::replace(Attributes::new());
    let saved = applied(store.save(&created, Authority::Application, &cleared).await.unwrap());
    assert_eq!((saved.record().principal(), saved.record().attributes().len()), (Some(&who()), 0));
    let other = Principal::new("somebody").unwrap();
    let rotation = Rotation::login(token.verifier_hash(), other.clone());
    let saved = applied(store.rotate(&saved, Authority::Application, &rotation, &cleared).await.unwrap());
    assert_eq!(saved.record().principal(), Some(&other));
    assert_eq!(found(&store, &token).await.record(), saved.record());
}

#[test]
fn a_secret_of_names_is_long_and_none_of_the_keys() {
    let namespace = Namespace::new("clinic").unwrap();
    for names in [Secret::new("n".repeat(31)), secret("b"), Secret::new("n".repeat(32) + "\n")] {
        let error = SealedSessionStore::new(memory(), &namespace, ring(&["a", "b"]), &names).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(!format!("{error} {error:?}").contains(names.expose()));
    }
    let shown = format!("{:?}", sealed(&memory(), &["a"]));
    assert!(!shown.contains(secret("n").expose()) && !shown.contains(secret("a").expose()), "{shown}");
}

#[tokio::test]
async fn what_cannot_be_opened_is_no_session_of_tower_sessions() {
    use tower_sessions::SessionStore as _;
    use tower_sessions::session::{Id, Record};

    let inner = memory();
    let (old, newest) = [&["a"][..], &["b"][..]].map(|ids| TowerSessionStore::new(sealed(&inner, ids))).into();
    let expiry_date = time::OffsetDateTime::now_utc() + time::Duration::HOUR;
    let mut record = Record { id: Id::default(), data: [("cart".to_owned(), 7.into())].into(), expiry_date };
    old.create(&mut record).await.unwrap();
    assert!(old.load(&record.id).await.unwrap().is_some());
    assert!(newest.load(&record.id).await.unwrap().is_none(), "and no error for as long as the browser has its cookie");
}

#[tokio::test]
async fn a_sealed_session_is_none_to_tower_sessions_without_the_seal() {
    use tower_sessions::SessionStore as _;
    use tower_sessions::session::{Id, Record};

    let inner = memory();
    let (with, without) = (TowerSessionStore::new(sealed(&inner, &["a"])), TowerSessionStore::new(Arc::clone(&inner)));
    let expiry_date = time::OffsetDateTime::now_utc() + time::Duration::HOUR;
    let mut record = Record { id: Id::default(), data: [("cart".to_owned(), 7.into())].into(), expiry_date };
    with.create(&mut record).await.unwrap();
    assert!(
        without.load(&record.id).await.unwrap().is_none(),
        "and no error for as long as the browser has its cookie"
    );
}

/// Half of them have the new key in front already.
#[tokio::test]
async fn writers_with_either_key_in_front_lose_nothing() {
    let inner = memory();
    let stores = [&["a", "b"][..], &["b", "a"]].map(|ids| Arc::new(sealed(&inner, ids)));
    let (token, created) = logged_in(&*stores[0]).await;
    let writers = (0..16).map(|writer| {
        let (store, base) = (Arc::clone(&stores[writer % 2]), created.clone());
        tokio::spawn(async move {
            for round in 0..20 {
                let value = Attribute::encode(&(writer * 100 + round)).unwrap();
                let delta = Delta::new().with_set(name(&format!("of-{writer}")), value);
                let mut base = base.clone();
                while let Saved::Conflict(now) =
                    store.save(&base, Authority::Application, &delta).await.expect("all of it opens")
                {
                    base = now;
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    futures_util::future::join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    for store in stores {
        let last = found(&*store, &token).await;
        assert_eq!((last.record().principal(), last.record().attributes().len()), (Some(&who()), 17));
        for writer in 0..16 {
            let value = last.record().attributes()[&name(&format!("of-{writer}"))].decode::<usize>().unwrap();
            assert_eq!(value, writer * 100 + 19);
        }
    }
}

fn sessions(store: SealedSessionStore, on_unreadable: UnreadablePolicy) -> Sessions {
    Sessions::new(store, SessionConfig::builder().on_unreadable(on_unreadable).build().unwrap())
}

fn token_of(cookie: &HeaderMap) -> Token {
    Token::parse(cookie[COOKIE].to_str().unwrap().split_once('=').unwrap().1).unwrap()
}

fn cookie_of(session: &Session) -> HeaderMap {
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    let cookie = response[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())])
}

#[tokio::test]
async fn whose_key_is_gone_logs_in_again_or_out_and_the_log_says_why() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let inner = memory();
    let session = sessions(sealed(&inner, &["old-key"]), UnreadablePolicy::Discard).open(&HeaderMap::new());
    session.login(SECRETS[0]).await.unwrap();
    session.commit().await.unwrap();
    let cookie = cookie_of(&session);
    assert!(log.text().is_empty() || !log.text().contains("unreadable"));

    let newest = sessions(sealed(&inner, &["b"]), UnreadablePolicy::Discard);
    let again = newest.open(&cookie);
    assert!(again.principal().await.unwrap().is_none());
    assert!(newest.list(&who()).await.unwrap().is_empty());
    let text = log.text();
    for said in ["unreadable session discarded", "left out of a list", r#"the key "old-key", which is not in the ring"#]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains(SECRETS[0]) && !text.contains(secret("b").expose()), "{text}");
    again.login(SECRETS[0]).await.unwrap();
    again.commit().await.unwrap();
    assert_eq!(newest.open(&cookie_of(&again)).principal().await.unwrap(), Some(who()));

    let strict = sessions(sealed(&inner, &["b"]), UnreadablePolicy::Fail);
    assert_eq!(strict.open(&cookie).principal().await.unwrap_err().kind(), ErrorKind::Corrupt);
    let token = token_of(&cookie);
    found(&*inner, &token).await;
    strict.open(&cookie).logout().await.unwrap();
    assert!(inner.load(&token.key()).await.unwrap().found().is_none(), "it is ended all the same");
}

/// Also where a page has read it before, and found none: the key may come back.
#[tokio::test]
async fn whoever_logs_out_of_a_session_whose_key_is_gone_is_logged_out_where_it_is_not() {
    for reads in [false, true] {
        let inner = memory();
        let with_key = sessions(sealed(&inner, &["a"]), UnreadablePolicy::Discard);
        let session = with_key.open(&HeaderMap::new());
        session.login(SECRETS[0]).await.unwrap();
        session.commit().await.unwrap();
        let cookie = cookie_of(&session);
        let session = sessions(sealed(&inner, &["b"]), UnreadablePolicy::Discard).open(&cookie);
        if reads {
            assert_eq!(session.principal().await.unwrap(), None);
        }
        session.logout().await.unwrap();
        assert_eq!(with_key.open(&cookie).principal().await.unwrap(), None, "reads: {reads}");
    }
}

#[tokio::test]
async fn the_end_of_a_session_whose_key_is_gone_is_told() {
    let inner = memory();
    let (token, _) = logged_in(&sealed(&inner, &["a"])).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let config = SessionConfig::builder().on_event(move |event| listener.lock().unwrap().push((event.kind, event.key)));
    let sessions = Sessions::new(sealed(&inner, &["b"]), config.build().unwrap());
    sessions.revoke(&who(), &token.key()).await.unwrap();
    assert!(inner.load(&token.key()).await.unwrap().found().is_none());
    assert_eq!(*told.lock().unwrap(), [(SessionEventKind::Revoked, Some(token.key()))]);
}

/// What stands in stores: another build has to open it.
#[tokio::test]
async fn what_an_earlier_release_sealed_is_opened() {
    let inner = memory();
    let store = sealed(&inner, &["a"]);
    let token = Token::parse(&"00112233445566778899aabbccddeeff".repeat(2)).unwrap();
    let sealed = new(&token).with_principal(who()).with_attributes(set(SECRETS[3]).set);
    store.create(&token.key(), &sealed).await.unwrap();
    let stored = found(&*inner, &token).await;
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines = vec![stored.record().principal().unwrap().as_str().to_owned()];
    for (code, value) in stored.record().attributes() {
        let (head, len) = (&value.bytes()[..40], value.bytes().len());
        lines.push(format!("{} {len} {}", code.as_str(), hexadecimal(head)));
    }
    assert_eq!(lines, SEALED);
}

/// Who is logged in; and of each attribute its name, its length and what it begins with.
const SEALED: [&str; 3] = [
    "4357a6d571899f935abba680f6a28642d31669515eba65c963eedce572fc169b",
    "0d27eb0fad4806377f3dbb9f274f16ca 302 \
     0101612b66bd70e8d54b8a607e71687227f8c3798815fe73f7807bfef055e1aa23b707112acd218d",
    "145f6c0cf3e1019e0268e65b88c0ae58 47 \
     0101610c45754b924d17e5b5f526957f9ead37d933593b934f4fdc2f9268c0098c6ec9de6aeed206",
];
