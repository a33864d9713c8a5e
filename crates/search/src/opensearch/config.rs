use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use statehouse_core::{Error, Host, Namespace, Result, Secret, ServiceUrl};

/// Where OpenSearch is, how to log in, and how long anything may take.
///
/// `opensearch+https://user:password@h1:9200,h2:9200/prefix?deadline=20s`: any number of nodes of one cluster, and
/// perhaps a prefix that this user's index names must begin with. `opensearch+http:` is the same without TLS.
///
/// | parameter | default | meaning |
/// | --- | --- | --- |
/// | `connect_timeout` | `1s` | the most that connecting and TLS may take |
/// | `timeout` | `10s` | the most that one try of an operation may take |
/// | `deadline` | `30s` | the most that an operation may take with all its tries |
/// | `shards` | `1` | shards of an index that is created; with more, scores of fuzzy queries and which words a phrase prefix stands for depend on the shard |
/// | `replicas` | `1` | copies of each shard of an index that is created |
/// | `max_answer` | `64MiB` | the longest answer that is read, at least 64 KiB; a longer one is `TooLarge`: ask for fewer or smaller hits |
/// | `proxy` | none | `http://host:port`: sends everything through this proxy; those of the environment are never used |
/// | `delete_retention` | `1h` | how long a versioned delete of an index that is created refuses older documents |
/// | `ca` | the system's | a PEM file of the certificates to trust instead of the system's (TLS only) |
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::{Namespace, Secret};
/// use statehouse_search::OpenSearchConfig;
///
/// let nodes = [("search-1.internal".to_owned(), 9200), ("search-2.internal".to_owned(), 9200)];
/// let config = OpenSearchConfig::new(nodes)?
///     .with_tls(Some("/etc/ssl/search-ca.pem".into()))
///     .with_credentials("clinic", Secret::new("hunter2"))
///     .with_prefix(Namespace::new("clinic")?)
///     .with_connect_timeout(Duration::from_secs(2))
///     .with_timeout(Duration::from_secs(5))
///     .with_deadline(Duration::from_secs(20))
///     .with_shards(3)
///     .with_replicas(2)
///     .with_delete_retention(Duration::from_secs(24 * 3600))
///     .with_max_answer(16 << 20)
///     .with_setting("APP_SEARCH_URL")
///     .with_proxy(Secret::new("http://clinic:hunter2@proxy.internal:3128"))?;
/// assert!(!format!("{config:?}").contains("hunter2"));
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenSearchConfig {
    pub(super) nodes: Vec<Host>,
    pub(super) tls: Option<Tls>,
    pub(super) credentials: Option<Credentials>,
    pub(super) prefix: Option<Namespace>,
    pub(super) timing: Timing,
    pub(super) layout: Layout,
    pub(super) max_answer: u64,
    pub(super) proxy: Option<Proxy>,
    pub(super) http: Option<reqwest::Client>,
    pub(super) setting: String,
}

/// TLS, trusting the system's certificates or those of one PEM file.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    pub(super) ca: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: Secret,
}

/// An HTTP proxy. Its address may hold a password.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    url: Secret,
    place: String,
}

impl Proxy {
    fn parse(url: Secret) -> Option<Self> {
        let parsed = reqwest::Url::parse(url.expose()).ok()?;
        if !matches!(parsed.scheme(), "http" | "https") || !matches!(parsed.path(), "" | "/") {
            return None;
        }
        let place = format!("{}:{}", parsed.host_str()?, parsed.port_or_known_default()?);
        Some(Self { url, place })
    }

    /// `host:port`.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// What sends requests there.
    pub(super) fn forwarder(&self, setting: &str) -> Result<reqwest::Proxy> {
        // The cause would repeat the address with its password.
        let refuse = |_| Error::invalid_config(setting, format!("the proxy {} cannot be used", self.place));
        reqwest::Proxy::all(self.url.expose()).map_err(refuse)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) connect: Duration,
    pub(super) attempt: Duration,
    pub(super) total: Duration,
}

/// How an index is created. An existing one keeps what it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) shards: u32,
    pub(super) replicas: u32,
    pub(super) delete_retention: Duration,
}

const OPENSEARCH_PORT: u16 = 9200;
const MAX_SHARDS: u32 = 1024;
const MAX_ANSWER: u64 = 64 << 20;

