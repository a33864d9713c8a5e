//! Opening a bucket: which server, in which region, with which credentials, and the HTTP client.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{ClientConfigKey, HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientOptions, RetryConfig, StaticCredentialProvider};
use statehouse_core::{Error, ErrorKind, Result, Secret};

use super::config::{Addressing, S3Config, Transport};
use super::role::{Asking, Role, Seen};
use super::server::Server;
use super::sign::Signer;
use super::wire::Wire;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long retries of one request may go on. What bounds them is the server's silence, which the wire counts.
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

/// A time so far off that it is never: what a duration that no clock can hold ends at.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// What is taken from the environment, and only if no access key is given. Not among them: what switches signatures
/// or TLS off, and what our own settings say.
const FROM_ENVIRONMENT: [AmazonS3ConfigKey; 14] = [
    AmazonS3ConfigKey::AccessKeyId,
    AmazonS3ConfigKey::SecretAccessKey,
    AmazonS3ConfigKey::Token,
    AmazonS3ConfigKey::Region,
    AmazonS3ConfigKey::DefaultRegion,
    AmazonS3ConfigKey::Endpoint,
    AmazonS3ConfigKey::S3Endpoint,
    AmazonS3ConfigKey::StsEndpoint,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::RoleArn,
    AmazonS3ConfigKey::RoleSessionName,
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
    AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
];

/// An opened bucket: through `object_store`, and by requests of our own for what that has no words for.
#[derive(Clone, Debug)]
pub(super) struct Native {
    pub(super) cloud: Cloud,
    /// Signs and sends.
    pub(super) http: HttpClient,
    /// The bucket's URL, without a slash at its end.
    pub(super) url: String,
    pub(super) server: Arc<Server>,
    /// How often a request is sent again.
    pub(super) retries: usize,
}

/// What is of one cloud's servers only. A signer signs requests that somebody else sends, and sends none of them.
#[derive(Clone, Debug)]
pub(super) enum Cloud {
    S3 {
        s3: AmazonS3,
        signer: AmazonS3,
    },
    #[cfg(feature = "azure")]
    Azure {
        signs: super::azure::sas::Signs,
    },
}

impl Native {
    /// The client of an S3 server, if it is one: others know no uploads that another process could end.
    pub(super) const fn s3(&self) -> Option<&AmazonS3> {
        match &self.cloud {
            Cloud::S3 { s3, .. } => Some(s3),
            #[cfg(feature = "azure")]
            Cloud::Azure { .. } => None,
        }
    }

    /// Whether it signs requests in advance.
    #[cfg(feature = "azure")]
    pub(super) const fn signs(&self) -> bool {
        !matches!(self.cloud, Cloud::Azure { signs: super::azure::sas::Signs::Nothing })
    }
}

/// Where a bucket is and who we are.
struct Place {
    endpoint: Option<String>,
    region: String,
    credentials: AwsCredentialProvider,
}

/// The settings with times that can be added to a clock's and multiplied.
pub(super) fn bounded(mut config: S3Config) -> S3Config {
    let times = [&mut config.connect_timeout, &mut config.timeout, &mut config.body_timeout];
    for time in times.into_iter().chain(&mut config.read_limit) {
        *time = NEVER.min(*time);
    }
    config
}

pub(super) fn build(config: &S3Config) -> Result<(AmazonS3, Native)> {
    let refuse =
        |error: BoxError| Error::new(ErrorKind::InvalidConfig, "the settings do not fit together").with_source(error);
    let environment = config.credentials.is_none().then(environment).unwrap_or_default();
    let place = place(config, &environment).map_err(refuse)?;
    if let Some(endpoint) = &place.endpoint {
        config.check_endpoint(endpoint)?;
    }
    let url = bucket_url(config, place.endpoint.as_deref(), &place.region);
    let server = Arc::new(Server::new("S3", config, &url, &place.region));
    let credentials = Arc::clone(&place.credentials);
    let http = http(config, Signer::S3(place.credentials), &server).map_err(refuse)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&place.region)
        .with_virtual_hosted_style_request(config.addressing == Addressing::VirtualHosted)
        // A delete of one object has a status, and can be conditional; the one of many has neither.
        .with_disable_bulk_delete(true)
        // The wire signs, when everything that is to be signed is there.
        .with_skip_signature(true)
        .with_http_connector(Ready(http.clone()))
        .with_retry(retry(config));
    if let Some(endpoint) = &place.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let signer = builder.clone().with_skip_signature(false).with_credentials(credentials);
    let build = |builder: AmazonS3Builder| builder.build().map_err(|error| refuse(error.into()));
    let (s3, signer) = (build(builder)?, build(signer)?);
    let cloud = Cloud::S3 { s3: s3.clone(), signer };
    Ok((s3, Native { cloud, http, url, server, retries: config.retries }))
}

