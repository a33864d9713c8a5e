//! OWASP ASVS 5.0, chapter 7 and what of chapter 3 is about cookies: each requirement of the table in `SECURITY.md` is a test that has its
//! number, on every backend where that makes a difference.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_core::ErrorKind;
use statehouse_core::conformance::Backend;
use statehouse_session::{
    Authority, CookieConfig, Limit, LoginOptions, MemorySessionStore, Persistence, Principal, SameSite, Secure,
    Session, SessionConfig, SessionConfigBuilder, SessionStore, SessionStoreExt as _, Sessions, Token,
};

trait Sessioned: Backend<Service = dyn SessionStore> {}

impl<B: Backend<Service = dyn SessionStore>> Sessioned for B {}

/// A site on the backend, and as many replicas of it as are asked for. Sessions live ten steps unused and thirty at most.
async fn site(
    backend: &impl Sessioned,
    configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
) -> Sessions {
    let step = step_of(backend);
    let config = SessionConfig::builder().idle_timeout(10 * step).absolute_timeout(30 * step);
    Sessions::new(backend.service().await, configure(config).build().unwrap())
}

/// Where the time cannot be put on, a busy machine may be late by more than other tests allow for: these are told as a whole.
fn step_of(backend: &impl Sessioned) -> Duration {
    3 * backend.step()
}

fn open(site: &Sessions, cookie: &str) -> Session {
    let cookies = (!cookie.is_empty()).then(|| (COOKIE, cookie.parse().unwrap()));
    site.open(&HeaderMap::from_iter(cookies))
}

/// Ends the request, and answers the cookie that its response sets.
async fn respond(session: Session) -> Option<String> {
    session.commit().await.unwrap();
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    Some(response.get(SET_COOKIE)?.to_str().unwrap().split(';').next().unwrap().to_owned())
}

async fn log_in(site: &Sessions, cookie: &str, who: &str) -> String {
    let session = open(site, cookie);
    session.login(who).await.unwrap();
    respond(session).await.expect("a new token")
}

async fn who(site: &Sessions, cookie: &str) -> Option<String> {
    open(site, cookie).principal().await.unwrap().map(|who| who.to_string())
}

fn somebody() -> String {
    format!("u{}", &Token::generate().unwrap().key().to_string()[..16])
}

fn token(cookie: &str) -> Token {
    Token::parse(cookie.split_once('=').unwrap().1).unwrap()
}

fn cookie_of(token: &Token) -> String {
    format!("__Host-id={}", token.expose().expose())
}

async fn asvs_v7_1_2_no_account_has_more_sessions_than_it_may(backend: &impl Sessioned) {
    for limit in [Limit::reject(1), Limit::evict_oldest(1)] {
        let (site, user) = (site(backend, |config| config.limit(limit)).await, somebody());
        let logins = (0..16).map(async |_| {
            let session = open(&site, "");
            session.login(&user).await.unwrap();
            match session.commit().await {
                Ok(()) => respond(session).await,
                Err(refused) => {
                    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
                    None
                }
            }
        });
        let cookies: Vec<_> = join_all(logins).await.into_iter().flatten().collect();
        let live = join_all(cookies.iter().map(|cookie| who(&site, cookie))).await;
        assert_eq!(live.iter().flatten().count(), 1, "{limit:?}");
    }
}

async fn asvs_v7_2_1_every_token_is_verified_in_the_backend(backend: &impl Sessioned) {
    let (site, replica) = (site(backend, |config| config).await, site(backend, |config| config).await);
    let cookie = log_in(&site, "", "u1").await;
    assert_eq!(who(&replica, &cookie).await.as_deref(), Some("u1"));
    let (name, text) = cookie.split_once('=').unwrap();
    for at in [0, text.len() / 3, text.len() / 2, text.len() - 2] {
        let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        let forged = format!("{name}={}{other}{}", &text[..at], &text[at + 1..]);
        assert_eq!(who(&site, &forged).await, None, "a digit at {at}");
    }
    let stale = token(&cookie).with_new_verifier().unwrap();
    assert_eq!(who(&site, &cookie_of(&stale)).await, None, "half of it right");
    let _ = site.store().delete(&token(&cookie).key(), Authority::Application).await.unwrap();
    for site in [&site, &replica] {
        assert_eq!(who(site, &cookie).await, None, "nothing in the cookie is believed");
    }
}