/// Smaller ones do not hold what opening an index asks for.
const LEAST_ANSWER: u64 = 64 << 10;
const A_PROXY: &str = "an address such as http://proxy.internal:3128";

impl OpenSearchConfig {
    /// The cluster that these nodes belong to, over plain HTTP.
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) if no node is named.
    pub fn new(nodes: impl IntoIterator<Item = (String, u16)>) -> Result<Self> {
        let nodes: Vec<_> = nodes.into_iter().map(|(name, port)| Host { name, port: Some(port) }).collect();
        Self::of(nodes, "nodes".to_owned())
    }

    fn of(mut nodes: Vec<Host>, setting: String) -> Result<Self> {
        if nodes.is_empty() {
            return Err(Error::invalid_config(&setting, "name at least one node, as in opensearch+https://host:9200"));
        }
        for node in &mut nodes {
            node.port.get_or_insert(OPENSEARCH_PORT);
        }
        Ok(Self {
            nodes,
            tls: None,
            credentials: None,
            prefix: None,
            timing: Timing {
                connect: Duration::from_secs(1),
                attempt: Duration::from_secs(10),
                total: Duration::from_secs(30),
            },
            layout: Layout { shards: 1, replicas: 1, delete_retention: Duration::from_secs(3600) },
            max_answer: MAX_ANSWER,
            proxy: None,
            http: None,
            setting,
        })
    }

    /// Reads a URL and its parameters.
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        let tls = match url.scheme() {
            "opensearch+http" => None,
            "opensearch+https" => Some(Tls { ca: url.take("ca").map(|path| path.expose().into()) }),
            _ => return Err(url.refuse_scheme("opensearch+https, opensearch+http")),
        };
        let mut config = Self::of(url.hosts().to_vec(), url.setting().to_owned())?;
        config.tls = tls;
        config.credentials = credentials_of(&url)?;
        config.prefix = prefix_of(&url)?;
        config.take_timing(&mut url)?;
        config.take_layout(&mut url)?;
        config.max_answer = url.take_size("max_answer")?.unwrap_or(config.max_answer);
        if config.max_answer < LEAST_ANSWER {
            return Err(url.refuse("max_answer", "at least 64KiB"));
        }
        if let Some(proxy) = url.take("proxy") {
            let refuse = || Error::invalid_config(&config.setting, format!("parameter \"proxy\" must be {A_PROXY}"));
            config.proxy = Some(Proxy::parse(proxy).ok_or_else(refuse)?);
        }
        url.finish()?;
        Ok(config)
    }

    fn take_timing(&mut self, url: &mut ServiceUrl) -> Result<()> {
        let timing = &mut self.timing;
        timing.connect = url.take_duration("connect_timeout")?.unwrap_or(timing.connect);
        timing.attempt = url.take_duration("timeout")?.unwrap_or(timing.attempt);
        timing.total = url.take_duration("deadline")?.unwrap_or_else(|| timing.total.max(timing.attempt));
        if timing.total < timing.attempt {
            return Err(url.refuse("deadline", "at least as long as \"timeout\""));
        }
        Ok(())
    }

    fn take_layout(&mut self, url: &mut ServiceUrl) -> Result<()> {
        let layout = &mut self.layout;
        let accepts = "a number from 1 to 1024";
        layout.shards = url.take_parsed("shards", accepts)?.unwrap_or(layout.shards);
        if !(1..=MAX_SHARDS).contains(&layout.shards) {
            return Err(url.refuse("shards", accepts));
        }
        layout.replicas = url.take_parsed("replicas", "a number, 0 for none")?.unwrap_or(layout.replicas);
        layout.delete_retention = url.take_duration("delete_retention")?.unwrap_or(layout.delete_retention);
        Ok(())
    }

    /// HTTP basic authentication.
    #[must_use]
    pub fn with_credentials(mut self, username: impl Into<String>, password: Secret) -> Self {
        self.credentials = Some(Credentials { username: username.into(), password });
        self
    }

    /// TLS, trusting the certificates of this PEM file, or the system's if `None`.
    #[must_use]
    pub fn with_tls(mut self, ca: Option<PathBuf>) -> Self {
        self.tls = Some(Tls { ca });
        self
    }

    /// What the names of indexes begin with, before the name given at opening.
    #[must_use]
    pub fn with_prefix(mut self, prefix: Namespace) -> Self {
        self.prefix = Some(prefix);
        self
    }

    /// The most that connecting may take, with TLS.
    #[must_use]
    pub const fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.timing.connect = limit;
        self
    }

    /// The most that one try of an operation may take.
    #[must_use]
    pub const fn with_timeout(mut self, limit: Duration) -> Self {
        self.timing.attempt = limit;
        self
    }

    /// The most that an operation may take with all its tries.
    #[must_use]
    pub const fn with_deadline(mut self, limit: Duration) -> Self {
        self.timing.total = limit;
        self
    }

    /// Shards of an index that is created: 1 to 1024.
    #[must_use]
    pub const fn with_shards(mut self, shards: u32) -> Self {
        self.layout.shards = shards;
        self
    }

    /// Copies of each shard of an index that is created.
    #[must_use]
    pub const fn with_replicas(mut self, replicas: u32) -> Self {
        self.layout.replicas = replicas;
        self
    }

    /// How long a versioned delete refuses older documents, in an index that is created.
    #[must_use]
    pub const fn with_delete_retention(mut self, time: Duration) -> Self {
        self.layout.delete_retention = time;
        self
    }

    /// The longest answer that is read, in bytes, at least 64 KiB. A longer one is `TooLarge`.
    #[must_use]
    pub const fn with_max_answer(mut self, bytes: u64) -> Self {
        self.max_answer = bytes;
        self
    }

    /// Sends everything through this HTTP proxy, as in `http://proxy.internal:3128`. Without it none is used, whatever
    /// the environment says: over plain HTTP a proxy reads the password.
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) if it is no such address.
    pub fn with_proxy(mut self, address: Secret) -> Result<Self> {
        let refuse = || Error::invalid_config(&self.setting, format!("a proxy must be {A_PROXY}"));
        self.proxy = Some(Proxy::parse(address).ok_or_else(refuse)?);
        Ok(self)
    }

    /// Sends requests through this client instead of our own: its TLS, proxy and connect timeout apply. Retries take
    /// their connections from its pool too, where our own open new ones.
    #[must_use]
    pub fn with_http_client(mut self, client: reqwest::Client) -> Self {
        self.http = Some(client);
        self
    }

    /// Says in errors that this setting is the one to look at, for example `STATEHOUSE_SEARCH_URL`.
    #[must_use]
    pub fn with_setting(mut self, setting: impl Into<String>) -> Self {
        self.setting = setting.into();
        self
    }

    /// The name that an index goes by on the server: an alias of the index that holds the documents.
    pub(super) fn alias(&self, name: &Namespace) -> Result<Namespace> {
        match &self.prefix {
            Some(prefix) => Namespace::new(format!("{prefix}.{name}")),
            None => Ok(name.clone()),
        }
    }

    /// The configuration, if it does not contradict itself.
    pub(crate) fn checked(self) -> Result<Self> {
        self.check()?;
        Ok(self)
    }

    /// What can be checked without a connection.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |message: &'static str| Err(Error::invalid_config(&self.setting, message));
        let Timing { connect, attempt, total } = self.timing;
        if connect.is_zero() || attempt.is_zero() {
            return refuse("timeouts must be above zero");
        }
        if total < attempt {
            return refuse("the deadline must be at least as long as the timeout");
        }
        if !(1..=MAX_SHARDS).contains(&self.layout.shards) {
            return refuse("there must be 1 to 1024 shards");
        }
        if self.max_answer < LEAST_ANSWER {
            return refuse("max_answer must be at least 64 KiB: no less is needed to open an index");
        }
        if self.http.is_some() && self.proxy.is_some() {
            return refuse("a client of your own has a proxy of its own: give it to the client");
        }
        if self.layout.delete_retention.is_zero() {
            return refuse("the trace of a delete must be kept for some time");
        }
        Ok(())
    }
}

