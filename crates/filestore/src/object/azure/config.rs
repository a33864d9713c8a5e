use std::fmt;
use std::time::Duration;

use statehouse_core::{Capability, Error, Result, Secret, ServiceUrl};

use super::super::config::{Probe, S3Config, Transport};
use super::super::connection::bounded;
use super::super::encoding::from_base64;

/// Where a container of Azure Blob Storage is and how it is used.
///
/// By URL: `az://container/prefix?account=clinicfiles&access_key=…`, with the parameters below. Keys and signatures are
/// percent-encoded there.
///
/// Credentials that are given here are all there are: nothing is taken from the environment beside them. Without any, they
/// come from the environment and the host as for Azure's tools (`AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`,
/// `AZURE_STORAGE_SAS_TOKEN`; `AZURE_TENANT_ID` and `AZURE_CLIENT_ID` with `AZURE_CLIENT_SECRET` or, of a workload identity,
/// `AZURE_FEDERATED_TOKEN_FILE`; else the host's managed identity). Whatever an environment says, requests are signed, and go
/// without TLS only if `allow_http` says so, and through a proxy only if `proxy` names it. `Debug` prints no secret.
///
/// | parameter | value | default |
/// | --- | --- | --- |
/// | `account` | the storage account | `AZURE_STORAGE_ACCOUNT_NAME` |
/// | `access_key` | the account's key | |
/// | `sas_token` | a shared access signature for the container, instead of a key | |
/// | `tenant_id`, `client_id`, `client_secret` | an application of Entra ID, instead of a key | |
/// | `endpoint` | the URL of the account's blobs, for another cloud or an emulator | `https://<account>.blob.core.windows.net` |
/// | `allow_http` | `true` to allow an endpoint without TLS | `false` |
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
/// use statehouse_filestore::object::{AzureConfig, AzureCredentials, Probe, Transport};
///
/// let config = AzureConfig::new("clinicfiles", "documents")
///     .with_prefix("clinic")
///     .with_endpoint("http://127.0.0.1:10000/clinicfiles")
///     .with_transport(Transport::PlainAllowed)
///     .with_credentials(AzureCredentials::AccessKey(Secret::new("c2VjcmV0LWtleQ==")))
///     .with_proxy(Secret::new("http://user:c2VjcmV0LWtleQ==@proxy.internal:3128"))
///     .with_timeouts(Duration::from_secs(2), Duration::from_secs(10))
///     .with_body_timeout(Duration::from_secs(60))
///     .with_read_limit(Duration::from_secs(600))
///     .with_retries(6)
///     .with_part_size(16 << 20)
///     .with_upload_memory(128 << 20)
///     .with_probe(Probe::Open)
///     .require(capability::CREATE_IF_ABSENT);
/// assert!(!format!("{config:?}").contains("c2VjcmV0LWtleQ=="));
/// ```
#[derive(Clone)]
pub struct AzureConfig {
    pub(super) account: Option<String>,
    pub(super) credentials: Option<AzureCredentials>,
    /// What is the same for S3, with the container as its bucket.
    pub(in super::super) shared: S3Config,
}

/// Who an application is to Azure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AzureCredentials {
    /// The account's key, in base 64.
    AccessKey(Secret),
    /// A shared access signature, as a query. It signs no URLs for others: the store is then without `presigned`.
    Sas(Secret),
    /// An application of Entra ID.
    Application {
        /// The directory's id.
        tenant_id: String,
        /// The application's id.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
    },
}

