use std::str::FromStr;
use std::time::Duration;

use statehouse_core::{Capability, Error, Result, Secret, ServiceUrl};

use crate::{FileKey, capability};

/// Where an S3 bucket is and how it is used.
///
/// By URL: `s3://access-key:secret-key@bucket/prefix?region=eu-central-1`, with the parameters below. What is not given is
/// taken from the environment and the host as AWS's tools do (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, …). `Debug` prints no
/// secret.
///
/// | parameter | value | default |
/// | --- | --- | --- |
/// | `endpoint` | the server's URL, for S3 that is not Amazon's | Amazon's of the region |
/// | `region` | the region's name | `us-east-1` |
/// | `allow_http` | `true` to allow an endpoint without TLS | `false` |
/// | `addressing` | `path` or `virtual-hosted` | `path` |
/// | `connect_timeout`, `timeout` | how long a connection, and then each answer or piece of it, may take | `5s`, `30s` |
/// | `retries` | how often a request is sent again | `4` |
/// | `part_size` | from what length on files are sent in parts of this length, 5 MiB to 1 GiB | `8MiB` |
/// | `probe` | `open` or `never`, see [`Probe`] | `open` |
/// | `require` | capabilities without which opening fails, with commas | |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// What the objects' keys begin with; empty, or segments as in a file's key.
    pub prefix: String,
    /// The server's URL.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The access key and its secret.
    pub credentials: Option<(String, Secret)>,
    /// Whether the endpoint may be without TLS.
    pub transport: Transport,
    /// How the bucket is named in requests.
    pub addressing: Addressing,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long each answer, or piece of an answer, may take.
    pub timeout: Duration,
    /// How often a request is sent again.
    pub retries: usize,
    /// From what length on files are sent in parts of this length.
    pub part_size: u64,
    /// Whether the server's behavior is tried out.
    pub probe: Probe,
    /// Without which capabilities opening fails.
    pub require: Vec<Capability>,
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
    /// Not tried out: all conditions are refused. For credentials that may only read.
    Never,
}

impl S3Config {
    /// The shortest part that S3 takes.
    pub const MIN_PART_SIZE: u64 = 5 << 20;

    /// The longest part that is held in memory.
    pub const MAX_PART_SIZE: u64 = 1 << 30;

    /// A bucket, with everything else as the table says.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            credentials: None,
            transport: Transport::Tls,
            addressing: Addressing::Path,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            retries: 4,
            part_size: 8 << 20,
            probe: Probe::Open,
            require: Vec::new(),
            setting: "the S3 configuration".to_owned(),
        }
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

    /// Sets how long a connection, and then each answer or piece of it, may take.
    #[must_use]
    pub const fn with_timeouts(mut self, connect: Duration, answer: Duration) -> Self {
        self.connect_timeout = connect;
        self.timeout = answer;
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
        let mut config = Self::new(bucket.name.clone()).with_prefix(url.path());
        config.setting = setting;
        config.credentials = url.username().map(ToOwned::to_owned).zip(url.password().cloned());
        config.endpoint = url.take("endpoint").map(|text| text.expose().to_owned());
        config.region = url.take("region").map(|text| text.expose().to_owned());
        if url.take_parsed("allow_http", "true or false")? == Some(true) {
            config.transport = Transport::PlainAllowed;
        }
        config.addressing = url.take_parsed("addressing", "path or virtual-hosted")?.unwrap_or_default();
        config.connect_timeout = url.take_duration("connect_timeout")?.unwrap_or(config.connect_timeout);
        config.timeout = url.take_duration("timeout")?.unwrap_or(config.timeout);
        config.retries = url.take_parsed("retries", "a whole number")?.unwrap_or(config.retries);
        config.part_size = url.take_size("part_size")?.unwrap_or(config.part_size);
        config.probe = url.take_parsed("probe", "open or never")?.unwrap_or_default();
        if let Some(names) = url.take("require") {
            config.require = names.expose().split(',').map(|name| named(&url, name)).collect::<Result<_>>()?;
        }
        url.finish()?;
        config.check()?;
        Ok(config)
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
            return refuse("part_size must be 5MiB to 1GiB");
        }
        if self.connect_timeout.is_zero() || self.timeout.is_zero() {
            return refuse("a timeout must be above zero");
        }
        let plain = self.endpoint.as_deref().is_some_and(|url| !url.starts_with("https://"));
        if plain && self.transport == Transport::Tls {
            return refuse("the endpoint must begin with https://, or allow_http=true must be given");
        }
        Ok(())
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
        ] {
            let error = config(url).unwrap_err();
            assert_eq!(error.setting(), Some("FILES"), "{url}: {error}");
        }
    }
}
