use std::time::Duration;

use http::header::{CACHE_CONTROL, COOKIE, HeaderMap, HeaderValue, SET_COOKIE, VARY};
use statehouse_core::{Error, Result};

use crate::token::Token;

/// How many tokens of one cookie's name a request may bring, each of which may be asked for. A browser sends several if other
/// paths or hosts of the domain have set some. It keeps some hundred cookies of a site, of which so many take four kilobytes, half
/// of what servers commonly take of a request's head.
pub(crate) const CANDIDATES: usize = 64;

/// What the name of the fallback cookie ends with.
const FALLBACK: &str = "-fallback";

/// What tells caches not to store the cookie.
const NO_COOKIE: &str = "no-cache=\"Set-Cookie\"";

/// The name and the attributes of the session cookie.
///
/// By default `__Host-id; Path=/; Secure; HttpOnly; SameSite=Lax`: browsers accept a name beginning with `__Host-`
/// only from this very host over HTTPS, so no other host of the domain can plant one
/// ([RFC 6265bis, section 4.1.3](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3)).
/// `HttpOnly` cannot be turned off.
///
/// # The fallback cookie
/// A request that comes with a cookie that a login or a logout has replaced a moment ago was either sent before the browser
/// got the newer one, or the answer with the newer one was lost. Nobody can tell, so its response never sets this cookie: a
/// session that it begins is kept in a second one, of the same attributes, whose name ends with `-fallback`. It counts only
/// where this one opens no session, and is removed by the next login, and by whatever uses the session of this one.
///
/// For development on `http://localhost`, where such a cookie does not work in every browser, there is
/// [`insecure_localhost`](Self::insecure_localhost).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieConfig {
    name: String,
    path: String,
    domain: Option<String>,
    max_age: Option<Duration>,
    secure: Secure,
    same_site: SameSite,
    partitioned: bool,
}

/// In which of the two cookies a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Cookie,
    /// Where the browser may have a newer cookie than its request brought.
    Fallback,
}

/// A token that a request brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Brought {
    pub(crate) token: Token,
    pub(crate) place: Place,
}

/// Which requests from other sites bring the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// None.
    Strict,
    /// Following a link.
    #[default]
    Lax,
    /// All.
    None,
}

/// Whether the browser sends the cookie over HTTPS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Secure {
    /// Over HTTPS only.
    #[default]
    Always,
    /// Over plain HTTP too: whoever can read the network can take the session.
    Never,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            name: "__Host-id".into(),
            path: "/".into(),
            domain: None,
            max_age: None,
            secure: Secure::Always,
            same_site: SameSite::Lax,
            partitioned: false,
        }
    }
}

impl CookieConfig {
    /// For development over plain HTTP: a cookie named `id` without `Secure`. Never use it in production.
    ///
    /// ```
    /// use statehouse_session::{CookieConfig, MemorySessionStore, SessionConfig, SessionLayer};
    ///
    /// let config = SessionConfig::builder().cookie(CookieConfig::insecure_localhost()).build()?;
    /// let layer = SessionLayer::with_config(MemorySessionStore::default(), config);
    /// # drop(layer);
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    #[must_use]
    pub fn insecure_localhost() -> Self {
        Self { name: "id".into(), secure: Secure::Never, ..Self::default() }
    }

    /// Begins with the default under another name, for example `__Host-clinic` or, with a domain, `__Secure-clinic`.
    pub fn builder(name: impl Into<String>) -> CookieBuilder {
        CookieBuilder(Self { name: name.into(), ..Self::default() })
    }