async fn asvs_v7_2_2_tokens_are_made_for_each_session_and_there_are_no_others(backend: &impl Sessioned) {
    let site = site(backend, |config| config).await;
    let (one, two) = (log_in(&site, "", "u1").await, log_in(&site, "", "u1").await);
    assert_ne!(token(&one).key(), token(&two).key());
    let never_issued = cookie_of(&Token::generate().unwrap());
    for given in [never_issued.as_str(), "__Host-id=", "__Host-id=admin", "__Host-id=0"] {
        assert_eq!(who(&site, given).await, None, "{given}");
        let cookie = log_in(&site, given, "u1").await;
        assert_ne!(cookie, given);
    }
    assert!(site.store().load(&token(&never_issued).key()).await.unwrap().found().is_none(), "it was never stored");
}

/// That each bit is fair, and that no login is made without random bytes, are tests of tokens.
async fn asvs_v7_2_3_tokens_are_unique_and_of_128_bits_at_least(backend: &impl Sessioned) {
    let site = site(backend, |config| config).await;
    let (mut keys, mut verifiers) = (HashSet::new(), HashSet::new());
    // Of each part the bits that were ever set, and those that were ever not.
    let mut seen = [[0_u128; 2]; 2];
    for _ in 0..64 {
        let cookie = log_in(&site, "", "u1").await;
        let text = cookie.split_once('=').unwrap().1;
        let (selector, verifier) = text.split_at_checked(32).unwrap();
        for (seen, part) in seen.iter_mut().zip([selector, verifier]) {
            assert_eq!(part.len(), 32, "128 bits in hexadecimal digits");
            let bits = u128::from_str_radix(part, 16).unwrap();
            *seen = [seen[0] | bits, seen[1] | !bits];
        }
        assert!(keys.insert(token(&cookie).key()) && verifiers.insert(*token(&cookie).verifier_hash().as_bytes()));
        let other = token(&cookie).with_new_verifier().unwrap();
        assert_eq!(other.key(), token(&cookie).key(), "the first part finds it, and the second opens it");
        assert_eq!(other.expose().expose().split_at(32).0, selector);
    }
    assert_eq!(seen, [[u128::MAX; 2]; 2], "each bit of both is drawn");
}

async fn asvs_v7_2_4_each_authentication_makes_a_new_token_and_refuses_the_old_one(backend: &impl Sessioned) {
    let site = site(backend, |config| config).await;
    let planting = open(&site, "");
    planting.insert("cart", "planted").unwrap();
    let mut before = respond(planting).await.unwrap();
    for user in ["u1", "u1", "u2"] {
        let in_flight = open(&site, &before);
        in_flight.principal().await.unwrap();
        let after = log_in(&site, &before, user).await;
        assert_ne!(token(&after).verifier_hash(), token(&before).verifier_hash(), "{user}");
        assert_eq!(who(&site, &before).await, None, "{user}: whoever knew the old one");
        in_flight.insert("late", "x").unwrap();
        assert_eq!(respond(in_flight).await, None, "{user}: and its cookie stays");
        let session = open(&site, &after);
        assert_eq!(session.principal().await.unwrap().unwrap().as_str(), user);
        assert_eq!(session.get::<String>("late").await.unwrap(), None, "{user}");
        before = after;
    }
    let session = open(&site, &before);
    session.rotate().await.unwrap();
    let after = respond(session).await.expect("a second factor, too");
    assert_eq!((who(&site, &before).await, who(&site, &after).await.as_deref()), (None, Some("u2")));
}

