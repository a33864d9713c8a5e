use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use statehouse_core::{Capabilities, Capability, Error, Result, Secret, ServiceUrl};

use crate::body::BODY_TIMEOUT;
use crate::capability;
use crate::key::FileKey;

/// The longest object that S3 copies in one request.
const MAX_COPY: u64 = 5 << 30;

/// Where an S3 bucket is and how it is used.
///
/// By URL: `s3://access-key:secret-key@bucket/prefix?region=eu-central-1`, with the parameters below.
///
/// An access key that is given here is all there is: nothing is taken from the environment beside it. Without one,
/// credentials, region and endpoint come from the environment and the host as for AWS's tools (`AWS_ACCESS_KEY_ID`,
/// `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`, web identity, container, instance), save for what is given
/// here. Whatever an environment says, requests are signed, and go without TLS only if `allow_http` says so, and through
/// a proxy only if `proxy` names it. `Debug` prints no secret.
///
/// The credentials of a role are fetched anew minutes before they end. While that fails, they are used until they end. Without
/// any, an endpoint that cannot be reached or fails is [`Unavailable`](statehouse_core::ErrorKind::Unavailable) and is asked
/// again after a second; one that refuses is [`Unauthenticated`](statehouse_core::ErrorKind::Unauthenticated). Nobody waits for
/// it longer than `timeout`.
///
/// | parameter | value | default |
/// | --- | --- | --- |
/// | `endpoint` | the server's URL, for S3 that is not Amazon's | Amazon's of the region |
/// | `region` | the region's name | `us-east-1` |
/// | `allow_http` | `true` to allow an endpoint without TLS | `false` |
/// | `addressing` | `path` or `virtual-hosted` | `path` |
/// | `session_token` | the token of temporary keys | |
/// | `proxy` | the URL of an HTTP proxy, which sees the requests, and all of their content with `allow_http` | none |
/// | `connect_timeout`, `timeout` | how long a connection may take, and how long the server may then be silent | `5s`, `10s` |
/// | `body_timeout` | how long the source of an upload may be silent | `5m` |
/// | `read_limit` | how long a download may last in all, whatever its reader does | no limit |
/// | `retries` | how often a request is sent again, up to 100 | `4` |
/// | `part_size` | from what length on files are sent in parts of this length, 5 MiB to 1 GiB | `8MiB` |
/// | `upload_memory` | how much of all streams that are being stored is in memory, at least four parts | `256MiB` |
/// | `probe` | `open` or `never`, see [`Probe`] | `open` |
/// | `require` | capabilities without which opening fails, with commas | |
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::Secret;
/// use statehouse_filestore::capability;
/// use statehouse_filestore::object::{Addressing, Probe, S3Config, Transport};
///
/// let config = S3Config::new("documents")
///     .with_prefix("clinic")
///     .with_endpoint("http://minio.internal:9000")
///     .with_transport(Transport::PlainAllowed)
///     .with_addressing(Addressing::Path)
///     .with_region("eu-central-1")
///     .with_credentials("access-key", Secret::new("secret-key"))
///     .with_session_token(Secret::new("secret-key of an hour"))
///     .with_proxy(Secret::new("http://user:secret-key@proxy.internal:3128"))
///     .with_timeouts(Duration::from_secs(2), Duration::from_secs(10))
///     .with_body_timeout(Duration::from_secs(60))
///     .with_read_limit(Duration::from_secs(600))
///     .with_retries(6)
///     .with_part_size(16 << 20)
///     .with_copy_limit(1 << 30)
///     .with_upload_memory(128 << 20)
///     .with_probe(Probe::Open)
///     .require(capability::CREATE_IF_ABSENT);
/// assert!(!format!("{config:?}").contains("secret-key"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// What the objects' keys begin with; empty, or segments as in a file's key, 200 bytes at most. With the slash behind it and a file's key it has at most
    /// 427 bytes, else what would store that file is refused (`InvalidInput`): some servers take no longer names.
    pub prefix: String,
    /// The server's URL.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The access key and its secret.
    pub credentials: Option<(String, Secret)>,
    /// The token that belongs to temporary credentials.
    pub session_token: Option<Secret>,
    /// The URL of an HTTP proxy, with its user and password if it wants them.
    pub proxy: Option<Secret>,
    /// Whether the endpoint may be without TLS.
    pub transport: Transport,
    /// How the bucket is named in requests.
    pub addressing: Addressing,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the server may be silent: until it takes the next piece of a request, or gives the next of an answer. One
    /// that puts a file together from parts or copies it may take six times as long.
    pub timeout: Duration,
    /// How long the source of an upload may be silent before the upload is given up. Zero bytes a second forever would
    /// otherwise hold its memory forever.
    pub body_timeout: Duration,
    /// How long a download may last in all. Without a limit it lasts as long as its reader wants.
    pub read_limit: Option<Duration>,
    /// How often a request is sent again: at most 100 times.
    pub retries: usize,
    /// From what length on files are sent in parts of this length.
    pub part_size: u64,
    /// How much of all streams that are being stored is in memory at a time, in bytes. An upload takes as much of it as has
    /// come of its part. One that finds no room waits for up to `body_timeout` and then fails with `RateLimited`. So does,
    /// while others wait, one that holds an equal share or more and has waited for its source for half of that time since
    /// its part began: however many uploads trickle, they do not keep others out. By the defaults that ends, while others
    /// wait, sources below some 56 kB/s (8 MiB in 150 s) that hold as much as the others. Where nobody waits for it, a
    /// slow source has all the time that it likes.
    pub upload_memory: u64,
    /// Whether the server's behavior is tried out.
    pub probe: Probe,
    /// Without which capabilities opening fails.
    pub require: Vec<Capability>,
    pub(super) copy_limit: u64,
    pub(super) setting: String,
}