    /// The tokens that a request brings, in order and each once, those of the fallback cookie last; and whether there are more
    /// than are looked at. What is not a token is left out.
    pub(crate) fn tokens(&self, headers: &HeaderMap) -> (Vec<Brought>, bool) {
        let (mut tokens, mut more) = (Vec::new(), false);
        for place in [Place::Cookie, Place::Fallback] {
            let begin = tokens.len();
            for token in self.tokens_of(headers, place) {
                let brought = Brought { token, place };
                if !tokens.contains(&brought) {
                    tokens.push(brought);
                }
                if tokens.len() - begin > CANDIDATES {
                    more = true;
                    tokens.pop();
                    break;
                }
            }
        }
        (tokens, more)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn tokens_of(&self, headers: &HeaderMap, place: Place) -> impl Iterator<Item = Token> {
        headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
            .filter_map(move |pair| {
                pair.trim_ascii().strip_prefix(self.name.as_bytes())?.strip_prefix(place.suffix().as_bytes())
            })
            .filter_map(|rest| Token::parse(std::str::from_utf8(rest.strip_prefix(b"=")?).ok()?))
    }

    /// Adds the cookie to a response, to be kept for so long when the browser is closed, and what keeps caches from storing it.
    pub(crate) fn set(&self, headers: &mut HeaderMap, place: Place, token: &Token, max_age: Option<Duration>) {
        self.append(headers, place, token.expose().expose(), max_age);
    }

    /// Adds the cookie's removal to a response. A browser removes a cookie only if name, domain and path are the
    /// same, and heeds a `__Host-` name only with all the attributes that it demands.
    pub(crate) fn remove(&self, headers: &mut HeaderMap, place: Place) {
        self.append(headers, place, "", Some(Duration::ZERO));
    }

    /// How long the browser keeps the cookie of whoever is not remembered, if it does so when it is closed.
    pub(crate) const fn lasts(&self) -> Option<Duration> {
        self.max_age
    }

    /// Tells caches that a response is for one browser alone. What the application says to caches stands: where it
    /// calls the response public, `Vary` still keeps browsers with other cookies from getting it.
    pub(crate) fn mark_private(headers: &mut HeaderMap) {
        vary_by_cookie(headers);
        let kept = ["no-store", "private", "public"].iter().any(|item| contains(headers, &CACHE_CONTROL, item));
        if kept {
            return;
        }
        tell_caches(headers, "private");
    }

    fn append(&self, headers: &mut HeaderMap, place: Place, value: &str, max_age: Option<Duration>) {
        let Ok(mut cookie) = HeaderValue::try_from(self.header(place, value, max_age)) else {
            debug_assert!(false, "a checked name, path and domain make a header value");
            return;
        };
        cookie.set_sensitive(true);
        headers.append(SET_COOKIE, cookie);
        if !["no-store", NO_COOKIE].iter().any(|item| contains(headers, &CACHE_CONTROL, item)) {
            tell_caches(headers, NO_COOKIE);
        }
        vary_by_cookie(headers);
    }

    fn header(&self, place: Place, value: &str, max_age: Option<Duration>) -> String {
        let mut text = format!("{}{}={value}; Path={}", self.name, place.suffix(), self.path);
        if let Some(domain) = &self.domain {
            text += &format!("; Domain={domain}");
        }
        if let Some(max_age) = max_age {
            text += &format!("; Max-Age={}", max_age.as_secs());
        }
        if self.secure == Secure::Always {
            text += "; Secure";
        }
        text += "; HttpOnly; SameSite=";
        text += match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        if self.partitioned {
            text += "; Partitioned";
        }
        text
    }
}

impl Place {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Cookie => "",
            Self::Fallback => FALLBACK,
        }
    }
}

/// In one line with what the application says: there are caches that read only the first.
fn tell_caches(headers: &mut HeaderMap, what: &'static str) {
    match headers.get_mut(CACHE_CONTROL) {
        Some(first) if first.as_bytes() != NO_COOKIE.as_bytes() => {
            let joined = [first.as_bytes(), b", ", what.as_bytes()].concat();
            if let Ok(joined) = HeaderValue::from_bytes(&joined) {
                *first = joined;
            }
        }
        _ => drop(headers.append(CACHE_CONTROL, HeaderValue::from_static(what))),
    }
}