async fn asvs_v7_3_1_a_session_that_is_not_used_ends(backend: &impl Sessioned) {
    let (site, step) = (site(backend, |config| config).await, step_of(backend));
    let cookie = log_in(&site, "", "u1").await;
    let store = site.store();
    let last_seen = async || Some(store.load(&token(&cookie).key()).await.unwrap().found()?.last_seen());
    for read in 0..4 {
        backend.pass_time(4 * step).await;
        let before = last_seen().await;
        assert!(before.is_some(), "read {read}");
        let session = open(&site, &cookie);
        assert_eq!(session.principal().await.unwrap().unwrap().as_str(), "u1", "read {read}");
        respond(session).await;
        // What is read slides, in the background.
        for _ in 0..1_000 {
            if last_seen().await != before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    backend.pass_time(10 * step).await;
    assert_eq!(who(&site, &cookie).await, None);
}

async fn asvs_v7_3_2_a_session_ends_however_much_it_is_used(backend: &impl Sessioned) {
    let step = step_of(backend);
    let site = site(backend, |config| config.absolute_timeout(12 * step)).await;
    let mut cookie = log_in(&site, "", "u1").await;
    for _ in 0..3 {
        backend.pass_time(4 * step).await;
        let session = open(&site, &cookie);
        if session.principal().await.unwrap().is_some() {
            session.insert("used", &Token::generate().unwrap().key().to_string()).unwrap();
            session.rotate().await.unwrap();
        }
        cookie = respond(session).await.unwrap_or(cookie);
    }
    assert_eq!(who(&site, &cookie).await, None);
}

async fn asvs_v7_4_1_a_session_that_has_ended_is_of_no_use(backend: &impl Sessioned) {
    let (site, replica) = (site(backend, |config| config).await, site(backend, |config| config).await);
    let cookie = log_in(&site, "", "u1").await;
    let [reads, rotates, blind] = [open(&replica, &cookie), open(&replica, &cookie), open(&replica, &cookie)];
    reads.principal().await.unwrap();
    rotates.rotate().await.unwrap();
    let session = open(&site, &cookie);
    session.logout().await.unwrap();
    assert_eq!(respond(session).await.as_deref(), Some("__Host-id="));
    for late in [reads, rotates, blind] {
        late.insert("late", "x").unwrap();
        assert_eq!(respond(late).await, None);
    }
    for site in [&site, &replica] {
        assert_eq!(who(site, &cookie).await, None);
    }
}

async fn asvs_v7_4_2_all_sessions_of_an_account_end(backend: &impl Sessioned) {
    let (site, replica) = (site(backend, |config| config).await, site(backend, |config| config).await);
    let (user, other) = (somebody(), somebody());
    let theirs = join_all((0..3).map(|_| log_in(&site, "", &user))).await;
    let others = log_in(&site, "", &other).await;
    let under_way = open(&replica, "");
    under_way.login(&user).await.unwrap();
    site.revoke_all(&Principal::new(&user).unwrap()).await.unwrap();
    let late = under_way.commit().await;
    assert!(late.is_err_and(|error| error.kind() == ErrorKind::Conflict), "a login that began before");
    for cookie in &theirs {
        assert_eq!((who(&site, cookie).await, who(&replica, cookie).await), (None, None));
    }
    assert_eq!(who(&replica, &others).await, Some(other));
    let again = log_in(&replica, "", &user).await;
    assert_eq!(who(&site, &again).await, Some(user));
}

async fn asvs_v7_4_3_all_others_end_after_a_change_of_the_password(backend: &impl Sessioned) {
    let (site, user) = (site(backend, |config| config).await, somebody());
    let cookies = join_all((0..3).map(|_| log_in(&site, "", &user))).await;
    let session = open(&site, &cookies[0]);
    session.revoke_others().await.unwrap();
    respond(session).await;
    assert_eq!(who(&site, &cookies[0]).await.as_deref(), Some(&*user));
    for cookie in &cookies[1..] {
        assert_eq!(who(&site, cookie).await, None);
    }
}

async fn asvs_v7_4_5_administrators_end_a_session_all_of_a_user_or_all_there_are(backend: &impl Sessioned) {
    let (site, user, other) = (site(backend, |config| config).await, somebody(), somebody());
    let principal = Principal::new(&user).unwrap();
    let [one, two, three] =
        [log_in(&site, "", &user).await, log_in(&site, "", &user).await, log_in(&site, "", &other).await];
    let users =
        async || [who(&site, &one).await, who(&site, &two).await, who(&site, &three).await].map(|who| who.is_some());
    site.revoke(&principal, &token(&three).key()).await.unwrap();
    assert_eq!(users().await, [true, true, true], "it is somebody else's");
    site.revoke(&principal, &token(&one).key()).await.unwrap();
    assert_eq!(users().await, [false, true, true]);
    site.revoke_all(&principal).await.unwrap();
    assert_eq!(users().await, [false, false, true]);
    site.revoke_everything().await.unwrap();
    assert_eq!(users().await, [false, false, false]);
}

async fn asvs_v7_5_1_what_changes_an_account_asks_for_a_login_that_is_recent(backend: &impl Sessioned) {
    let (site, step) = (site(backend, |config| config).await, step_of(backend));
    let is_fresh = async |cookie: &str| open(&site, cookie).require_fresh(5 * step).await.map_err(|error| error.kind());
    let cookie = log_in(&site, "", "u1").await;
    assert_eq!(is_fresh(&cookie).await, Ok(()));
    backend.pass_time(6 * step).await;
    assert_eq!(is_fresh(&cookie).await, Err(ErrorKind::Unauthenticated));
    assert_eq!(who(&site, &cookie).await.as_deref(), Some("u1"), "for all else they are logged in");
    let again = log_in(&site, &cookie, "u1").await;
    assert_eq!(is_fresh(&again).await, Ok(()));
}

async fn asvs_v7_5_2_users_see_where_they_are_logged_in_and_end_it(backend: &impl Sessioned) {
    let (site, user) = (site(backend, |config| config).await, somebody());
    let mut cookies = Vec::new();
    for device in ["phone", "laptop"] {
        let session = open(&site, "");
        session.login(&user).await.unwrap();
        session.name_device(device).unwrap();
        cookies.push(respond(session).await.unwrap());
    }
    log_in(&site, "", &somebody()).await;
    let laptop = open(&site, &cookies[1]);
    let listed = laptop.list().await.unwrap();
    let mut devices: Vec<_> = listed.iter().map(|session| (session.device.as_deref(), session.is_current)).collect();
    devices.sort_unstable();
    assert_eq!(devices, [(Some("laptop"), true), (Some("phone"), false)]);
    let phone = listed.iter().find(|session| !session.is_current).unwrap();
    laptop.revoke(&phone.key).await.unwrap();
    assert_eq!((who(&site, &cookies[0]).await, who(&site, &cookies[1]).await), (None, Some(user)));
}

async fn asvs_v7_5_3_neither_use_nor_another_login_makes_one_recent(backend: &impl Sessioned) {
    let (site, step, user) = (site(backend, |config| config).await, step_of(backend), somebody());
    let is_fresh = async |cookie: &str| open(&site, cookie).require_fresh(5 * step).await.map_err(|error| error.kind());
    let cookie = log_in(&site, "", &user).await;
    backend.pass_time(6 * step).await;
    let session = open(&site, &cookie);
    session.insert("used", "x").unwrap();
    session.rotate().await.unwrap();
    let cookie = respond(session).await.unwrap();
    log_in(&site, "", &user).await;
    assert_eq!(is_fresh(&cookie).await, Err(ErrorKind::Unauthenticated));
    assert_eq!(is_fresh("").await, Err(ErrorKind::Unauthenticated), "nobody is logged in");
}

/// A provider's login has a time of its own, and its notice of a logout finds the session by its key.
async fn asvs_v7_6_1_a_federated_login_has_its_own_time_and_ends_by_its_key(backend: &impl Sessioned) {
    let step = step_of(backend);
    let site = site(backend, |config| config.max_remembered(60 * step.max(Duration::from_secs(1)))).await;
    let idle = (12 * step).max(Duration::from_secs(1));
    let session = open(&site, "");
    let options = LoginOptions::default().with_persistence(Persistence::Remember(idle));
    session.login_with("u1", options.with_absolute_timeout(40 * step)).await.unwrap();
    session.commit().await.unwrap();
    let key = session.key().await.unwrap().expect("it is stored");
    let cookie = respond(session).await.unwrap();
    let stored = site.store().load(&key).await.unwrap().found().unwrap();
    assert_eq!(stored.record().idle_timeout(), idle);
    assert_eq!(stored.record().absolute_expiry(), stored.record().created() + 40 * step, "both are its own");
    let rotated = log_in(&site, &cookie, "u1").await;
    assert_eq!(open(&site, &rotated).key().await.unwrap(), Some(key), "it stays through logins");
    let _ = site.store().delete(&key, Authority::Application).await.unwrap();
    assert_eq!(who(&site, &rotated).await, None);
}

async fn asvs_v7_6_2_no_session_begins_before_somebody_does_something(backend: &impl Sessioned) {
    let site = site(backend, |config| config).await;
    let untouched = open(&site, "");
    assert_eq!(respond(untouched).await, None);
    let reading = open(&site, "");
    assert_eq!(reading.principal().await.unwrap(), None);
    assert_eq!(reading.get::<String>("cart").await.unwrap(), None);
    assert!(reading.take_flash().await.unwrap().is_empty());
    assert_eq!((reading.key().await.unwrap(), respond(reading).await), (None, None));
}

/// Of what is the same whatever keeps the sessions.
mod cookies {
    use super::*;

    async fn set_cookie() -> String {
        let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
        let session = sessions.open(&HeaderMap::new());
        session.login("u1").await.unwrap();
        session.commit().await.unwrap();
        let mut response = HeaderMap::new();
        session.write_cookie(&mut response);
        response[SET_COOKIE].to_str().unwrap().to_owned()
    }

    fn is_refused(
        build: impl FnOnce(statehouse_session::CookieBuilder) -> statehouse_session::CookieBuilder,
        name: &str,
    ) {
        let refused = build(CookieConfig::builder(name)).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    }

    #[tokio::test]
    async fn asvs_v3_3_1_the_cookie_is_secure_and_its_name_says_so() {
        let cookie = set_cookie().await;
        assert!(cookie.starts_with("__Host-") && cookie.split("; ").any(|part| part == "Secure"), "{cookie}");
        for name in ["__Host-id", "__Secure-id"] {
            is_refused(|cookie| cookie.secure(Secure::Never), name);
        }
    }

    #[tokio::test]
    async fn asvs_v3_3_2_the_cookie_says_to_which_sites_requests_it_belongs() {
        let cookie = set_cookie().await;
        assert!(cookie.split("; ").any(|part| part == "SameSite=Lax"), "{cookie}");
        is_refused(|cookie| cookie.secure(Secure::Never).same_site(SameSite::None), "id");
    }

    #[tokio::test]
    async fn asvs_v3_3_3_the_cookie_is_of_this_host_alone() {
        let cookie = set_cookie().await;
        assert!(cookie.split("; ").any(|part| part == "Path=/") && !cookie.contains("Domain"), "{cookie}");
        is_refused(|cookie| cookie.domain("clinic.example"), "__Host-id");
        is_refused(|cookie| cookie.path("/app"), "__Host-id");
    }

    #[tokio::test]
    async fn asvs_v3_3_4_no_script_reads_the_cookie() {
        let cookie = set_cookie().await;
        assert!(cookie.split("; ").any(|part| part == "HttpOnly"), "{cookie}");
    }

    #[tokio::test]
    async fn asvs_v3_3_5_the_cookie_is_far_below_4096_bytes() {
        let cookie = set_cookie().await;
        assert!(cookie.split(';').next().unwrap().len() < 256, "{cookie}");
    }

    /// In front of handlers it is the layer that looks.
    #[tokio::test]
    async fn asvs_v3_5_1_a_token_of_forms_is_of_one_session_and_one_login() {
        let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
        let [mine, other] = [sessions.open(&HeaderMap::new()), sessions.open(&HeaderMap::new())];
        for session in [&mine, &other] {
            session.login("u1").await.unwrap();
            session.commit().await.unwrap();
        }
        let shown = mine.csrf_token().await.unwrap();
        assert!(mine.is_csrf_token(shown.expose()).await.unwrap());
        assert!(!other.is_csrf_token(shown.expose()).await.unwrap(), "another session");
        mine.login("u1").await.unwrap();
        mine.commit().await.unwrap();
        assert!(!mine.is_csrf_token(shown.expose()).await.unwrap(), "another login");
    }
}

macro_rules! on_every_backend {
    ($($case:ident),* $(,)?) => {
        on_every_backend! { @backend in_memory [super::super::memory::backend()] $($case)* }
        on_every_backend! { @backend on_disk [super::super::disk::backend().await] $($case)* }
        on_every_backend! { @backend in_redis [super::super::redis::backend().await] $($case)* }
        on_every_backend! { @backend in_a_cluster [super::super::redis_cluster::backend().await] $($case)* }
        on_every_backend! { @backend sealed_in_redis [super::super::Sealed(super::super::redis::backend().await)] $($case)* }
    };
    (@backend $name:ident [$backend:expr] $($case:ident)*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&$backend).await;
            })*
        }
    };
}