/// Whether an endpoint without TLS is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// Only `https`.
    #[default]
    Tls,
    /// Also `http`: credentials are not sent, but content and metadata can be read and changed on the way.
    PlainAllowed,
}

/// How the bucket is named in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addressing {
    /// `https://host/bucket/key`
    #[default]
    Path,
    /// `https://bucket.host/key`
    VirtualHosted,
}

/// Whether the server is tried out when a store is opened.
///
/// Servers that ignore preconditions and answer that all is well are common; nothing but a try tells them from those
/// that honour them. The probe writes small objects below `.statehouse/probe`, some two dozen requests, and removes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Tried out, with a race of creators among the tests. What fails is refused as `Unsupported`.
    #[default]
    Open,
    /// Not tried out: conditions are refused, unless who brings the store along vouches for them. For credentials that may
    /// only read.
    Never,
}

impl S3Config {
    /// The shortest part that S3 takes.
    pub const MIN_PART_SIZE: u64 = 5 << 20;

    /// The longest part that is held in memory.
    pub const MAX_PART_SIZE: u64 = 1 << 30;

    /// How often a request may be sent again at most.
    pub const MAX_RETRIES: usize = 100;

    /// A bucket, with everything else as the table says.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            credentials: None,
            session_token: None,
            proxy: None,
            transport: Transport::Tls,
            addressing: Addressing::Path,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            body_timeout: BODY_TIMEOUT,
            read_limit: None,
            retries: 4,
            part_size: 8 << 20,
            upload_memory: 256 << 20,
            probe: Probe::Open,
            require: Vec::new(),
            copy_limit: MAX_COPY,
            setting: "the S3 configuration".to_owned(),
        }
    }

    /// Sets up to what length files are copied by one request, in bytes: 5 GiB without this, as much as S3 takes. Longer ones are copied
    /// in parts of this length, of which S3 takes no shorter ones than of 5 MiB.
    #[must_use]
    pub const fn with_copy_limit(mut self, bytes: u64) -> Self {
        self.copy_limit = bytes;
        self
    }

    /// Sets what the objects' keys begin with.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the server's URL.
    #[must_use]
    pub fn with_endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Sets the region.
    #[must_use]
    pub fn with_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Sets the access key and its secret.
    #[must_use]
    pub fn with_credentials(mut self, access_key: impl Into<String>, secret_key: Secret) -> Self {
        self.credentials = Some((access_key.into(), secret_key));
        self
    }

    /// Sets the token that belongs to temporary credentials.
    #[must_use]
    pub fn with_session_token(mut self, token: Secret) -> Self {
        self.session_token = Some(token);
        self
    }

    /// Sets the URL of an HTTP proxy.
    #[must_use]
    pub fn with_proxy(mut self, url: Secret) -> Self {
        self.proxy = Some(url);
        self
    }

    /// Sets whether the endpoint may be without TLS.
    #[must_use]
    pub const fn with_transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets how the bucket is named in requests.
    #[must_use]
    pub const fn with_addressing(mut self, addressing: Addressing) -> Self {
        self.addressing = addressing;
        self
    }

    /// Sets how long a connection may take, and how long the server may then be silent.
    #[must_use]
    pub const fn with_timeouts(mut self, connect: Duration, answer: Duration) -> Self {
        self.connect_timeout = connect;
        self.timeout = answer;
        self
    }

    /// Sets how long the source of an upload may be silent.
    #[must_use]
    pub const fn with_body_timeout(mut self, silence: Duration) -> Self {
        self.body_timeout = silence;
        self
    }

    /// Sets how long a download may last in all.
    #[must_use]
    pub const fn with_read_limit(mut self, limit: Duration) -> Self {
        self.read_limit = Some(limit);
        self
    }

    /// Sets how often a request is sent again.
    #[must_use]
    pub const fn with_retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }

    /// Sets from what length on files are sent in parts of this length.
    #[must_use]
    pub const fn with_part_size(mut self, bytes: u64) -> Self {
        self.part_size = bytes;
        self
    }

    /// Sets how much of all streams that are being stored is in memory, in bytes.
    #[must_use]
    pub const fn with_upload_memory(mut self, bytes: u64) -> Self {
        self.upload_memory = bytes;
        self
    }

    /// Sets whether the server is tried out.
    #[must_use]
    pub const fn with_probe(mut self, probe: Probe) -> Self {
        self.probe = probe;
        self
    }

    /// Adds a capability without which opening fails.
    #[must_use]
    pub fn require(mut self, capability: Capability) -> Self {
        self.require.push(capability);
        self
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming what is wrong.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        let setting = url.setting().to_owned();
        let [bucket] = url.hosts() else {
            return Err(Error::invalid_config(&setting, "expected one bucket: s3://bucket/prefix"));
        };
        if bucket.port.is_some() {
            let message = "a bucket has no port: the server is named by the parameter \"endpoint\"";
            return Err(Error::invalid_config(&setting, message));
        }
        if url.username().is_some() != url.password().is_some() {
            let message = "an access key needs its secret key, and a secret key its access key";
            return Err(Error::invalid_config(&setting, message));
        }
        let mut config = Self::new(bucket.name.clone()).with_prefix(url.path());
        config.setting = setting;
        config.credentials = url.username().map(ToOwned::to_owned).zip(url.password().cloned());
        config.region = url.take("region").map(|text| text.expose().to_owned());
        config.session_token = url.take("session_token");
        config.addressing = url.take_parsed("addressing", "path or virtual-hosted")?.unwrap_or_default();
        config.take_shared(&mut url)?;
        url.finish()?;
        config.check()?;
        Ok(config)
    }

    /// What is the same for the servers of all clouds.
    pub(super) fn take_shared(&mut self, url: &mut ServiceUrl) -> Result<()> {
        self.endpoint = url.take("endpoint").map(|text| text.expose().to_owned());
        self.proxy = url.take("proxy");
        if url.take_parsed("allow_http", "true or false")? == Some(true) {
            self.transport = Transport::PlainAllowed;
        }
        self.connect_timeout = url.take_duration("connect_timeout")?.unwrap_or(self.connect_timeout);
        self.timeout = url.take_duration("timeout")?.unwrap_or(self.timeout);
        self.body_timeout = url.take_duration("body_timeout")?.unwrap_or(self.body_timeout);
        self.read_limit = url.take_duration("read_limit")?;
        self.retries = url.take_parsed("retries", "a whole number from 0 to 100")?.unwrap_or(self.retries);
        self.part_size = url.take_size("part_size")?.unwrap_or(self.part_size);
        self.upload_memory = url.take_size("upload_memory")?.unwrap_or(self.upload_memory);
        self.probe = url.take_parsed("probe", "open or never")?.unwrap_or_default();
        if let Some(names) = url.take("require") {
            self.require = names.expose().split(',').map(|name| named(url, name)).collect::<Result<_>>()?;
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<()> {
        let refuse = |message: &'static str| Err(Error::invalid_config(&self.setting, message));
        if self.bucket.is_empty() {
            return refuse("the bucket's name is empty");
        }
        if self.prefix.len() > 200 || !self.prefix.is_empty() && FileKey::new(&self.prefix).is_err() {
            return refuse("the prefix must be a file's key of at most 200 bytes");
        }
        if !(Self::MIN_PART_SIZE..=Self::MAX_PART_SIZE).contains(&self.part_size) {
            let message = format!("part_size must be 5MiB to 1GiB, not {} bytes", self.part_size);
            return Err(Error::invalid_config(&self.setting, message));
        }
        if self.upload_memory < 4 * self.part_size || self.upload_memory > 1 << 40 {
            let found = self.upload_memory;
            let message =
                format!("upload_memory must be at least four times part_size, and at most 1 TiB, not {found} bytes");
            return Err(Error::invalid_config(&self.setting, message));
        }
        if self.retries > Self::MAX_RETRIES {
            return Err(Error::invalid_config(
                &self.setting,
                format!("retries must be 0 to 100, not {}", self.retries),
            ));
        }
        let mut times = [self.connect_timeout, self.timeout, self.body_timeout].into_iter().chain(self.read_limit);
        if times.any(|time| time.is_zero()) {
            return refuse("a timeout must be above zero");
        }
        // Its address may hold a password, and is not repeated.
        let is_proxy = |url: &Secret| ["http://", "https://"].iter().any(|scheme| url.expose().starts_with(scheme));
        if self.proxy.as_ref().is_some_and(|proxy| !is_proxy(proxy)) {
            return refuse("the proxy must be an address such as http://proxy.internal:3128");
        }
        if self.credentials.is_none() && self.session_token.is_some() {
            return refuse("a session_token needs the access key and the secret key that it belongs to");
        }
        self.endpoint.as_deref().map_or(Ok(()), |endpoint| self.check_endpoint(endpoint))
    }

    /// Refuses an endpoint, wherever it comes from.
    pub(super) fn check_endpoint(&self, endpoint: &str) -> Result<()> {
        let refuse = |message: &'static str| Err(Error::invalid_config(&self.setting, message));
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        match scheme.to_ascii_lowercase().as_str() {
            "https" => {}
            "http" if self.transport == Transport::PlainAllowed => {}
            _ => return refuse("the endpoint must begin with https://, or allow_http=true must be given for http://"),
        }
        if authority.contains('@') {
            return refuse("the endpoint must hold no user and password: give them as credentials");
        }
        if authority.is_empty() || rest.contains(['?', '#']) || rest.chars().any(char::is_whitespace) {
            return refuse("the endpoint must be the URL of a server, such as https://files.example.org");
        }
        Ok(())
    }
}

/// Without what may be secret: an endpoint is printed without a user, which is refused when it is used.
impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_deref().map(|url| match (url.split_once("://"), url.rsplit_once('@')) {
            (_, None) => url.to_owned(),
            (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
            (None, Some((_, rest))) => format!("…@{rest}"),
        });
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &endpoint)
            .field("region", &self.region)
            .field("credentials", &self.credentials)
            .field("proxy", &self.proxy)
            .field("transport", &self.transport)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// How a store that is brought along is used, and what who brings it knows of it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::sync::Arc;
/// use object_store::memory::InMemory;
/// use statehouse_filestore::object::{ObjectConfig, ObjectFileStore, Probe};
/// use statehouse_filestore::{FileStore, capability};
///
/// // What no probe can tell, and what it need not try
/// let config = ObjectConfig::new()
///     .with_prefix("clinic/prod")
///     .with_capability(capability::SHARED)
///     .with_capability(capability::CREATE_IF_ABSENT)
///     .with_probe(Probe::Never);
/// let store = ObjectFileStore::open(Arc::new(InMemory::new()), config).await?;
/// assert!(store.capabilities().has(capability::SHARED));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ObjectConfig {
    /// What the objects' keys begin with; empty, or segments as in a file's key.
    pub prefix: String,
    /// Whether the store's behavior is tried out.
    pub probe: Probe,
    /// What the store can do. Whether files in it survive the process, are seen by every replica, and have an etag of
    /// their own for each put, no probe can tell: without a word it is taken as none of them. The others count only where
    /// there is no probe.
    pub capabilities: Capabilities,
}

