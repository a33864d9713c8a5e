use std::fmt;
use std::time::Duration;

use deadpool_redis::Pool;
use statehouse_core::{Error, Host, Result, Secret, ServiceUrl};

#[cfg(feature = "tls")]
use crate::connection::tls::Tls;

/// Where Redis is, how to log in, and how long anything may take.
///
/// | URL | what it is |
/// | --- | --- |
/// | `redis://user:password@host:6379/2` | one server, database 2 |
/// | `redis+sentinel://user:password@s1:26379,s2,s3/mymaster/2` | the master that Sentinel calls `mymaster` |
/// | `redis+cluster://user:password@n1:6379,n2,n3` | a cluster, from these of its nodes; it has database 0 only |
/// | `rediss:`, `rediss+sentinel:`, `rediss+cluster:` | the same over TLS (crate feature `tls`) |
///
/// | parameter | default | meaning |
/// | --- | --- | --- |
/// | `connect_timeout` | `1s` | the most that connecting, TLS and login may take: two round trips, three with TLS |
/// | `timeout` | `1s` | the most that one try of an operation may take |
/// | `deadline` | `3s` | the most that an operation may take with all its tries |
/// | `connections` | `2` | shared connections per server, 1 to 16, besides two for large values |
/// | `wait_replicas` | none | how many replicas must have a write before it is acknowledged, 1 to 15; see [`with_wait_replicas`](RedisConfig::with_wait_replicas) |
/// | `wait_timeout` | `200ms` | how long they have, at most a quarter of `timeout`, and 400 ms |
/// | `max_answer` | `512MiB` | the most bytes that a server may answer at once, and so of a value, less 1 KiB; see the crate documentation |
/// | `ca` | the system's | a PEM file of the certificates to trust instead of the system's (TLS only) |
/// | `sentinel_username`, `sentinel_password` | none | how to log in to the sentinels themselves (Sentinel only) |
///
/// In code, here with all that can be set; what is not said is as in the table:
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::Secret;
/// use statehouse_redis::RedisConfig;
///
/// # fn main() -> statehouse_core::Result<()> {
/// let sentinels = ["s1", "s2", "s3"].map(|host| (host.to_owned(), 26379));
/// let config = RedisConfig::sentinel(sentinels, "mymaster")?
///     .with_credentials(Some("clinic"), Secret::new("hunter2"))
///     .with_sentinel_credentials(None, Secret::new("hunter3"))
///     .with_database(2)
///     .with_connect_timeout(Duration::from_millis(500))
///     .with_timeout(Duration::from_millis(500))
///     .with_deadline(Duration::from_secs(2))
///     .with_connections(4)
///     .with_wait_replicas(1, Duration::from_millis(100))
///     .with_max_answer(64 << 20)
///     .with_setting("APP_CACHE_URL");
/// # #[cfg(feature = "tls")]
/// let config = config.with_tls(Some("/etc/ssl/redis-ca.pem".into()));
/// assert!(!format!("{config:?}").contains("hunter"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub(crate) servers: Servers,
    pub(crate) credentials: Credentials,
    pub(crate) database: u32,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    pub(crate) timing: Timing,
    pub(crate) connections: usize,
    pub(crate) replicas: Option<Replicas>,
    pub(crate) max_answer: u64,
    pub(crate) setting: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Servers {
    Single(Address),
    Sentinel { sentinels: Vec<Address>, master: String, credentials: Credentials },
    Cluster(Vec<Address>),
    Brought(BroughtPool),
}

/// A caller's pool. Printing it must not print its credentials.
#[derive(Clone)]
pub(crate) struct BroughtPool(pub(crate) Pool);

impl fmt::Debug for BroughtPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) connect: Duration,
    pub(crate) operation: Duration,
    pub(crate) total: Duration,
    pub(crate) tries: u32,
}

impl Default for Timing {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { connect: second, operation: second, total: second * 3, tries: 6 }
    }
}

/// How many replicas must have a write before it is acknowledged, and how long they have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replicas {
    pub(crate) count: u32,
    pub(crate) time: Duration,
}

/// The most that a write waits for replicas unless told otherwise: what they take is mostly a round trip.
const WAIT: Duration = Duration::from_millis(200);

/// Before a connection on which the server says nothing is taken for a broken one.
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// Behind one write that waits, another does, and both are answered within their timeout.
const SHARE: u32 = 4;

/// Who says `Duration::MAX` means that there is no limit, and a time so far away cannot be told. 34 years do.
pub(crate) const LONGEST: Duration = Duration::from_secs(1 << 30);

/// A server's name or address and its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    fn of(host: &Host, default_port: u16) -> Self {
        Self::new(host.name.clone(), host.port.unwrap_or(default_port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Host { name: self.host.clone(), port: Some(self.port) }.fmt(f)
    }
}