on_every_backend! {
    asvs_v7_1_2_no_account_has_more_sessions_than_it_may,
    asvs_v7_2_1_every_token_is_verified_in_the_backend,
    asvs_v7_2_2_tokens_are_made_for_each_session_and_there_are_no_others,
    asvs_v7_2_3_tokens_are_unique_and_of_128_bits_at_least,
    asvs_v7_2_4_each_authentication_makes_a_new_token_and_refuses_the_old_one,
    asvs_v7_3_1_a_session_that_is_not_used_ends,
    asvs_v7_3_2_a_session_ends_however_much_it_is_used,
    asvs_v7_4_1_a_session_that_has_ended_is_of_no_use,
    asvs_v7_4_2_all_sessions_of_an_account_end,
    asvs_v7_4_3_all_others_end_after_a_change_of_the_password,
    asvs_v7_4_5_administrators_end_a_session_all_of_a_user_or_all_there_are,
    asvs_v7_5_1_what_changes_an_account_asks_for_a_login_that_is_recent,
    asvs_v7_5_2_users_see_where_they_are_logged_in_and_end_it,
    asvs_v7_5_3_neither_use_nor_another_login_makes_one_recent,
    asvs_v7_6_1_a_federated_login_has_its_own_time_and_ends_by_its_key,
    asvs_v7_6_2_no_session_begins_before_somebody_does_something,
}