/// Where it is, without secrets.
impl fmt::Display for OpenSearchConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, node) in self.nodes.iter().enumerate() {
            write!(f, "{}{node}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

fn credentials_of(url: &ServiceUrl) -> Result<Option<Credentials>> {
    match (url.username(), url.password()) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => {
            Ok(Some(Credentials { username: username.to_owned(), password: password.clone() }))
        }
        (Some(_), None) => Err(Error::invalid_config(url.setting(), "a user name is given without a password")),
        (None, Some(_)) => Err(Error::invalid_config(url.setting(), "a password is given without a user name")),
    }
}

fn prefix_of(url: &ServiceUrl) -> Result<Option<Namespace>> {
    if url.path().is_empty() {
        return Ok(None);
    }
    let invalid = |error: Error| {
        Error::invalid_config(url.setting(), "the path must be a prefix of index names").with_source(error)
    };
    Namespace::new(url.path()).map(Some).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    fn read(text: &str) -> Result<OpenSearchConfig> {
        OpenSearchConfig::from_url(ServiceUrl::parse("STATEHOUSE_SEARCH_URL", text)?)
    }

    #[test]
    fn every_part_of_the_url_is_read() {
        let text = "opensearch+https://app:hunter2@h1:9201,h2/acme?connect_timeout=250ms&timeout=2s&deadline=5s\
                    &shards=3&replicas=2&delete_retention=2h&ca=/etc/ca.pem&max_answer=1MiB\
                    &proxy=http://me:hunter3@p.internal:3128";
        let config = read(text).unwrap();
        assert_eq!(config.to_string(), "h1:9201,h2:9200");
        assert_eq!(config.credentials.as_ref().unwrap().username, "app");
        assert_eq!(config.credentials.as_ref().unwrap().password.expose(), "hunter2");
        assert_eq!(config.alias(&Namespace::new("clinic.concepts").unwrap()).unwrap().as_str(), "acme.clinic.concepts");
        let Timing { connect, attempt, total } = config.timing;
        assert_eq!([connect, attempt, total].map(|time| time.as_millis()), [250, 2_000, 5_000]);
        let Layout { shards, replicas, delete_retention } = config.layout;
        assert_eq!((shards, replicas, delete_retention.as_secs()), (3, 2, 7_200));
        assert_eq!(config.tls.as_ref().unwrap().ca, Some("/etc/ca.pem".into()));
        assert_eq!((config.max_answer, config.proxy.as_ref().unwrap().place()), (1 << 20, "p.internal:3128"));
        assert!(!format!("{config:?} {config}").contains("hunter"));
        config.check().unwrap();
    }

    #[test]
    fn a_longer_timeout_alone_lengthens_the_deadline() {
        let config = read("opensearch+http://h?timeout=2m").unwrap();
        assert_eq!(config.timing.total, Duration::from_secs(120));
    }

    #[test]
    fn wrong_urls_name_the_setting_and_what_it_accepts() {
        for (text, accepts) in [
            ("http://h", "opensearch+https"),
            ("opensearch+http:", "at least one node"),
            ("opensearch+http://app@h", "without a password"),
            ("opensearch+http://:pw@h", "without a user name"),
            ("opensearch+http://h/UPPER", "prefix of index names"),
            ("opensearch+http://h?ca=x", "accepted: connect_timeout"),
            ("opensearch+http://h?shards=0", "1 to 1024"),
            ("opensearch+http://h?replicas=-1", "0 for none"),
            ("opensearch+http://h?timeout=5s&deadline=1s", "at least as long"),
            ("opensearch+http://h?max_answer=0", "a size above zero"),
            ("opensearch+http://h?max_answer=1B", "at least 64KiB"),
            ("opensearch+http://h?max_answer=64000B", "at least 64KiB"),
            ("opensearch+http://h?proxy=hunter2", "an address such as http://proxy.internal:3128"),
            ("opensearch+http://h?proxy=socks5://hunter2", "an address such as"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("STATEHOUSE_SEARCH_URL")));
            assert!(error.to_string().contains(accepts), "{text}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{text}: {error:?}");
        }
    }

    #[test]
    fn what_the_builder_allows_and_the_url_does_not_is_caught_at_opening() {
        let config = || OpenSearchConfig::new([("h".to_owned(), 9200)]).unwrap();
        config().check().unwrap();
        for config in [
            config().with_connect_timeout(Duration::ZERO),
            config().with_timeout(Duration::ZERO),
            config().with_deadline(Duration::from_secs(1)),
            config().with_shards(0),
            config().with_delete_retention(Duration::ZERO),
            config().with_max_answer(0),
            config().with_max_answer(1),
        ] {
            assert_eq!(config.check().unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
        assert!(OpenSearchConfig::new([]).is_err());
    }
}