const SCHEMES: &str = "redis, redis+sentinel, redis+cluster, rediss, rediss+sentinel, rediss+cluster";
/// Redis' own bound of a value.
const MAX_ANSWER: u64 = 512 << 20;

/// What a handshake and the answers about the servers of a group need.
const LEAST_ANSWER: u64 = 64 << 10;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl RedisConfig {
    /// One server.
    #[must_use]
    pub fn single(host: impl Into<String>, port: u16) -> Self {
        Self::of(Servers::Single(Address::new(host, port)))
    }

    /// The master that these sentinels call `master`.
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) if no sentinel or no master is named.
    pub fn sentinel(sentinels: impl IntoIterator<Item = (String, u16)>, master: impl Into<String>) -> Result<Self> {
        let sentinels: Vec<_> = sentinels.into_iter().map(|(host, port)| Address::new(host, port)).collect();
        let master = master.into();
        if sentinels.is_empty() || master.is_empty() {
            return Err(Error::invalid_config("sentinel", "needs at least one sentinel and the master's name"));
        }
        Ok(Self::of(Servers::Sentinel { sentinels, master, credentials: Credentials::default() }))
    }

    /// The cluster that these servers belong to.
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) if no node is named.
    pub fn cluster(nodes: impl IntoIterator<Item = (String, u16)>) -> Result<Self> {
        let nodes: Vec<_> = nodes.into_iter().map(|(host, port)| Address::new(host, port)).collect();
        if nodes.is_empty() {
            return Err(Error::invalid_config("cluster", "needs at least one node"));
        }
        Ok(Self::of(Servers::Cluster(nodes)))
    }

    /// The server that this pool connects to: one server, or what looks like one. Address, credentials, database and
    /// TLS are the pool's; timeouts and the number of shared connections are this configuration's. The shared
    /// connections are taken out of the pool, so that its `max_size` bounds the exclusive ones only.
    #[must_use]
    pub fn pool(pool: Pool) -> Self {
        Self::of(Servers::Brought(BroughtPool(pool)))
    }

    fn of(servers: Servers) -> Self {
        Self {
            servers,
            credentials: Credentials::default(),
            database: 0,
            #[cfg(feature = "tls")]
            tls: None,
            timing: Timing::default(),
            connections: 2,
            replicas: None,
            max_answer: MAX_ANSWER,
            setting: None,
        }
    }

    /// Reads a URL and takes its parameters. The caller may take more of its own and then calls
    /// [`finish`](ServiceUrl::finish).
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn from_url(url: &mut ServiceUrl) -> Result<Self> {
        let (secure, (servers, database)) = match url.scheme() {
            "redis" => (false, single_of(url)?),
            "rediss" => (true, single_of(url)?),
            "redis+sentinel" => (false, sentinel_of(url)?),
            "rediss+sentinel" => (true, sentinel_of(url)?),
            "redis+cluster" => (false, cluster_of(url)?),
            "rediss+cluster" => (true, cluster_of(url)?),
            _ => return Err(url.refuse_scheme(SCHEMES)),
        };
        let mut config = Self::of(servers).with_database(database);
        config.setting = Some(url.setting().to_owned());
        config.credentials =
            Credentials { username: url.username().map(str::to_owned), password: url.password().cloned() };
        if secure {
            config.take_tls(url)?;
        }
        config.take_limits(url)?;
        Ok(config)
    }

    #[cfg(feature = "tls")]
    fn take_tls(&mut self, url: &mut ServiceUrl) -> Result<()> {
        self.tls = Some(Tls { ca: url.take("ca").map(|path| path.expose().into()) });
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn take_tls(&mut self, url: &ServiceUrl) -> Result<()> {
        let message = format!(
            "{}: needs the crate feature \"redis-tls\" of statehouse (\"tls\" of statehouse-redis)",
            url.scheme()
        );
        Err(Error::invalid_config(url.setting(), message))
    }

    fn take_limits(&mut self, url: &mut ServiceUrl) -> Result<()> {
        let timing = &mut self.timing;
        timing.connect = url.take_duration("connect_timeout")?.map_or(timing.connect, bounded);
        timing.operation = url.take_duration("timeout")?.map_or(timing.operation, bounded);
        timing.total = url.take_duration("deadline")?.map_or_else(|| timing.total.max(timing.operation), bounded);
        if timing.total < timing.operation {
            return Err(url.refuse("deadline", "at least as long as \"timeout\""));
        }
        let accepts = "a number from 1 to 16";
        if let Some(connections) = url.take_parsed::<usize>("connections", accepts)? {
            if !(1..=16).contains(&connections) {
                return Err(url.refuse("connections", accepts));
            }
            self.connections = connections;
        }
        self.take_replicas(url)?;
        if let Some(bytes) = url.take_size("max_answer")? {
            if bytes < LEAST_ANSWER {
                return Err(url.refuse("max_answer", "at least 64KiB"));
            }
            self.max_answer = bytes;
        }
        Ok(())
    }

    fn longest_wait(&self) -> Duration {
        LONGEST_WAIT.min(self.timing.operation / SHARE)
    }

    fn take_replicas(&mut self, url: &mut ServiceUrl) -> Result<()> {
        let accepts = "a number from 1 to 15";
        let Some(count) = url.take_parsed::<u32>("wait_replicas", accepts)? else { return Ok(()) };
        if !(1..=15).contains(&count) {
            return Err(url.refuse("wait_replicas", accepts));
        }
        let most = self.longest_wait();
        let time = url.take_duration("wait_timeout")?.unwrap_or(WAIT.min(most));
        if time < Duration::from_millis(1) || time > most {
            return Err(url.refuse("wait_timeout", "1ms to a quarter of \"timeout\", at most 400ms"));
        }
        self.replicas = Some(Replicas { count, time });
        Ok(())
    }

    /// The ACL user and password of the Redis servers. Without a user, it is Redis' `default` one.
    #[must_use]
    pub fn with_credentials(mut self, username: Option<&str>, password: Secret) -> Self {
        self.credentials = Credentials { username: username.map(str::to_owned), password: Some(password) };
        self
    }

    /// The ACL user and password of the sentinels, where those have their own. No effect elsewhere.
    #[must_use]
    pub fn with_sentinel_credentials(mut self, username: Option<&str>, password: Secret) -> Self {
        if let Servers::Sentinel { credentials, .. } = &mut self.servers {
            *credentials = Credentials { username: username.map(str::to_owned), password: Some(password) };
        }
        self
    }

    /// The database number. A cluster has only 0, which [`RedisClient::open`](crate::RedisClient::open) checks.
    #[must_use]
    pub const fn with_database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// TLS, trusting the certificates of this PEM file, or the system's if `None`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, ca: Option<std::path::PathBuf>) -> Self {
        self.tls = Some(Tls { ca });
        self
    }

    /// The most that connecting may take, with TLS and login.
    #[must_use]
    pub const fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.timing.connect = bounded(limit);
        self
    }

    /// The most that one try of an operation may take.
    #[must_use]
    pub const fn with_timeout(mut self, limit: Duration) -> Self {
        self.timing.operation = bounded(limit);
        self
    }

    /// The most that an operation may take with all its tries.
    #[must_use]
    pub const fn with_deadline(mut self, limit: Duration) -> Self {
        self.timing.total = bounded(limit);
        self
    }

    /// How many connections to a server all tasks share. At least 1.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Acknowledges what the services write only once so many replicas have it too, which have this long: at least a
    /// millisecond, and at most a quarter of the [timeout](Self::with_timeout) and 400 ms. Without it a write is acknowledged once the
    /// server that takes writes has it, and is lost with that.
    ///
    /// Each script that has a [deadline](crate::ScriptCall::deadline), and so all that sessions, coordination and caches write, is followed by
    /// `WAIT` in the same pipeline. A write whose server is killed thereafter is on a replica; it stays if that becomes the server
    /// that takes writes, which Sentinel and Cluster see to: of several of one priority they choose the one that has most. It is no consensus:
    /// a server that is cut off from its replicas and sentinels may answer reads with what its successor has undone or overtaken, for as
    /// long as it is reached; what it is told to write it refuses to acknowledge.
    ///
    /// Where fewer have it in time, the error is [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown) and says so: the
    /// write was made, is seen by others, and may be undone by a failover. Who repeats it under its id, as the services do, learns whether
    /// the replicas have it by then.
    ///
    /// The cost is no further round trip, but the server's to its replicas, and one connection more. While that takes its time,
    /// nothing else is answered on that connection, so writes that come meanwhile go out together as the next batch; reads have
    /// connections of their own. One write waits for up to two such times. `WAIT` must be allowed to the user.
    #[must_use]
    pub const fn with_wait_replicas(mut self, count: u32, time: Duration) -> Self {
        self.replicas = Some(Replicas { count, time });
        self
    }

    /// The most bytes that a server may answer at once, at least 64 KiB.
    #[must_use]
    pub fn with_max_answer(mut self, bytes: u64) -> Self {
        self.max_answer = bytes.max(LEAST_ANSWER);
        self
    }

    /// Says in errors that this setting is the one to look at, for example `STATEHOUSE_CACHE_URL`.
    #[must_use]
    pub fn with_setting(mut self, setting: impl Into<String>) -> Self {
        self.setting = Some(setting.into());
        self
    }

    /// Whether the connections use TLS.
    #[cfg(feature = "tls")]
    pub(crate) const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the connections use TLS.
    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn is_secure(&self) -> bool {
        false
    }

    /// The setting to name in errors.
    pub(crate) fn setting(&self) -> &str {
        self.setting.as_deref().unwrap_or("redis")
    }

    /// What is connected to and where, for errors and logs. No secrets.
    pub(crate) fn describe(&self) -> String {
        let list = |addresses: &[Address]| addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
        match &self.servers {
            Servers::Single(address) => format!("Redis at {address}"),
            Servers::Sentinel { sentinels, master, .. } => {
                format!("Redis master \"{master}\" of the sentinels {}", list(sentinels))
            }
            Servers::Cluster(nodes) => format!("Redis cluster of {}", list(nodes)),
            Servers::Brought(_) => "Redis of the given pool".to_owned(),
        }
    }

    /// What can be checked without a connection; [`RedisClient::open`](crate::RedisClient::open) checks it too.
    ///
    /// ```
    /// use statehouse_redis::RedisConfig;
    ///
    /// let cluster = RedisConfig::cluster([("10.0.0.5".to_owned(), 6379)])?;
    /// assert!(cluster.clone().check().is_ok());
    /// assert!(cluster.with_database(2).check().is_err());
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: &'static str| Err(Error::invalid_config(self.setting(), message).with_backend("redis"));
        if self.database != 0 && matches!(self.servers, Servers::Cluster(_)) {
            return refuse("a Redis cluster has database 0 only");
        }
        if self.timing.connect.is_zero() || self.timing.operation.is_zero() {
            return refuse("timeouts must be above zero");
        }
        if self.timing.total < self.timing.operation {
            return refuse("the deadline must be at least as long as the timeout");
        }
        if let Some(Replicas { count, time }) = self.replicas {
            if !(1..=15).contains(&count) {
                return refuse("a write waits for 1 to 15 replicas");
            }
            if time < Duration::from_millis(1) || time > self.longest_wait() {
                return refuse(
                    "a write waits for replicas for a millisecond to a quarter of the timeout, at most 400 ms",
                );
            }
        }
        let half = |login: &Credentials| login.username.is_some() && login.password.is_none();
        let to_sentinels = match &self.servers {
            Servers::Sentinel { credentials, .. } => half(credentials),
            _ => false,
        };
        if half(&self.credentials) || to_sentinels {
            return refuse("a user name is given without a password");
        }
        Ok(())
    }
}

