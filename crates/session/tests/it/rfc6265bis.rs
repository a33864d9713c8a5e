//! What a browser keeps of our cookies, as [RFC 6265bis](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis) has it read
//! and store them: a jar of our own, which its vectors are tried on first.

use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_session::{CookieConfig, MemorySessionStore, SameSite, Secure, SessionConfig, Sessions};

const HOST: &str = "www.clinic.example";
const PATH: &str = "/app/login";

/// What a browser keeps of a cookie that came over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    name: String,
    value: String,
    /// None if it is for this host alone.
    domain: Option<String>,
    path: String,
    http_only: bool,
}

#[derive(Default)]
struct Attributes {
    domain: String,
    path: String,
    max_age: Option<i64>,
    secure: bool,
    http_only: bool,
    same_site_none: bool,
    partitioned: bool,
}

/// Section 5.6.
fn parse(header: &str) -> Option<(String, String, Attributes)> {
    if header.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
        return None;
    }
    let blank = [' ', '\t'];
    let (pair, rest) = header.split_once(';').unwrap_or((header, ""));
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    let (name, value) = (name.trim_matches(blank), value.trim_matches(blank));
    if name.len() + value.len() > 4_096 || (name.is_empty() && value.is_empty()) {
        return None;
    }
    let mut attributes = Attributes::default();
    for part in rest.split(';') {
        let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim_matches(blank);
        if value.len() > 1_024 {
            continue;
        }
        match attribute.trim_matches(blank).to_ascii_lowercase().as_str() {
            "domain" => attributes.domain = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase(),
            "path" => attributes.path = value.to_owned(),
            "max-age" => attributes.max_age = value.parse().ok().or(attributes.max_age),
            "secure" => attributes.secure = true,
            "httponly" => attributes.http_only = true,
            "samesite" => attributes.same_site_none = value.eq_ignore_ascii_case("none"),
            "partitioned" => attributes.partitioned = true,
            _ => {}
        }
    }
    Some((name.to_owned(), value.to_owned(), attributes))
}

/// Section 5.7.
fn store(jar: &mut Vec<Kept>, header: &str) {
    let Some((name, value, attributes)) = parse(header) else { return };
    let Attributes { domain, path, max_age, secure, http_only, same_site_none, partitioned } = attributes;
    let covers = |domain: &str| HOST == domain || HOST.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let domain = (!domain.is_empty()).then_some(domain);
    let is_foreign = domain.as_ref().is_some_and(|domain| !covers(domain));
    let path = if path.starts_with('/') { path } else { PATH.rsplit_once('/').unwrap().0.to_owned() };
    let (lower, of_value) = (name.to_ascii_lowercase(), value.to_ascii_lowercase());
    let hidden =
        name.is_empty() && ["__secure-", "__host-", "__http-"].iter().any(|prefix| of_value.starts_with(prefix));
    let is_host = secure && domain.is_none() && path == "/";
    let is_refused = is_foreign
        || hidden
        || ((same_site_none || partitioned) && !secure)
        || (lower.starts_with("__secure-") && !secure)
        || (lower.starts_with("__host-") && !is_host)
        || (lower.starts_with("__http-") && !(secure && http_only))
        || (lower.starts_with("__host-http-") && !http_only);
    if is_refused {
        return;
    }
    jar.retain(|kept| (&kept.name, &kept.domain, &kept.path) != (&name, &domain, &path));
    if max_age.is_none_or(|age| age > 0) {
        jar.push(Kept { name, value, domain, path, http_only });
    }
}

