use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::nearest::{did_you_mean, nearest};
use crate::{Error, Result, Secret};

/// The URL that configures a service, taken apart: `scheme://user:password@host:port,host:port/path?name=value`.
///
/// Unlike a WHATWG URL it may name several hosts, as Sentinel and Cluster need. Backends take the parameters they know
/// and then call [`finish`](Self::finish), so that a misspelt one is an error that lists what is accepted. `Debug`
/// prints no password and no parameter values.
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::ServiceUrl;
///
/// let mut url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", "redis://app:pw@10.0.0.5/2?timeout=250ms")?;
/// assert_eq!(url.hosts()[0].to_string(), "10.0.0.5");
/// assert_eq!(url.path(), "2");
/// assert_eq!(url.take_duration("timeout")?, Some(Duration::from_millis(250)));
/// url.finish()?;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ServiceUrl {
    setting: String,
    scheme: String,
    username: Option<String>,
    password: Option<Secret>,
    hosts: Vec<Host>,
    path: String,
    parameters: Vec<(String, Secret)>,
    /// Whether a part that is shown in errors may be a password that was written without percent-encoding.
    doubtful: bool,
    /// What backends have asked for, with the value if it was given.
    taken: Vec<(&'static str, Option<Secret>)>,
}

/// One host of a [`ServiceUrl`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a host is a name and perhaps a port")]
pub struct Host {
    /// A name or address; an IPv6 address without its brackets.
    pub name: String,
    /// The port, if given.
    pub port: Option<u16>,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]", self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl ServiceUrl {
    /// Takes the text of `setting` apart.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the setting. The text itself is not
    /// repeated: it may hold a password.
    pub fn parse(setting: &str, text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::invalid_config(setting, reason);
        if text != text.trim() {
            return Err(refuse(SURROUNDED.to_owned()));
        }
        let (scheme, rest) = text
            .split_once(':')
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or_else(|| refuse("expected a URL such as \"memory:\", which begins with its scheme".into()))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A `?` or `/` in a password ends the host too early, and the rest of the password is then a parameter or path.
        let doubtful = query.contains('@') || (!rest.starts_with("//") && rest.contains('@'));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash)),
            None => ("", rest),
        };
        let (userinfo, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, rest)| (Some(user), rest));
        let (username, password) = userinfo.map_or(("", ""), |user| user.split_once(':').unwrap_or((user, "")));
        let read = |part: &str| decode(part).map_err(|reason| refuse(reason.to_owned()));
        let (username, password, path) = (read(username)?, read(password)?, read(path)?);
        if path.contains('\0') {
            return Err(refuse("the path has a byte of zero (%00), which no name has".into()));
        }
        Ok(Self {
            setting: setting.to_owned(),
            scheme: scheme.to_ascii_lowercase(),
            username: Some(username).filter(|name| !name.is_empty()),
            password: Some(password).filter(|text| !text.is_empty()).map(Secret::new),
            hosts: hosts
                .split(',')
                .filter(|host| !host.is_empty())
                .map(parse_host)
                .collect::<Result<_, _>>()
                .map_err(refuse)?,
            path,
            parameters: parse_query(query, doubtful).map_err(refuse)?,
            doubtful,
            taken: Vec::new(),
        })
    }

    /// The setting that this URL is the value of.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// The scheme in lowercase.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The user name, percent-decoded.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password, percent-decoded.
    #[must_use]
    pub const fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Replaces the password, for one that comes from a file.
    pub fn set_password(&mut self, password: Secret) {
        self.password = Some(password);
    }

    /// The hosts in the order given.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The path, percent-decoded. Behind a host it has no leading slash: `2` of `redis://host/2`. Without one it is
    /// kept whole: `/var/lib/app` of `file:///var/lib/app`.
    #[must_use]
    pub fn path(&self) -> &str {
        if self.hosts.is_empty() { &self.path } else { self.path.strip_prefix('/').unwrap_or(&self.path) }
    }

    /// Whether both lead to the same place in the same way, whatever settings they are the values of.
    ///
    /// ```
    /// # use statehouse_core::ServiceUrl;
    /// let cache = ServiceUrl::parse("STATEHOUSE_CACHE_URL", "redis://10.0.0.5?timeout=1s&connections=4")?;
    /// let sessions = ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", "redis://10.0.0.5?connections=4&timeout=1s")?;
    /// assert!(cache.is_same_place(&sessions));
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |url: &Self| {
            let Self { scheme, username, password, hosts, path, .. } = url.clone();
            let mut parameters: Vec<_> =
                url.parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
            (scheme, username, password, hosts, path, parameters)
        };
        place(self) == place(other)
    }

    /// Takes a parameter as text.
    pub fn take(&mut self, name: &'static str) -> Option<Secret> {
        let at = self.parameters.iter().position(|(given, _)| given == name);
        let value = at.map(|at| self.parameters.swap_remove(at).1);
        self.taken.push((name, value.clone()));
        value
    }

    /// Takes a parameter that `FromStr` reads, for example a number.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the parameter and what it `accepts`.
    pub fn take_parsed<T: FromStr>(&mut self, name: &'static str, accepts: &str) -> Result<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        text.expose().parse().map(Some).map_err(|_| self.refuse(name, accepts))
    }

    /// Takes a parameter that is a duration: a whole number and `ms`, `s`, `m`, `h` or `d`. Zero is refused.
    ///
    /// # Errors
    /// As [`take_parsed`](Self::take_parsed).
    pub fn take_duration(&mut self, name: &'static str) -> Result<Option<Duration>> {
        const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let accepts = "a duration above zero such as 250ms, 2s, 5m, 1h or 7d";
        Ok(self.take_quantity(name, &UNITS, accepts)?.map(Duration::from_millis))
    }

    /// Takes a parameter that is a size: a whole number with `B`, `KiB`, `MiB` or `GiB`. Zero is refused, and a number without
    /// its unit, which may be meant as a count.
    ///
    /// # Errors
    /// As [`take_parsed`](Self::take_parsed).
    pub fn take_size(&mut self, name: &'static str) -> Result<Option<u64>> {
        const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        self.take_quantity(name, &UNITS, "a size above zero with its unit, such as 64KiB, 256MiB or 2GiB")
    }

    fn take_quantity(&mut self, name: &'static str, units: &[(&str, u64)], accepts: &str) -> Result<Option<u64>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        units
            .iter()
            .find_map(|(unit, factor)| {
                let number: u64 = text.expose().strip_suffix(unit)?.parse().ok()?;
                number.checked_mul(*factor).filter(|product| *product > 0)
            })
            .map(Some)
            .ok_or_else(|| self.refuse(name, accepts))
    }

    /// Ends the reading of parameters.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if one is left that nobody took, naming it, the one
    /// that may have been meant, and all that would have been accepted; and for a `memory:` that names a place, which
    /// somebody expects to be kept.
    pub fn finish(self) -> Result<()> {
        if self.scheme == "memory" && !(self.hosts.is_empty() && self.path.is_empty()) {
            let message = "expected \"memory:\", with nothing but parameters behind it: what is in memory has no place";
            return Err(Error::invalid_config(&self.setting, message));
        }
        let Some((given, _)) = self.parameters.first() else { return Ok(()) };
        let unknown = shown(given, self.doubtful);
        let accepted: BTreeSet<_> = self.taken.iter().map(|(name, _)| *name).collect();
        let meant = is_shown(given, self.doubtful).then(|| nearest(given, accepted.iter().copied())).flatten();
        let meant = did_you_mean(meant);
        let accepted = accepted.into_iter().collect::<Vec<_>>().join(", ");
        let accepted = if accepted.is_empty() { "none" } else { &accepted };
        let message = format!("unknown parameter {unknown} for {}:; {meant}accepted: {accepted}", self.shown_scheme());
        Err(Error::invalid_config(&self.setting, message))
    }

    /// The error for a parameter that was taken and whose value is wrong. It repeats the value, so it is not for a
    /// parameter that holds a secret.
    #[must_use]
    pub fn refuse(&self, name: &str, accepts: &str) -> Error {
        let found = self.taken.iter().find_map(|(taken, value)| value.as_ref().filter(|_| *taken == name));
        let found = found.map(|value| match self.doubtful {
            true => format!(", not what was given; {ENCODE}"),
            false => format!(", not {:?}", value.expose()),
        });
        let found = found.unwrap_or_default();
        Error::invalid_config(&self.setting, format!("parameter {name:?} must be {accepts}{found}"))
    }

    /// What stands before the first colon is no scheme where somebody wrote `user:password@host`.
    const fn has_scheme(&self) -> bool {
        !self.doubtful || !self.hosts.is_empty()
    }

    fn shown_scheme(&self) -> &str {
        if self.has_scheme() { &self.scheme } else { "(not shown)" }
    }

    /// The accepted scheme that may have been meant.
    pub(crate) fn meant_scheme<'a>(&self, accepted: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        self.has_scheme().then(|| nearest(&self.scheme, accepted)).flatten()
    }

    /// The error for a scheme that the service does not have: it names the one that may have been meant, and those that are
    /// `accepted`, with commas between them.
    #[must_use]
    pub fn refuse_scheme(&self, accepted: &str) -> Error {
        let meant = did_you_mean(self.meant_scheme(accepted.split(", ")));
        let shown = self.shown_scheme();
        let message = format!("{shown:?} is not a scheme of this service; {meant}accepted: {accepted}");
        Error::invalid_config(&self.setting, message)
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceUrl")
            .field("setting", &self.setting)
            .field("scheme", &self.shown_scheme())
            .field("username", &self.username)
            .field("password", &self.password)
            .field("hosts", &self.hosts)
            .field("path", if self.path.contains('@') { &"[redacted]" } else { &self.path })
            .field(
                "parameters",
                &self.parameters.iter().map(|(name, _)| shown(name, self.doubtful)).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// What is written with `%`, as it is meant; else why that is not clear.
fn decode(text: &str) -> Result<String, &'static str> {
    let is_escape = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(is_escape) {
        return Err(NO_ESCAPE);
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| "a part of the URL is not UTF-8 after percent-decoding")
}

fn parse_host(text: &str) -> Result<Host, String> {
    let refuse = || Err(format!("a host must be {A_HOST}; {ENCODE}"));
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((name, rest)) = rest.split_once(']') else { return refuse() };
            // Behind a "%" is the interface of an address that is good on one link only.
            if name.split('%').next().is_none_or(|address| address.parse::<Ipv6Addr>().is_err()) {
                return refuse();
            }
            (name, Some(rest).filter(|rest| !rest.is_empty()))
        }
        None => text
            .split_at_checked(text.find(':').unwrap_or(text.len()))
            .map_or((text, None), |(name, rest)| (name, Some(rest).filter(|rest| !rest.is_empty()))),
    };
    let is_name = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !(text.starts_with('[') || name.chars().all(is_name)) {
        return refuse();
    }
    let port = port.map(|port| {
        let Some(port) = port.strip_prefix(':') else { return Err(format!("a host must be {A_HOST}; {ENCODE}")) };
        // Where a host was forgotten, or a password has a slash, this is a password.
        let is_number = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse().ok().filter(|port| *port > 0).ok_or_else(|| match is_number {
            true => format!("port {port:?} must be a number from 1 to 65535"),
            false => format!("what follows the host must be a port from 1 to 65535; {ENCODE}"),
        })
    });
    Ok(Host { name: name.to_owned(), port: port.transpose()? })
}