const fn bounded(limit: Duration) -> Duration {
    if limit.as_secs() < LONGEST.as_secs() { limit } else { LONGEST }
}

fn refuse<T>(url: &ServiceUrl, message: &'static str) -> Result<T> {
    Err(Error::invalid_config(url.setting(), message))
}

fn single_of(url: &ServiceUrl) -> Result<(Servers, u32)> {
    let [host] = url.hosts() else {
        return refuse(url, "name one host, or use redis+sentinel: or redis+cluster: for several");
    };
    Ok((Servers::Single(Address::of(host, REDIS_PORT)), database_of(url, url.path())?))
}

fn sentinel_of(url: &mut ServiceUrl) -> Result<(Servers, u32)> {
    let (master, database) = url.path().split_once('/').unwrap_or((url.path(), ""));
    if url.hosts().is_empty() || master.is_empty() {
        return refuse(url, "name the sentinels and the master, as in redis+sentinel://s1:26379,s2,s3/mymaster");
    }
    if master.contains('@') {
        return refuse(url, "the master's name has an \"@\": a \"/\" in the password is written %2F");
    }
    let (master, database) = (master.to_owned(), database_of(url, database)?);
    let sentinels = url.hosts().iter().map(|host| Address::of(host, SENTINEL_PORT)).collect();
    let credentials = Credentials {
        username: url.take("sentinel_username").map(|name| name.expose().to_owned()),
        password: url.take("sentinel_password"),
    };
    Ok((Servers::Sentinel { sentinels, master, credentials }, database))
}

fn cluster_of(url: &ServiceUrl) -> Result<(Servers, u32)> {
    if url.hosts().is_empty() {
        return refuse(url, "name nodes of the cluster, as in redis+cluster://n1:6379,n2,n3");
    }
    let nodes = url.hosts().iter().map(|host| Address::of(host, REDIS_PORT)).collect();
    Ok((Servers::Cluster(nodes), database_of(url, url.path())?))
}

fn database_of(url: &ServiceUrl, text: &str) -> Result<u32> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let message = format!("the database must be a number from 0 to {}, as in redis://host/2", u32::MAX);
        Error::invalid_config(url.setting(), message)
    })
}

#[cfg(test)]
mod tests;