#[test]
fn the_jar_is_as_browsers_have_it() {
    for (header, expected) in [
        ("foo=bar", Some(("foo", "bar", None, "/app"))),
        ("foo = bar ", Some(("foo", "bar", None, "/app"))),
        ("foo=b=c;", Some(("foo", "b=c", None, "/app"))),
        ("foo=\"bar\"", Some(("foo", "\"bar\"", None, "/app"))),
        ("foo", Some(("", "foo", None, "/app"))),
        ("=bar", Some(("", "bar", None, "/app"))),
        ("foo=", Some(("foo", "", None, "/app"))),
        ("", None),
        ("=;Secure", None),
        ("foo=b\u{7}r", None),
        ("foo=bar; Path", Some(("foo", "bar", None, "/app"))),
        ("foo=bar; Path=app", Some(("foo", "bar", None, "/app"))),
        ("foo=bar; path=/a; PATH = /b", Some(("foo", "bar", None, "/b"))),
        ("foo=bar; Domain=.Clinic.example", Some(("foo", "bar", Some("clinic.example"), "/app"))),
        ("foo=bar; Domain=clinic.example; Domain=", Some(("foo", "bar", None, "/app"))),
        ("foo=bar; Domain=linic.example", None),
        ("foo=bar; Domain=other.example", None),
        ("foo=bar; Max-Age=0", None),
        ("foo=bar; Max-Age=-1", None),
        ("foo=bar; Max-Age=1x", Some(("foo", "bar", None, "/app"))),
        ("foo=bar; SameSite=None", None),
        ("foo=bar; Partitioned", None),
        ("__Secure-foo=bar", None),
        ("__secure-foo=bar; Secure", Some(("__secure-foo", "bar", None, "/app"))),
        ("__Host-foo=bar; Secure", None),
        ("__Host-foo=bar; Secure; Path=/; Domain=clinic.example", None),
        ("__hOSt-foo=bar; Path=/", None),
        ("__Host-foo=bar; Secure; Path=/", Some(("__Host-foo", "bar", None, "/"))),
        ("__Http-foo=bar; Secure", None),
        ("__Http-foo=bar; Secure; HttpOnly", Some(("__Http-foo", "bar", None, "/app"))),
        ("__Host-Http-foo=bar; Secure; Path=/", None),
        ("=__Host-foo=bar; Secure; Path=/", None),
        (&format!("foo={}", "a".repeat(4_094)), None),
    ] {
        let mut jar = Vec::new();
        store(&mut jar, header);
        let kept = jar.first().map(|kept| (&*kept.name, &*kept.value, kept.domain.as_deref(), &*kept.path));
        assert_eq!(kept, expected, "{header}");
    }
}

/// The cookies that a login sets, and its logout then.
async fn headers_of(cookie: CookieConfig) -> [Vec<String>; 2] {
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::builder().cookie(cookie).build().unwrap());
    let set = |headers: &HeaderMap| -> Vec<String> {
        headers.get_all(SET_COOKIE).iter().map(|header| header.to_str().unwrap().to_owned()).collect()
    };
    let (session, mut response) = (sessions.open(&HeaderMap::new()), HeaderMap::new());
    session.login("u42").await.unwrap();
    session.commit().await.unwrap();
    session.write_cookie(&mut response);
    let login = set(&response);
    let cookie = login[0].split(';').next().unwrap().parse().unwrap();
    let (session, mut response) = (sessions.open(&HeaderMap::from_iter([(COOKIE, cookie)])), HeaderMap::new());
    session.logout().await.unwrap();
    session.write_cookie(&mut response);
    [login, set(&response)]
}

#[tokio::test]
async fn what_is_configured_is_what_browsers_keep_and_what_they_reject_is_refused() {
    let mut kept = 0;
    for name in ["id", "__Secure-id", "__Host-id", "__hOst-id", "__Http-id", "__Host-Http-id"] {
        for number in 0..96_u32 {
            let bit = |at: u32| number >> at & 1 == 1;
            let same_site = [SameSite::Lax, SameSite::Strict, SameSite::None][(number / 32) as usize];
            let mut cookie = CookieConfig::builder(name).same_site(same_site);
            cookie = if bit(0) { cookie.domain("clinic.example") } else { cookie };
            cookie = if bit(1) { cookie.path("/app") } else { cookie };
            cookie = if bit(2) { cookie.max_age(Duration::from_secs(3_600)) } else { cookie };
            cookie = if bit(3) { cookie.secure(Secure::Never) } else { cookie };
            cookie = if bit(4) { cookie.partitioned() } else { cookie };
            let attributes = [(bit(0), "; Domain=clinic.example"), (!bit(3), "; Secure"), (bit(4), "; Partitioned")];
            let attributes: String = attributes.iter().filter(|(is_set, _)| *is_set).map(|(_, text)| *text).collect();
            let none = if same_site == SameSite::None { "; SameSite=None" } else { "" };
            let (mut jar, path) = (Vec::new(), if bit(1) { "/app" } else { "/" });
            store(&mut jar, &format!("{name}=x; Path={path}; HttpOnly{attributes}{none}"));
            let built = cookie.clone().build();
            assert_eq!(built.is_ok(), !jar.is_empty(), "{cookie:?}");
            let Ok(built) = built else { continue };
            jar.clear();
            let [login, logout] = headers_of(built).await;
            login.iter().for_each(|header| store(&mut jar, header));
            assert_eq!(
                jar.iter().map(|kept| (&*kept.name, kept.http_only)).collect::<Vec<_>>(),
                [(name, true)],
                "{login:?}"
            );
            logout.iter().for_each(|header| store(&mut jar, header));
            assert_eq!(jar, [], "{logout:?} removes {login:?}");
            kept += 1;
        }
    }
    assert!(kept > 100, "{kept}");
}