fn vary_by_cookie(headers: &mut HeaderMap) {
    if !contains(headers, &VARY, "cookie") && !contains(headers, &VARY, "*") {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}

fn contains(headers: &HeaderMap, name: &http::HeaderName, item: &str) -> bool {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|text| text.trim().eq_ignore_ascii_case(item))
}

/// Builds a [`CookieConfig`]; combinations that browsers reject are refused.
///
/// ```
/// use std::time::Duration;
/// use statehouse_session::{CookieConfig, SameSite, Secure};
///
/// // For all hosts of a domain, and for a month: so its name begins with `__Secure-` and not with `__Host-`.
/// let shared = CookieConfig::builder("__Secure-clinic")
///     .domain("clinic.example")
///     .path("/")
///     .same_site(SameSite::Strict)
///     .secure(Secure::Always)
///     .max_age(Duration::from_secs(30 * 86_400))
///     .build()?;
/// # let _ = shared;
/// assert!(CookieConfig::builder("__Host-clinic").domain("clinic.example").build().is_err());
///
/// // For a widget in other sites' pages.
/// let framed = CookieConfig::builder("__Host-widget").same_site(SameSite::None).partitioned().build()?;
/// # let _ = framed;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CookieBuilder(CookieConfig);

impl CookieBuilder {
    /// The path under which the browser sends the cookie.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.0.path = path.into();
        self
    }

    /// The domain whose hosts all get the cookie. Not with a `__Host-` name.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.0.domain = Some(domain.into());
        self
    }

    /// How long the browser keeps the cookie from its last use on: it is sent again as the session slides, and with
    /// each write. Without it, the browser keeps the cookie until it is closed, unless the login was
    /// [remembered](crate::Persistence::Remember).
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.0.max_age = Some(max_age);
        self
    }

    /// Which requests from other sites bring the cookie.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.0.same_site = same_site;
        self
    }

    /// For a page in a frame of other sites: with [`SameSite::None`], browsers keep one cookie for each site that
    /// shows the page, and none of them follows anybody from site to site
    /// ([CHIPS](https://datatracker.ietf.org/doc/draft-cutler-httpbis-partitioned-cookies/)). It needs `Secure`.
    pub fn partitioned(mut self) -> Self {
        self.0.partitioned = true;
        self
    }

    /// Whether the browser sends the cookie over HTTPS only.
    pub fn secure(mut self, secure: Secure) -> Self {
        self.0.secure = secure;
        self
    }

    /// Checks the combination.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), saying which rule it breaks.
    pub fn build(self) -> Result<CookieConfig> {
        match self.refusal() {
            Some(reason) => Err(Error::invalid_config("session cookie", reason)),
            None => Ok(self.0),
        }
    }

    fn refusal(&self) -> Option<&'static str> {
        let CookieConfig { name, path, domain, max_age, secure, same_site, partitioned } = &self.0;
        let prefixed = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let plain_value = |text: &str| text.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b';');
        let insecure = *secure == Secure::Never;
        let domain_chars = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token_char) {
            Some("the name must be 1 to 128 letters, digits and other token characters of RFC 9110")
        } else if !path.starts_with('/') || path.len() > 1024 || !plain_value(path) {
            Some("the path must begin with / and be at most 1,024 visible characters without ;")
        } else if domain
            .as_ref()
            .is_some_and(|name| name.is_empty() || name.len() > 253 || !name.bytes().all(domain_chars))
        {
            Some("the domain must be a host name")
        } else if max_age.is_some_and(|age| age < Duration::from_secs(1)) {
            Some("the maximum age must be at least a second")
        } else if prefixed("__Host-") && (insecure || domain.is_some() || path != "/") {
            Some("a name beginning with __Host- needs Secure, the path / and no domain")
        } else if (prefixed("__Secure-") || prefixed("__Http-")) && insecure {
            Some("a name beginning with __Secure- or __Http- needs Secure")
        } else if *same_site == SameSite::None && insecure {
            Some("SameSite=None needs Secure")
        } else if *partitioned && insecure {
            Some("Partitioned needs Secure")
        } else {
            None
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn set_cookies(headers: &HeaderMap) -> Vec<&str> {
        headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn the_default_cookie_is_bound_to_the_host_and_removed_with_every_attribute() {
        let (cookie, token) = (CookieConfig::default(), Token::generate().unwrap());
        let mut headers = HeaderMap::new();
        cookie.set(&mut headers, Place::Cookie, &token, None);
        cookie.remove(&mut headers, Place::Cookie);
        let expected = format!("__Host-id={}; Path=/; Secure; HttpOnly; SameSite=Lax", token.expose().expose());
        let removal = "__Host-id=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(set_cookies(&headers), [expected.as_str(), removal]);
        assert!(headers[SET_COOKIE].is_sensitive(), "the header must not be printed or compressed with a dictionary");
        assert_eq!(headers[VARY], "Cookie");
        assert_eq!(headers.get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn every_attribute_is_written_and_the_whole_stays_far_below_4096_bytes() {
        let cookie = CookieConfig::builder("__Secure-clinic")
            .domain("clinic.example")
            .path("/app")
            .max_age(Duration::from_secs(3600))
            .same_site(SameSite::Strict)
            .partitioned()
            .build()
            .unwrap();
        let mut headers = HeaderMap::new();
        cookie.remove(&mut headers, Place::Cookie);
        let removal = "__Secure-clinic=; Path=/app; Domain=clinic.example; Max-Age=0; Secure; HttpOnly; SameSite=Strict; Partitioned";
        assert_eq!(set_cookies(&headers), [removal]);
        let longest = CookieConfig::builder("n".repeat(128))
            .path(format!("/{}", "p".repeat(1023)))
            .domain("d".repeat(253))
            .build()
            .unwrap();
        assert!(longest.header(Place::Fallback, &"0".repeat(64), None).len() < 4096);
    }

    #[test]
    fn caches_are_told_unless_the_response_is_not_stored_anyway() {
        let mut headers = HeaderMap::from_iter([
            (CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")),
            (VARY, HeaderValue::from_static("accept, COOKIE")),
        ]);
        CookieConfig::default().remove(&mut headers, Place::Cookie);
        CookieConfig::default().remove(&mut headers, Place::Fallback);
        let all: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(
            all,
            ["public, max-age=60, no-cache=\"Set-Cookie\""],
            "there are caches that read only the first line"
        );
        assert_eq!(headers.get_all(VARY).iter().count(), 1);
        let mut headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))]);
        CookieConfig::default().remove(&mut headers, Place::Cookie);
        assert_eq!(headers.get_all(CACHE_CONTROL).iter().count(), 1);
    }

    #[test]
    fn a_response_for_one_browser_is_private_unless_the_application_says_what_it_is() {
        let cases = [
            (None, "private"),
            (Some("max-age=60"), "max-age=60, private"),
            (Some("no-store"), "no-store"),
            (Some("Private, max-age=60"), "Private, max-age=60"),
            (Some("public, max-age=60"), "public, max-age=60"),
        ];
        for (before, after) in cases {
            let before = before.map(|value| (CACHE_CONTROL, HeaderValue::from_static(value)));
            let mut headers: HeaderMap = before.into_iter().collect();
            for _ in 0..2 {
                CookieConfig::mark_private(&mut headers);
                assert_eq!(headers.get_all(CACHE_CONTROL).iter().collect::<Vec<_>>(), [after]);
                assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), ["Cookie"]);
            }
        }
        let mut headers = HeaderMap::from_iter([(VARY, HeaderValue::from_static("*"))]);
        CookieConfig::mark_private(&mut headers);
        assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), ["*"]);
    }

    #[test]
    fn combinations_that_browsers_reject_are_refused() {
        let build = |name: &str| CookieConfig::builder(name);
        for refused in [
            build("__Host-id").domain("clinic.example"),
            build("__host-id").path("/app"),
            build("__Host-id").secure(Secure::Never),
            build("__SECURE-id").secure(Secure::Never),
            build("__Http-id").secure(Secure::Never),
            build("id").secure(Secure::Never).same_site(SameSite::None),
            build("id").secure(Secure::Never).partitioned(),
            build(""),
            build("a b"),
            build("a;b"),
            build("id").path("app"),
            build("id").path("/a;Domain=evil.example"),
            build("id").path("/\r\nX: y"),
            build("id").domain(""),
            build("id").domain("a; Path=/"),
            build("id").max_age(Duration::from_millis(999)),
        ] {
            let error = refused.clone().build().unwrap_err();
            assert_eq!(error.kind(), statehouse_core::ErrorKind::InvalidConfig, "{refused:?}");
        }
        assert!(build("id").secure(Secure::Never).build().is_ok());
        assert_eq!(CookieConfig::insecure_localhost(), build("id").secure(Secure::Never).build().unwrap());
    }

    #[test]
    fn the_tokens_among_the_cookies_are_looked_at_in_order_and_what_is_none_does_not_count() {
        let tokens: Vec<_> = (0..5).map(|_| Token::generate().unwrap()).collect();
        let text = |token: &Token| token.expose().expose().to_owned();
        let first = format!("a=1; __Host-id={};__Host-id=nonsense", text(&tokens[0]));
        let second = format!("__Host-idx={}; __Host-id={}", text(&tokens[4]), text(&tokens[1]));
        let third = format!("__Host-id={}; __Host-id={}", text(&tokens[2]), text(&tokens[3]));
        let third =
            format!("{third}; {}", "__Host-id=nonsense; ".repeat(100)) + &format!("__Host-id={}", text(&tokens[1]));
        let fallback = format!("__Host-id-fallback={}; {first}", text(&tokens[4]));
        let headers: HeaderMap =
            [fallback, second, third].map(|text| (COOKIE, HeaderValue::try_from(text).unwrap())).into_iter().collect();
        let (read, more) = CookieConfig::default().tokens(&headers);
        let (places, read): (Vec<_>, Vec<_>) = read.into_iter().map(|brought| (brought.place, brought.token)).unzip();
        assert_eq!(read, tokens);
        assert_eq!(places, [Place::Cookie, Place::Cookie, Place::Cookie, Place::Cookie, Place::Fallback]);
        assert!(!more);
    }

    #[test]
    fn of_more_tokens_than_are_looked_at_it_is_said_that_there_are_more() {
        let tokens: Vec<_> = (0..=CANDIDATES).map(|_| Token::generate().unwrap()).collect();
        let pairs: Vec<_> = tokens.iter().map(|token| format!("__Host-id={}", token.expose().expose())).collect();
        for (count, expected) in [(CANDIDATES, false), (CANDIDATES + 1, true)] {
            let cookie = HeaderValue::try_from(pairs[..count].join("; ")).unwrap();
            let (read, more) = CookieConfig::default().tokens(&HeaderMap::from_iter([(COOKIE, cookie)]));
            assert_eq!((read.len(), more), (CANDIDATES, expected));
        }
    }

    #[test]
    fn damaged_cookies_never_panic_and_are_never_tokens() {
        let token = Token::generate().unwrap();
        let good = format!("__Host-id={}", token.expose().expose()).into_bytes();
        for end in 0..good.len() {
            assert_eq!(read(&good[..end]), [], "cut at {end}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad).iter().all(|read| *read != token), "bit {bit}");
        }
        assert_eq!(read(&good), [token]);
    }

    fn read(cookie: &[u8]) -> Vec<Token> {
        let Ok(value) = HeaderValue::from_bytes(cookie) else { return Vec::new() };
        let (brought, _) = CookieConfig::default().tokens(&HeaderMap::from_iter([(COOKIE, value)]));
        brought.into_iter().map(|brought| brought.token).collect()
    }
}