impl ObjectConfig {
    /// A store without a prefix, tried out, of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the objects' keys begin with.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets whether the store is tried out.
    #[must_use]
    pub const fn with_probe(mut self, probe: Probe) -> Self {
        self.probe = probe;
        self
    }

    /// Vouches for a capability.
    #[must_use]
    pub fn with_capability(mut self, capability: Capability) -> Self {
        self.capabilities = self.capabilities.iter().chain([capability]).collect();
        self
    }
}

fn named(url: &ServiceUrl, name: &str) -> Result<Capability> {
    let found = capability::ALL.into_iter().find(|capability| capability.name() == name);
    let all = capability::ALL.map(Capability::name).join(", ");
    found.ok_or_else(|| url.refuse("require", &format!("some of {all}, with commas")))
}

impl FromStr for Addressing {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text {
            "path" => Ok(Self::Path),
            "virtual-hosted" => Ok(Self::VirtualHosted),
            _ => Err(()),
        }
    }
}

impl FromStr for Probe {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text {
            "open" => Ok(Self::Open),
            "never" => Ok(Self::Never),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<S3Config> {
        S3Config::from_url(ServiceUrl::parse("FILES", url).unwrap())
    }

    #[test]
    fn a_url_says_everything() {
        let url = "s3://key:hunter2@scans/clinic/prod?endpoint=http://127.0.0.1:7070&region=eu-1&allow_http=true\
                   &addressing=virtual-hosted&timeout=9s&retries=1&part_size=16MiB&probe=never\
                   &require=create_if_absent,shared";
        let read = config(url).unwrap();
        assert_eq!((read.bucket.as_str(), read.prefix.as_str()), ("scans", "clinic/prod"));
        assert_eq!(read.endpoint.as_deref(), Some("http://127.0.0.1:7070"));
        assert_eq!((read.addressing, read.probe), (Addressing::VirtualHosted, Probe::Never));
        assert_eq!((read.timeout, read.retries, read.part_size), (Duration::from_secs(9), 1, 16 << 20));
        assert_eq!(read.require, [capability::CREATE_IF_ABSENT, capability::SHARED]);
        assert_eq!(read.credentials.as_ref().unwrap().1.expose(), "hunter2");
        assert!(!format!("{read:?}").contains("hunter2"));
        let read =
            config("s3://k:hunter2@b?session_token=hunter2&proxy=http://u:hunter2@p&body_timeout=1m&read_limit=1h");
        let read = read.unwrap();
        assert_eq!((read.body_timeout, read.read_limit), (Duration::from_secs(60), Some(Duration::from_secs(3600))));
        assert!(!format!("{read:?}").contains("hunter2"));
        assert!(!format!("{:?}", S3Config::new("b").with_endpoint("https://u:hunter2@h")).contains("hunter2"));
    }

    #[test]
    fn a_wrong_url_names_the_setting() {
        for url in [
            "s3:",
            "s3://a,b/",
            "s3://b?endpoint=http://h",
            "s3://b?part_size=1MiB",
            "s3://b?part_size=2GiB",
            "s3://b?require=magic",
            "s3://b/../x",
            "s3://b?probe=maybe",
            "s3://b?regin=x",
            "s3://b?upload_memory=16MiB",
            "s3://b?retries=101",
            "s3://b?retries=1000000",
            "s3://b?session_token=x",
            "s3://b?endpoint=https://user:hunter2@h",
            "s3://b?endpoint=h:9000&allow_http=true",
            "s3://b?endpoint=https://",
        ] {
            let error = config(url).unwrap_err();
            assert_eq!(error.setting(), Some("FILES"), "{url}: {error}");
        }
    }
}