impl AzureConfig {
    /// A container of an account, with everything else as the table says.
    pub fn new(account: impl Into<String>, container: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..Self::of(container.into(), "the Azure configuration") }
    }

    fn of(container: String, setting: &str) -> Self {
        let mut shared = S3Config::new(container);
        setting.clone_into(&mut shared.setting);
        Self { account: None, credentials: None, shared }
    }

    /// Sets what the objects' keys begin with.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.shared = self.shared.with_prefix(prefix);
        self
    }

    /// Sets the URL of the account's blobs.
    #[must_use]
    pub fn with_endpoint(mut self, url: impl Into<String>) -> Self {
        self.shared = self.shared.with_endpoint(url);
        self
    }

    /// Sets who asks.
    #[must_use]
    pub fn with_credentials(mut self, credentials: AzureCredentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets the URL of an HTTP proxy.
    #[must_use]
    pub fn with_proxy(mut self, url: Secret) -> Self {
        self.shared = self.shared.with_proxy(url);
        self
    }

    /// Sets whether the endpoint may be without TLS.
    #[must_use]
    pub fn with_transport(mut self, transport: Transport) -> Self {
        self.shared = self.shared.with_transport(transport);
        self
    }

    /// Sets how long a connection may take, and how long the server may then be silent.
    #[must_use]
    pub fn with_timeouts(mut self, connect: Duration, answer: Duration) -> Self {
        self.shared = self.shared.with_timeouts(connect, answer);
        self
    }

    /// Sets how long the source of an upload may be silent.
    #[must_use]
    pub fn with_body_timeout(mut self, silence: Duration) -> Self {
        self.shared = self.shared.with_body_timeout(silence);
        self
    }

    /// Sets how long a download may last in all.
    #[must_use]
    pub fn with_read_limit(mut self, limit: Duration) -> Self {
        self.shared = self.shared.with_read_limit(limit);
        self
    }

    /// Sets how often a request is sent again.
    #[must_use]
    pub fn with_retries(mut self, retries: usize) -> Self {
        self.shared = self.shared.with_retries(retries);
        self
    }

    /// Sets from what length on files are sent in parts of this length.
    #[must_use]
    pub fn with_part_size(mut self, bytes: u64) -> Self {
        self.shared = self.shared.with_part_size(bytes);
        self
    }

    /// Sets how much of all streams that are being stored is in memory, in bytes.
    #[must_use]
    pub fn with_upload_memory(mut self, bytes: u64) -> Self {
        self.shared = self.shared.with_upload_memory(bytes);
        self
    }

    /// Sets whether the server is tried out.
    #[must_use]
    pub fn with_probe(mut self, probe: Probe) -> Self {
        self.shared = self.shared.with_probe(probe);
        self
    }

    /// Adds a capability without which opening fails.
    #[must_use]
    pub fn require(mut self, capability: Capability) -> Self {
        self.shared = self.shared.require(capability);
        self
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming what is wrong.
    pub fn from_url(mut url: ServiceUrl) -> Result<Self> {
        let setting = url.setting().to_owned();
        let refuse = |message: &'static str| Err(Error::invalid_config(&setting, message));
        let [container] = url.hosts() else {
            return refuse("expected one container: az://container/prefix?account=…");
        };
        if container.port.is_some() {
            return refuse("a container has no port: the server is named by the parameter \"endpoint\"");
        }
        if url.username().is_some() || url.password().is_some() {
            return refuse("an account and its key are given by the parameters \"account\" and \"access_key\"");
        }
        let mut config = Self::of(container.name.clone(), &setting).with_prefix(url.path());
        let plain = |text: Secret| text.expose().to_owned();
        config.account = url.take("account").map(plain);
        let (access_key, sas) = (url.take("access_key"), url.take("sas_token"));
        let application = (url.take("tenant_id"), url.take("client_id"), url.take("client_secret"));
        config.credentials = match (access_key, sas, application) {
            (None, None, (None, None, None)) => None,
            (Some(key), None, (None, None, None)) => Some(AzureCredentials::AccessKey(key)),
            (None, Some(sas), (None, None, None)) => Some(AzureCredentials::Sas(sas)),
            (None, None, (Some(tenant), Some(client), Some(client_secret))) => {
                let (tenant_id, client_id) = (plain(tenant), plain(client));
                Some(AzureCredentials::Application { tenant_id, client_id, client_secret })
            }
            _ => {
                return refuse("expected one of access_key, sas_token, and tenant_id with client_id and client_secret");
            }
        };
        config.shared.take_shared(&mut url)?;
        url.finish()?;
        config.check()?;
        Ok(config)
    }

    /// The settings with times that can be added to a clock's.
    pub(in super::super) fn bounded(self) -> Self {
        Self { shared: bounded(self.shared), ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        let refuse = |message: &'static str| Err(Error::invalid_config(&self.shared.setting, message));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        // A part of the server's name.
        let is_account = |name: &String| (3..=24).contains(&name.len()) && name.bytes().all(plain);
        if !self.account.as_ref().is_none_or(is_account) {
            return refuse("the account must be 3 to 24 lower-case letters and digits");
        }
        let container = &self.shared.bucket;
        let taken = (3..=63).contains(&container.len()) && container.bytes().all(|b| plain(b) || b == b'-');
        if !taken && !matches!(container.as_str(), "$root" | "$web") {
            return refuse("the container must be 3 to 63 lower-case letters, digits and hyphens");
        }
        if let Some(AzureCredentials::AccessKey(key)) = &self.credentials
            && from_base64(key.expose()).is_none()
        {
            return refuse("the access key must be in base 64, as Azure shows it, and percent-encoded in a URL");
        }
        self.shared.check()
    }
}

impl fmt::Debug for AzureConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureConfig")
            .field("account", &self.account)
            .field("credentials", &self.credentials)
            .field("container", &self.shared.bucket)
            .field("shared", &self.shared)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<AzureConfig> {
        AzureConfig::from_url(ServiceUrl::parse("FILES", url).unwrap())
    }

    #[test]
    fn a_url_says_everything() {
        let url = "az://scans/clinic/prod?account=clinicfiles&access_key=aHVudGVyMg%3D%3D&allow_http=true\
                   &endpoint=http://127.0.0.1:10000/clinicfiles&timeout=9s&retries=1&part_size=16MiB&probe=never\
                   &require=create_if_absent";
        let read = config(url).unwrap();
        assert_eq!(read.account.as_deref(), Some("clinicfiles"));
        let shared = &read.shared;
        assert_eq!((shared.bucket.as_str(), shared.prefix.as_str()), ("scans", "clinic/prod"));
        assert_eq!((shared.timeout, shared.retries, shared.part_size), (Duration::from_secs(9), 1, 16 << 20));
        assert!(matches!(&read.credentials, Some(AzureCredentials::AccessKey(key)) if key.expose() == "aHVudGVyMg=="));
        let sas = config("az://scans?account=clinicfiles&sas_token=sv%3D1%26sig%3Dhunter2").unwrap();
        let application = "az://scans?account=clinicfiles&tenant_id=t&client_id=c&client_secret=hunter2";
        for read in [read, sas, config(application).unwrap()] {
            let shown = format!("{read:?}");
            assert!(!shown.contains("aHVudGVyMg") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_wrong_url_names_the_setting() {
        for url in [
            "az:",
            "az://a,b/",
            "az://scans:80",
            "az://key:hunter2@scans",
            "az://Scans?account=clinicfiles",
            "az://scans?account=clinic.files",
            "az://scans?account=evil.example/",
            "az://scans?account=clinicfiles&access_key=hunter2",
            "az://scans?account=clinicfiles&access_key=a&sas_token=b",
            "az://scans?account=clinicfiles&client_id=a",
            "az://scans?account=clinicfiles&endpoint=http://h",
            "az://scans?account=clinicfiles&endpoint=https://u:hunter2@h",
            "az://scans?account=clinicfiles&part_size=1MiB",
            "az://scans?account=clinicfiles&region=x",
            "az://scans?account=clinicfiles&retries=101",
            "az://scans/../x?account=clinicfiles",
        ] {
            let error = config(url).unwrap_err();
            assert_eq!(error.setting(), Some("FILES"), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