/// What signs and sends.
pub(super) fn http(config: &S3Config, signer: Signer, server: &Arc<Server>) -> Result<HttpClient, BoxError> {
    let client = Clients::of(config).client(config.transport == Transport::PlainAllowed)?;
    Ok(HttpClient::new(Wire { client, signer, server: Arc::clone(server), timeout: config.timeout }))
}

pub(super) const fn retry(config: &S3Config) -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(2), base: 2.0 };
    RetryConfig { backoff, max_retries: config.retries, retry_timeout: RETRY_TIMEOUT }
}

/// What the environment says that we take.
fn environment() -> Vec<(AmazonS3ConfigKey, String)> {
    let set = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let key = name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse().ok())??;
        Some((key, value)).filter(|(key, value)| FROM_ENVIRONMENT.contains(key) && !value.is_empty())
    });
    set.collect()
}

fn place(config: &S3Config, environment: &[(AmazonS3ConfigKey, String)]) -> Result<Place, BoxError> {
    use AmazonS3ConfigKey as Key;
    let found = |wanted: Key| environment.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.clone());
    let region = config.region.clone().or_else(|| found(Key::Region)).or_else(|| found(Key::DefaultRegion));
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint = config.endpoint.clone().or_else(|| found(Key::S3Endpoint)).or_else(|| found(Key::Endpoint));
    let credentials: AwsCredentialProvider = match &config.credentials {
        Some((key, secret)) => Arc::new(StaticCredentialProvider::new(AwsCredential {
            key_id: key.clone(),
            secret_key: secret.expose().to_owned(),
            token: config.session_token.as_ref().map(|token| token.expose().to_owned()),
        })),
        None => {
            found(Key::ContainerCredentialsFullUri).as_deref().map_or(Ok(()), check_container)?;
            check_token(&found)?;
            let builder = AmazonS3Builder::new().with_bucket_name(&config.bucket).with_region(&region);
            let set = environment.iter().filter(|(key, _)| !matches!(key, Key::Region | Key::DefaultRegion));
            let builder = set.fold(builder, |builder, (key, value)| builder.with_config(*key, value));
            let (askers, seen) = Askers::of(config);
            let builder = builder.with_http_connector(askers).with_retry(retry(config));
            Arc::new(Role::new("S3", Arc::clone(builder.build()?.credentials()), seen, config.timeout))
        }
    };
    Ok(Place { endpoint, region, credentials })
}

/// Where containers get their credentials without TLS, besides this host itself.
/// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
const CONTAINER: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// Refuses to send a container's token over a network, and to take credentials from it, without TLS.
fn check_container(uri: &str) -> Result<(), BoxError> {
    let uri: http::Uri = uri.parse()?;
    if is_safe(&uri) || CONTAINER.contains(&uri.host().unwrap_or_default()) {
        return Ok(());
    }
    Err("AWS_CONTAINER_CREDENTIALS_FULL_URI must begin with https://, or be an address of this host".into())
}

/// Whether what is sent there goes with TLS, or does not leave this host.
pub(super) fn is_safe(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || bare.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    uri.scheme_str() == Some("https") || is_here
}

/// Refuses the address of a container's credentials without the file that has the token for it: the host's role would be
/// taken in its place, without a word.
fn check_token(found: &impl Fn(AmazonS3ConfigKey) -> Option<String>) -> Result<(), BoxError> {
    use AmazonS3ConfigKey as Key;
    let given = [Key::AccessKeyId, Key::WebIdentityTokenFile, Key::ContainerCredentialsRelativeUri];
    let wanted =
        found(Key::ContainerCredentialsFullUri).is_some() && !given.into_iter().any(|key| found(key).is_some());
    if wanted && found(Key::ContainerAuthorizationTokenFile).is_none() {
        return Err("AWS_CONTAINER_CREDENTIALS_FULL_URI needs AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE beside it".into());
    }
    Ok(())
}