/// What a host may be. It is not repeated: it may be a part of a password.
const A_HOST: &str = "a name or an address of letters, digits, \"-\", \"_\" and \".\", perhaps with a port, and an IPv6 address in \
                      brackets, as in [::1]:6379";

/// Of a URL with something around it that nobody sees: what was read from a file often ends with a line break.
const SURROUNDED: &str =
    "the URL begins or ends with a blank or a line break, as what is read from a file often does; remove it";

/// Of a `%` that may stand for itself or for a letter.
const NO_ESCAPE: &str = "a \"%\" is not followed by two hexadecimal digits; one that stands for itself is written %25";

/// What to do about a password that takes the URL apart.
const ENCODE: &str = "in a password, \"/\", \"?\", \"#\", \"%\" and \"@\" are written %2F, %3F, %23, %25 and %40";

/// The name of a parameter for an error: not if it may be a part of a password.
fn shown(name: &str, doubtful: bool) -> String {
    if is_shown(name, doubtful) { format!("{name:?}") } else { format!("(not shown; {ENCODE})") }
}

fn is_shown(name: &str, doubtful: bool) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !doubtful && name.len() <= 64 && name.chars().all(plain)
}

fn parse_query(query: &str, doubtful: bool) -> Result<Vec<(String, Secret)>, String> {
    let mut parameters: Vec<(String, Secret)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("parameter {} has no value", shown(pair, doubtful)))?;
        let unclear = |reason| format!("parameter {}: {reason}", shown(name, doubtful));
        let (name, value) = (decode(name).map_err(unclear)?, decode(value).map_err(unclear)?);
        if value.is_empty() {
            return Err(format!("parameter {} has an empty value", shown(&name, doubtful)));
        }
        if parameters.iter().any(|(given, _)| *given == name) {
            return Err(format!("parameter {} is given twice", shown(&name, doubtful)));
        }
        parameters.push((name, Secret::new(value)));
    }
    Ok(parameters)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn parse(text: &str) -> ServiceUrl {
        ServiceUrl::parse("SETTING", text).unwrap()
    }

    #[test]
    fn each_documented_shape_is_taken_apart() {
        let url = parse("memory:");
        assert_eq!((url.scheme(), url.path(), url.hosts()), ("memory", "", &[][..]));
        let url = parse("file:///var/lib/my%20app");
        assert_eq!((url.scheme(), url.path()), ("file", "/var/lib/my app"));
        assert_eq!(parse("file:./data").path(), "./data");
        let url = parse("redis+sentinel://app:p%40ss@a:1,[::1]:26379,c/mymaster/2");
        assert_eq!(url.username(), Some("app"));
        assert_eq!(url.password().unwrap().expose(), "p@ss");
        assert_eq!(url.hosts().iter().map(Host::to_string).collect::<Vec<_>>(), ["a:1", "[::1]:26379", "c"]);
        assert_eq!(url.path(), "mymaster/2");
        assert_eq!(parse("redis://[fe80::1%eth0]").hosts()[0].name, "fe80::1%eth0");
        assert_eq!(parse("redis://cache_1.internal:6379").hosts()[0].to_string(), "cache_1.internal:6379");
        assert_eq!(parse("s3://bucket/some/prefix").path(), "some/prefix");
        assert_eq!(parse("redis://:pw@h").password().unwrap().expose(), "pw");
    }

    #[test]
    fn malformed_urls_name_the_setting_and_hide_the_text() {
        for text in [
            "",
            "file:///data%00/files",
            "redis",
            "://x",
            "redis://h:notaport",
            "redis://h:70000",
            "redis://h:0",
            "redis://h:6379:6380",
            "redis://h#fragment",
            "redis://h%20x",
            "redis://[::1",
            "redis://[::1]6379",
            "redis://[h]:6379",
            "redis://::1",
            "redis://fe80::1:6379",
            "redis://\"h\"",
            "redis+cluster://a:1,b;c:2",
            "redis://h?a",
            "redis://h?a=1&a=2",
            "memory:?a=",
        ] {
            let error = ServiceUrl::parse("STATEHOUSE_CACHE_URL", text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
            assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_URL"));
        }
        for text in ["redis://user:hunter2@h:bad", "redis://user:hunter2", "hunter2", "redis://u:hunter 2@h"] {
            let shown = everything_shown(text);
            assert!(!shown.contains("hunter"), "{text}: {shown}");
        }
    }

    #[test]
    fn what_stands_around_a_url_and_a_percent_sign_for_itself_are_named() {
        let refusal = |text: &str| ServiceUrl::parse("S", text).unwrap_err().to_string();
        for text in ["redis://u:hunter2@h:6379\n", "redis://u:hunter2@h ", " redis://u:hunter2@h", "memory:\r\n"] {
            let error = refusal(text);
            assert!(error.contains("a blank or a line break") && !error.contains("hunter"), "{text:?}: {error}");
        }
        for text in ["redis://u:hunter%zz2@h", "redis://u:p%@h", "redis://u%4:p@h", "file:/100%", "redis://h?a=%g0"] {
            let error = refusal(text);
            assert!(error.contains("is written %25") && !error.contains("hunter"), "{text}: {error}");
        }
        assert_eq!(parse("redis://u:100%25%2f@h").password().unwrap().expose(), "100%/");
        assert!(refusal("redis://u:%ff@h").contains("not UTF-8"));
    }

    /// All that errors and `Debug` say of a URL, whatever a backend does with it.
    fn everything_shown(text: &str) -> String {
        let mut url = match ServiceUrl::parse("S", text) {
            Ok(url) => url,
            Err(error) => return format!("{error} {error:?}"),
        };
        let debug = format!("{url:?}");
        let typed = [url.take_duration("timeout").err(), url.take_size("x").err(), Some(url.refuse_scheme("x"))];
        let errors = typed.into_iter().flatten().chain(url.finish().err());
        errors.fold(debug, |shown, error| format!("{shown} {error} {error:?}"))
    }

    #[test]
    fn a_password_that_takes_the_url_apart_is_shown_nowhere() {
        let urls = [
            "redis://u:123?hunter2@h",
            "redis://u:123?hunter2=x@h",
            "redis://u:123?x=1&hunter2@h:6379/2",
            "redis://u:123?timeout=hunter2@h",
            "redis://u:123?hunter2=&hunter2=@h",
            "redis://u?hunter2@h",
            "redis://u:1/hunter2@h",
            "redis://u:a/hunter2@h",
            "redis://u:1234567/hunter2@h",
            "redis://:hunter2/x@h?y=1",
            "redis:user:hunter2@h",
            "redis:/user:hunter2@h",
            "redis:hunter2@h?x=y",
            "hunter2:pw@h",
            "hunter2:/pw@h?a",
            "s3://key:se/hunter2@bucket/prefix",
        ];
        for text in urls {
            let shown = everything_shown(text);
            assert!(!shown.contains("hunter"), "{text}: {shown}");
        }
        let error = ServiceUrl::parse("S", "redis://u:123?hunter2@h").unwrap_err();
        assert!(error.to_string().contains("%3F"), "{error}");
        let error = ServiceUrl::parse("S", "redis://u:a/hunter2@h").unwrap_err();
        assert!(error.to_string().contains("%2F"), "{error}");
    }

    #[test]
    fn parameters_are_typed_and_unknown_ones_refused() {
        let mut url = parse("redis://h?timeout=2s&size=64MiB&n=7&tiemout=9s");
        assert_eq!(url.take_duration("timeout").unwrap(), Some(Duration::from_secs(2)));
        assert_eq!(url.take_size("size").unwrap(), Some(64 << 20));
        assert_eq!(url.take_parsed::<u32>("n", "a number").unwrap(), Some(7));
        assert_eq!(url.take_duration("absent").unwrap(), None);
        let message = url.finish().unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown parameter \"tiemout\" for redis:; did you mean \"timeout\"? accepted: absent, n, size, timeout (setting SETTING)"
        );
        let message = parse("redis://h?hunter2=1").finish().unwrap_err().to_string();
        assert_eq!(message, "unknown parameter \"hunter2\" for redis:; accepted: none (setting SETTING)");
        // What may be a part of a password is neither shown nor compared.
        let mut url = parse("redis://u:1?tiemout=x@h");
        url.take("timeout");
        let message = url.finish().unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
    }

    #[test]
    fn wrong_values_say_what_is_accepted() {
        for text in ["0s", "0ms", "-1s", "5", "5w", "s", "99999999999999999999s", "18446744073709551615d"] {
            let error = parse(&format!("redis://h?t={text}")).take_duration("t").unwrap_err().to_string();
            assert!(error.contains("250ms") && error.contains(&format!("not \"{text}\"")), "{error}");
        }
        for text in ["0", "1.5MiB", "MiB", "5MB", "0B", "65536"] {
            let error = parse(&format!("redis://h?t={text}")).take_size("t").unwrap_err().to_string();
            assert!(
                error.contains("with its unit, such as 64KiB") && error.contains(&format!("not \"{text}\"")),
                "{error}"
            );
        }
        assert_eq!(parse("redis://h?t=512B").take_size("t").unwrap(), Some(512));
        let error = parse("gopher://h").refuse_scheme("memory, redis").to_string();
        assert_eq!(error, "\"gopher\" is not a scheme of this service; accepted: memory, redis (setting SETTING)");
        let error = parse("redsi://h").refuse_scheme("memory, redis").to_string();
        assert!(error.contains("service; did you mean \"redis\"? accepted: memory, redis"), "{error}");
        let error = parse("redsi:pw@h").refuse_scheme("memory, redis").to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn the_same_place_is_so_in_every_part() {
        let same = |one: &str, other: &str| parse(one).is_same_place(&ServiceUrl::parse("OTHER", other).unwrap());
        let url = "redis://app:pw@h:6379/2?timeout=1s&connections=4";
        assert!(same(url, url) && same(url, "redis://app:pw@h:6379/2?connections=4&timeout=1s"));
        for other in [
            "rediss://app:pw@h:6379/2?timeout=1s&connections=4",
            "redis://app2:pw@h:6379/2?timeout=1s&connections=4",
            "redis://app:pw2@h:6379/2?timeout=1s&connections=4",
            "redis://app:pw@h2:6379/2?timeout=1s&connections=4",
            "redis://app:pw@h:6380/2?timeout=1s&connections=4",
            "redis://app:pw@h:6379/3?timeout=1s&connections=4",
            "redis://app:pw@h:6379/2?timeout=2s&connections=4",
            "redis://app:pw@h:6379/2?timeout=1s",
        ] {
            assert!(!same(url, other), "{other}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", parse("s3://key:hunter2@h/p?secret=hunter3"));
        assert!(!text.contains("hunter"), "{text}");
    }
}