/// As `object_store` makes it.
fn bucket_url(config: &S3Config, endpoint: Option<&str>, region: &str) -> String {
    let bucket = &config.bucket;
    let url = match (endpoint, config.addressing) {
        (Some(endpoint), Addressing::VirtualHosted) => endpoint.to_owned(),
        (Some(endpoint), Addressing::Path) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        (None, Addressing::VirtualHosted) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        (None, Addressing::Path) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
    };
    url.trim_end_matches('/').to_owned()
}

/// Hands out the client that is there.
#[derive(Debug)]
pub(super) struct Ready(pub(super) HttpClient);

impl HttpConnector for Ready {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

/// Makes HTTP clients: `rustls` with `ring`, whatever the process has as its default, and the system's roots.
#[derive(Debug)]
pub(super) struct Clients {
    connect_timeout: Duration,
    timeout: Duration,
    proxy: Option<Secret>,
}

/// Makes those that fetch credentials, which some hosts give out at an address of their own without TLS.
#[derive(Debug)]
pub(super) struct Askers {
    clients: Clients,
    seen: Arc<Seen>,
}

impl Askers {
    /// And what becomes of their requests.
    pub(super) fn of(config: &S3Config) -> (Self, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        (Self { clients: Clients::of(config), seen: Arc::clone(&seen) }, seen)
    }
}

impl HttpConnector for Askers {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let (clients, seen) = (&self.clients, Arc::clone(&self.seen));
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|allowed| allowed == "true");
        // Small answers, for which a total time is right; an address of the host's own is asked without a proxy.
        let proxy = clients.proxy.as_ref().filter(|_| !plain);
        let client = clients.builder(plain, proxy).and_then(|builder| Ok(builder.timeout(clients.timeout).build()?));
        let client = client.map_err(|source| object_store::Error::Generic { store: "S3", source })?;
        Ok(HttpClient::new(Asking { client, seen }))
    }
}

impl Clients {
    pub(super) fn of(config: &S3Config) -> Self {
        let S3Config { connect_timeout, timeout, proxy, .. } = config;
        Self { connect_timeout: *connect_timeout, timeout: *timeout, proxy: proxy.clone() }
    }

    fn client(&self, plain: bool) -> Result<reqwest::Client, BoxError> {
        Ok(self.builder(plain, self.proxy.as_ref())?.build()?)
    }

    /// One that goes through no proxy, and with or without TLS.
    pub(super) fn direct(&self) -> Result<reqwest::Client, BoxError> {
        Ok(self.builder(true, None)?.build()?)
    }

    fn builder(&self, plain: bool, proxy: Option<&Secret>) -> Result<reqwest::ClientBuilder, BoxError> {
        use rustls_platform_verifier::BuilderVerifierExt;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .https_only(!plain)
            // Only ours, and none of the environment: whoever is on the way sees what is sent.
            .no_proxy()
            .connect_timeout(self.connect_timeout)
            .redirect(reqwest::redirect::Policy::none());
        Ok(match proxy {
            Some(url) => builder.proxy(reqwest::Proxy::all(url.expose())?),
            None => builder,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_container_come_without_tls_from_its_own_host_only() {
        let key = AmazonS3ConfigKey::ContainerCredentialsFullUri;
        let placed = |uri: &str| place(&S3Config::new("b"), &[(key, uri.to_owned())]).is_ok();
        for uri in [
            "https://vault.internal/credentials",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:1338/x",
            "http://[::1]/x",
            "http://localhost/x",
        ] {
            assert!(check_container(uri).is_ok(), "{uri}");
        }
        for uri in [
            "http://vault.internal/credentials",
            "http://169.254.170.230/x",
            "http://169.254.169.254/x",
            "http://localhost.example.org/x",
            "http://127.0.0.1@example.org/x",
            "HTTP://example.org/",
            "/credentials",
        ] {
            assert!(check_container(uri).is_err() && !placed(uri), "{uri}");
        }
        assert!(!placed("http://127.0.0.1:1338/x"), "without the file of its token");
    }
}
