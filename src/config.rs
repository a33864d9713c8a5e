use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use statehouse_core::{Error, Namespace, Result, Secret, ServiceUrl, is_service_link, nearest, read_setting_file};

/// The namespace of who has set none.
pub(crate) const DEFAULT_NAMESPACE: &str = "app";

/// What makes an application only read.
pub(crate) const READ_ONLY: &str = "STATEHOUSE_READ_ONLY";

/// Where each service keeps its state: one URL per service.
///
/// | service | environment | default | embedded | distributed |
/// | --- | --- | --- | --- | --- |
/// | cache | `STATEHOUSE_CACHE_URL` | `memory:` | `memory:` | `redis:`, `rediss:`, `redis+sentinel:`, `redis+cluster:` |
/// | sessions | `STATEHOUSE_SESSIONS_URL` | `file:data/sessions` | `memory:`, `file:` | as for the cache |
/// | files | `STATEHOUSE_FILES_URL` | `file:data/files` | `memory:`, `file:` | `s3:`, `az:` |
/// | search | `STATEHOUSE_SEARCH_URL` | `tantivy:data/search` | `memory:`, `tantivy:` | `opensearch+http:`, `opensearch+https:` |
/// | coordination | `STATEHOUSE_COORDINATION_URL` | the files' | `memory:`, `file:` | `s3:`, `az:`, or as for the cache |
///
/// `STATEHOUSE_NAMESPACE` (default `app`) keeps applications apart on shared servers: where there is one, set it, or
/// another application that does not reads and writes the same entries (`services.default_namespace` in the log says so).
/// `STATEHOUSE_DATA` (default
/// `data`) is the folder of the defaults, and moves nothing that a file or the code has configured. `STATEHOUSE_READ_ONLY=true`
/// makes the application [only read](Self::read_only). A secret need not stand in a URL: `STATEHOUSE_CACHE_PASSWORD`,
/// `STATEHOUSE_CACHE_PASSWORD_FILE` (a file that holds it) and `STATEHOUSE_CACHE_URL_FILE` (a file that holds the whole
/// URL) do the same for each service.
///
/// # Parameters
/// Each backend takes parameters behind `?`, in any order; one that is not known is refused, naming those that are.
/// Times are written `250ms`, `5s`, `2m`, sizes `64KiB`, `8MiB`, `1GiB`, always with the unit, and anything else is percent-encoded where a URL
/// needs it.
///
/// | URL of the cache | default | |
/// | --- | --- | --- |
/// | `memory:` | | |
/// | `capacity` | `64MiB` | bytes of each cache |
/// | `max_entries` | | entries of each cache, in place of bytes |
///
/// | `redis://user:password@host:port/database` and its siblings | default | |
/// | --- | --- | --- |
/// | `timeout` | `1s` | for the first answer to one try of an operation |
/// | `deadline` | `3s` | for an operation with all its retries |
/// | `connect_timeout` | `1s` | for a connection, TLS and password included |
/// | `connections` | `2` | shared by all operations, to each server |
/// | `wait_replicas` | | how many replicas must have a write before it is acknowledged, 1 to 15 |
/// | `wait_timeout` | `200ms` | how long they have, at most a quarter of `timeout`, and 400 ms |
/// | `max_answer` | `512MiB` | the most that a server may answer at once |
/// | `ca` | the system's | PEM file of the certificates to trust (`rediss:`) |
/// | `sentinel_username`, `sentinel_password` | | what the sentinels themselves ask for (`redis+sentinel:`) |
///
/// The siblings are `redis+sentinel://host:port,host:port/master-name/database`, `redis+cluster://host:port,host:port`, and
/// all three with `rediss`.
///
/// | URL of the sessions | default | |
/// | --- | --- | --- |
/// | `memory:`, `file:///dir` | | |
/// | `capacity` | `256MiB`, `2GiB` | what they may take up |
/// | `max_sessions` | `100000`, `500000` | sessions at once |
/// | `redis:` and its siblings, as of the cache, and | | |
/// | `max_anonymous` | `500000` | sessions that nobody is logged in to, of all replicas together |
///
/// | URL of the files | default | |
/// | --- | --- | --- |
/// | `memory:` | | |
/// | `capacity` | `256MiB` | what they may take up, with uploads under way; beyond it is as a full disk |
/// | `body_timeout` | `5m` | for a silent source of an upload |
/// | `file:///dir` | | |
/// | `durability` | `synced` | `synced`, or `relaxed` for what may be lost in a crash of the machine |
/// | `permissions` | `private` | `private`, or `group` for a shared group |
/// | `access` | `write` | `write`, or `read` for a folder that is only read |
/// | `body_timeout` | `5m` | for a silent source of an upload |
/// | `s3://key:secret@bucket/prefix` | | |
/// | `endpoint`, `region` | AWS, by its environment | which server |
/// | `allow_http` | `false` | whether clear text is accepted |
/// | `addressing` | `path` | `path` or `virtual-hosted` |
/// | `session_token` | | of temporary keys |
/// | `proxy` | none | all requests go through it; that of the environment is not used |
/// | `connect_timeout` | `5s` | for a connection |
/// | `timeout` | `10s` | for a silent server |
/// | `body_timeout` | `5m` | for a silent source of an upload |
/// | `read_limit` | none | for a download in all, its reader's pauses included |
/// | `retries` | `4` | of one request |
/// | `part_size` | `8MiB` | of an upload in parts |
/// | `upload_memory` | `256MiB` | of all uploads together |
/// | `probe` | `open` | `open` tries out what the server can do, `never` does not |
/// | `require` | | capabilities without which opening fails, with commas |
/// | `az://container/prefix` | | and `allow_http`, `proxy` and all below them as of `s3:` |
/// | `account` | Azure's environment | the storage account |
/// | `access_key`, `sas_token`, or `tenant_id`, `client_id` and `client_secret` | Azure's environment, and the host's identity | who asks |
/// | `endpoint` | Azure's of the account | which server |
///
/// | URL of the search | default | |
/// | --- | --- | --- |
/// | `memory:`, `tantivy:///dir` | | |
/// | `threads` | `1` | that write |
/// | `memory` | `64MiB` | for what is not committed yet |
/// | `commit_interval` | `1s` | until a queued or logged write is committed |
/// | `delete_retention` | `1h` | for which the version of a delete is remembered |
/// | `opensearch+https://user:password@host:port/prefix` | | |
/// | `timeout` | `10s` | for one try of a request |
/// | `deadline` | `30s` | for a request with all its retries |
/// | `connect_timeout` | `1s` | for a connection |
/// | `shards`, `replicas` | `1`, `1` | of an index that is made |
/// | `max_answer` | `64MiB` | the most that a server may answer at once |
/// | `proxy` | none | all requests go through it; that of the environment is not used |
/// | `delete_retention` | `1h` | for which the version of a delete is remembered |
/// | `ca` | the system's | PEM file of the certificates to trust |
///
/// | URL of the coordination | default | |
/// | --- | --- | --- |
/// | `memory:` | | |
/// | `capacity` | `64MiB` | of its records |
/// | `file:///dir`, `s3:`, `az:`, as of the files, and | | |
/// | `poll` | `1s`, `10s` | the longest pause of who waits for a change |
/// | `redis:` and its siblings, as of the cache | | |
///
/// In code, with what the environment says on top of it:
///
/// ```
/// use statehouse::{Config, Secret, ServiceConfig};
///
/// let cache = ServiceConfig::new("redis://app@redis.internal:6379").with_password(Secret::new("hunter2"));
/// let files = ServiceConfig::new("s3://key@documents").with_password_file("/run/secrets/s3");
/// let config = Config::embedded("/var/lib/clinic")
///     .with_namespace("clinic.prod")
///     .with_cache(cache)
///     .with_sessions("redis://redis.internal:6379")
///     .with_files(files)
///     .with_search("opensearch+https://search.internal:9200")
///     .with_env()?;
/// assert!(!format!("{config:?}").contains("hunter2"));
/// # Ok::<(), statehouse::Error>(())
/// ```
///
/// The same in a file, with [serde](https://serde.rs):
///
/// ```
/// let config: statehouse::Config = toml::from_str(r#"
///     namespace = "clinic.prod"
///     cache = "redis://redis.internal:6379"
///     files = { url = "s3://documents?region=eu-central-1", password_file = "/run/secrets/s3" }
/// "#)?;
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The namespace of everything that is stored: see [`Namespace`].
    pub namespace: String,
    /// The cache.
    pub cache: ServiceConfig,
    /// The sessions.
    pub sessions: ServiceConfig,
    /// The files.
    pub files: ServiceConfig,
    /// The search indexes. Used only with the feature `search-tantivy` or `search-opensearch`.
    pub search: ServiceConfig,
    /// The coordination of replicas. Used only with the feature `coord`.
    pub coordination: ServiceConfig,
    /// Whether files and search indexes are only read: every handle refuses to write them, whoever asks, as
    /// [`PermissionDenied`](statehouse_core::ErrorKind::PermissionDenied) with the setting. Only a
    /// [loader](crate::Services::loader), under a lock, writes them then. A download may be signed in advance, an upload may not. Caches,
    /// sessions and coordination go on: none of them is content.
    pub read_only: bool,
}

/// A service, as settings know it.
struct Row {
    name: &'static str,
    /// The scheme of where it is unless anything else is said; none if that follows from the others.
    embedded: &'static str,
    of: fn(&mut Config) -> &mut ServiceConfig,
}

const TABLE: [Row; 5] = [
    Row { name: "cache", embedded: "memory", of: |config| &mut config.cache },
    Row { name: "sessions", embedded: "file", of: |config| &mut config.sessions },
    Row { name: "files", embedded: "file", of: |config| &mut config.files },
    Row { name: "search", embedded: "tantivy", of: |config| &mut config.search },
    Row { name: "coordination", embedded: "", of: |config| &mut config.coordination },
];

impl Config {
    /// Embedded backends: the cache in memory, everything else below the folder `data`.
    #[must_use]
    pub fn embedded(data: impl AsRef<Path>) -> Self {
        Self::with_services(|row| match row.embedded {
            "memory" => "memory:".to_owned(),
            scheme => format!("{scheme}:{}", as_path(&data.as_ref().join(row.name))),
        })
    }

    /// Everything in the memory of this process: for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with_services(|_| "memory:".to_owned())
    }

    fn with_services(url: impl Fn(&Row) -> String) -> Self {
        let nowhere = ServiceConfig::default;
        let mut config = Self {
            namespace: DEFAULT_NAMESPACE.to_owned(),
            cache: nowhere(),
            sessions: nowhere(),
            files: nowhere(),
            search: nowhere(),
            coordination: nowhere(),
            read_only: false,
        };
        for row in TABLE.iter().filter(|row| !row.embedded.is_empty()) {
            *(row.of)(&mut config) = ServiceConfig::by_default(url(row));
        }
        config
    }

    /// The settings of the process environment, with the defaults of the table above.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for a variable that begins with
    /// `STATEHOUSE_` and is not known, is empty, is not UTF-8, or contradicts another. Left alone are the
    /// [service links](https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables) of
    /// Kubernetes (a service called `statehouse…` makes it set `STATEHOUSE_PORT`, `STATEHOUSE_…_SERVICE_HOST` and their
    /// kin in every container), and `STATEHOUSE_TEST_…`, `STATEHOUSE_TOOLS` and `STATEHOUSE_SOAK`, which belong to the
    /// tests of statehouse itself.
    pub fn from_env() -> Result<Self> {
        Self::default().with_env()
    }

    /// These settings, and where the process environment has one, that one: for an application that has a file or flags
    /// of its own.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn with_env(self) -> Result<Self> {
        let ours = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("STATEHOUSE_"))?;
            Some((name, value))
        });
        let mut variables = Vec::new();
        for (name, value) in ours {
            match value.into_string() {
                Ok(value) => variables.push((name, value)),
                Err(_) => return Err(Error::invalid_config(&name, "the value is not UTF-8")),
            }
        }
        self.with_variables(variables)
    }

    fn with_variables(mut self, variables: Vec<(String, String)>) -> Result<Self> {
        let mut variables: Vec<_> = variables
            .into_iter()
            .filter(|(name, value)| !(is_of_our_tests(name) || is_service_link(name, value)))
            .collect();
        if let Some((name, _)) = variables.iter().find(|(_, value)| value.is_empty()) {
            return Err(Error::invalid_config(name, "the value is empty; unset the variable for the default"));
        }
        let mut take = |name: &str| {
            let at = variables.iter().position(|(given, _)| given.strip_prefix("STATEHOUSE_") == Some(name))?;
            Some(variables.swap_remove(at).1)
        };
        if let Some(data) = take("DATA") {
            self.move_defaults(Self::embedded(data));
        }
        match take("READ_ONLY").as_deref() {
            None => {}
            Some("true") => self.read_only = true,
            Some("false") => self.read_only = false,
            Some(_) => return Err(Error::invalid_config(READ_ONLY, "expected true or false")),
        }
        if let Some(namespace) = take("NAMESPACE") {
            self.namespace = namespace;
        }
        for row in &TABLE {
            (row.of)(&mut self).read_variables(&row.name.to_ascii_uppercase(), &mut take)?;
        }
        match variables.first() {
            None => Ok(self),
            Some((name, _)) => Err(unknown_setting(name)),
        }
    }

    /// What nobody has said where it is, is there.
    fn move_defaults(&mut self, mut there: Self) {
        for row in &TABLE {
            let service = (row.of)(self);
            if service.is_default() {
                service.clone_from((row.of)(&mut there));
            }
        }
    }

    /// Replaces the namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Replaces where the cache is.
    #[must_use]
    pub fn with_cache(mut self, service: impl Into<ServiceConfig>) -> Self {
        self.cache = service.into();
        self
    }

    /// Replaces where the sessions are.
    #[must_use]
    pub fn with_sessions(mut self, service: impl Into<ServiceConfig>) -> Self {
        self.sessions = service.into();
        self
    }

    /// Replaces where the files are.
    #[must_use]
    pub fn with_files(mut self, service: impl Into<ServiceConfig>) -> Self {
        self.files = service.into();
        self
    }

    /// Replaces where the search indexes are.
    #[must_use]
    pub fn with_search(mut self, service: impl Into<ServiceConfig>) -> Self {
        self.search = service.into();
        self
    }

    /// Replaces where replicas coordinate. Nobody has to say so where files are shared.
    #[must_use]
    pub fn with_coordination(mut self, service: impl Into<ServiceConfig>) -> Self {
        self.coordination = service.into();
        self
    }

    /// Whether [content is only read](Self::read_only).
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    pub(crate) fn namespace(&self) -> Result<Namespace> {
        Namespace::new(&self.namespace)
            .map_err(|refused| Error::invalid_config("STATEHOUSE_NAMESPACE", refused.message().to_owned()))
    }
}

impl Default for Config {
    /// [`Config::embedded`] in the folder `data` of the working directory. Nothing is made there for a service that is not
    /// used.
    fn default() -> Self {
        Self::embedded("data")
    }
}

/// Where one service keeps its state. In a file it is a URL, or a table of these fields.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// The URL. It may hold a password, so `Debug` does not print it.
    pub url: Secret,
    /// The password, in place of one in the URL.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// A file whose first line is the URL, in place of `url`.
    pub url_file: Option<PathBuf>,
    /// The URL that nobody has said.
    default: Option<Secret>,
}

impl ServiceConfig {
    /// The service at this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: Secret::new(url), ..Self::default() }
    }

    fn by_default(url: String) -> Self {
        let url = Secret::new(url);
        Self { default: Some(url.clone()), url, ..Self::default() }
    }

    /// Whether it is as nobody has said; its fields can be written.
    fn is_default(&self) -> bool {
        let is_as_made = self.default.as_ref().is_some_and(|made| made.expose() == self.url.expose());
        is_as_made && self.password.is_none() && self.password_file.is_none() && self.url_file.is_none()
    }

    /// Gives the password separately.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// Gives a file whose first line is the password.
    #[must_use]
    pub fn with_password_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.password_file = Some(file.into());
        self
    }

    /// Whether nothing is said.
    #[cfg(feature = "coord")]
    pub(crate) fn is_unset(&self) -> bool {
        self.url.expose().is_empty() && self.url_file.is_none()
    }

    fn read_variables(&mut self, service: &str, take: &mut impl FnMut(&str) -> Option<String>) -> Result<()> {
        let mut take = |name: &str| take(&format!("{service}_{name}"));
        let (url, url_file) = (take("URL"), take("URL_FILE"));
        let (password, password_file) = (take("PASSWORD"), take("PASSWORD_FILE"));
        let refuse = |one: &str, other: &str| {
            let message = format!("contradicts STATEHOUSE_{service}_{other}; set one of the two");
            Err(Error::invalid_config(&format!("STATEHOUSE_{service}_{one}"), message))
        };
        if url.is_some() && url_file.is_some() {
            return refuse("URL_FILE", "URL");
        }
        if password.is_some() && password_file.is_some() {
            return refuse("PASSWORD_FILE", "PASSWORD");
        }
        // Another place has another password.
        if url.is_some() || url_file.is_some() {
            let url = url.map(Secret::new).unwrap_or_default();
            *self = Self { url, url_file: url_file.map(PathBuf::from), ..Self::default() };
        }
        if password.is_some() || password_file.is_some() {
            self.password = password.map(Secret::new);
            self.password_file = password_file.map(PathBuf::from);
        }
        Ok(())
    }

    /// The URL taken apart, with the password put in.
    pub(crate) fn resolve(&self, service: &str) -> Result<ServiceUrl> {
        let prefix = format!("STATEHOUSE_{}", service.to_ascii_uppercase());
        let mut url = match &self.url_file {
            Some(file) => {
                let setting = format!("{prefix}_URL_FILE");
                ServiceUrl::parse(&setting, first_line(&setting, file)?.expose())?
            }
            None => ServiceUrl::parse(&format!("{prefix}_URL"), self.url.expose())?,
        };
        let (setting, password) = match (&self.password_file, &self.password) {
            (Some(file), _) => {
                let setting = format!("{prefix}_PASSWORD_FILE");
                let password = first_line(&setting, file)?;
                (setting, password)
            }
            (None, Some(password)) => (format!("{prefix}_PASSWORD"), password.clone()),
            (None, None) => return Ok(url),
        };
        if url.hosts().is_empty() {
            let message = format!("{}: has no use for a password; is {prefix}_URL forgotten?", url.scheme());
            return Err(Error::invalid_config(&setting, message));
        }
        url.set_password(password);
        Ok(url)
    }
}

/// The path as a URL has it: what would end it or begin an escape is escaped.
fn as_path(path: &Path) -> String {
    path.display().to_string().replace('%', "%25").replace('?', "%3F")
}

const OF_A_SERVICE: [&str; 4] = ["URL", "URL_FILE", "PASSWORD", "PASSWORD_FILE"];

/// The error for a variable that is none of ours, which names the one that may have been meant.
fn unknown_setting(name: &str) -> Error {
    let services = TABLE.map(|row| row.name.to_ascii_uppercase());
    let of_a_service = services.iter().flat_map(|service| OF_A_SERVICE.map(|rest| format!("{service}_{rest}")));
    let known: Vec<_> = ["NAMESPACE", "DATA", "READ_ONLY"].map(str::to_owned).into_iter().chain(of_a_service).collect();
    // What all have in common would make each near to each.
    let given = name.strip_prefix("STATEHOUSE_").unwrap_or(name);
    let meant = nearest(given, known.iter().map(String::as_str));
    let meant = meant.map(|meant| format!("did you mean STATEHOUSE_{meant}? ")).unwrap_or_default();
    let (services, rest) = (services.join(","), OF_A_SERVICE.join(","));
    let accepted = format!(
        "STATEHOUSE_NAMESPACE, STATEHOUSE_DATA, STATEHOUSE_READ_ONLY, and STATEHOUSE_{{{services}}}_{{{rest}}}"
    );
    Error::invalid_config(name, format!("not a setting; {meant}accepted: {accepted}"))
}

fn is_of_our_tests(name: &str) -> bool {
    name.starts_with("STATEHOUSE_TEST_") || matches!(name, "STATEHOUSE_TOOLS" | "STATEHOUSE_SOAK")
}

/// The most bytes of a file that holds a secret or a URL.
const LONGEST_FILE: u64 = 64 << 10;

fn first_line(setting: &str, file: &Path) -> Result<Secret> {
    let read = read_setting_file(file, LONGEST_FILE);
    let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other)).map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        Error::invalid_config(setting, message).with_source(error)
    })?;
    // Blanks may be part of a password; a URL with any is refused where it is read.
    match text.lines().next().filter(|line| !line.trim().is_empty()) {
        Some(line) => Ok(Secret::new(line)),
        None => Err(Error::invalid_config(setting, format!("{} is empty", file.display()))),
    }
}

impl From<&str> for ServiceConfig {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for ServiceConfig {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

/// A string is the URL; a table has the fields. Written by hand because an untagged enum would hide which field is
/// wrong, and could print the value.
impl<'de> Deserialize<'de> for ServiceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ServiceVisitor)
    }
}

struct ServiceVisitor;

impl<'de> Visitor<'de> for ServiceVisitor {
    type Value = ServiceConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL, or a table with url or url_file and perhaps password or password_file")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<ServiceConfig, E> {
        Ok(ServiceConfig::new(url))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ServiceConfig, A::Error> {
        const FIELDS: &[&str] = &["url", "password", "password_file", "url_file"];
        let mut service = ServiceConfig::default();
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "url" => service.url = Secret::new(map.next_value::<String>()?),
                "password" => service.password = Some(Secret::new(map.next_value::<String>()?)),
                "password_file" => service.password_file = Some(map.next_value()?),
                "url_file" => service.url_file = Some(map.next_value()?),
                unknown => return Err(de::Error::unknown_field(unknown, FIELDS)),
            }
        }
        let has_url = !service.url.expose().is_empty();
        if has_url == service.url_file.is_some() {
            return Err(de::Error::custom("expected one of url and url_file"));
        }
        if service.password.is_some() && service.password_file.is_some() {
            return Err(de::Error::custom("expected at most one of password and password_file"));
        }
        Ok(service)
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config> {
        Config::default()
            .with_variables(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn an_empty_environment_is_embedded_in_the_folder_data() {
        let config = read(&[]).unwrap();
        assert_eq!(config.namespace().unwrap().as_str(), "app");
        assert_eq!(config.cache.url.expose(), "memory:");
        assert_eq!(config.files.resolve("files").unwrap().path(), "data/files");
        let config = read(&[("STATEHOUSE_DATA", "/srv/clinic")]).unwrap();
        assert_eq!(config.sessions.resolve("sessions").unwrap().path(), "/srv/clinic/sessions");
        assert!(!config.read_only && read(&[("STATEHOUSE_READ_ONLY", "true")]).unwrap().read_only);
        let written = Config::default().with_read_only(true).with_variables(vec![(READ_ONLY.into(), "false".into())]);
        assert!(!written.unwrap().read_only);
        assert_eq!(read(&[(READ_ONLY, "yes")]).unwrap_err().setting(), Some(READ_ONLY));
    }

    #[test]
    fn urls_and_passwords_come_from_the_environment_or_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "hunter2\n").unwrap();
        let config = read(&[
            ("STATEHOUSE_CACHE_URL", "redis://app@redis.internal"),
            ("STATEHOUSE_CACHE_PASSWORD_FILE", file.to_str().unwrap()),
            ("STATEHOUSE_TEST_REDIS_URL", "redis://elsewhere"),
        ])
        .unwrap();
        assert_eq!(config.cache.resolve("cache").unwrap().password().unwrap().expose(), "hunter2");
        std::fs::write(&file, " hunter2 \r\n").unwrap();
        assert_eq!(config.cache.resolve("cache").unwrap().password().unwrap().expose(), " hunter2 ");
        std::fs::write(&file, "rediss://app:hunter2@redis.internal\n").unwrap();
        let config = read(&[("STATEHOUSE_SESSIONS_URL_FILE", file.to_str().unwrap())]).unwrap();
        let url = config.sessions.resolve("sessions").unwrap();
        assert_eq!((url.scheme(), url.setting()), ("rediss", "STATEHOUSE_SESSIONS_URL_FILE"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_file_of_a_secret_or_has_no_end_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, long) = (folder.path().join("pipe"), folder.path().join("long"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::write(&long, "x".repeat(70_000)).unwrap();
        let places = [Path::new("/dev/zero"), &pipe, folder.path(), &long];
        for (place, why) in places.into_iter().zip(["cannot read", "cannot read", "cannot read", "more than"]) {
            for setting in ["STATEHOUSE_CACHE_URL_FILE", "STATEHOUSE_CACHE_PASSWORD_FILE"] {
                let url = ("STATEHOUSE_CACHE_URL", "redis://h");
                let pairs = [(setting, place.to_str().unwrap()), url];
                let config = read(&pairs[..if setting.contains("URL") { 1 } else { 2 }]).unwrap();
                let error = config.cache.resolve("cache").unwrap_err();
                assert_eq!(error.setting(), Some(setting), "{error}");
                assert!(error.to_string().contains(why), "{error}");
            }
        }
    }

    #[test]
    fn the_environment_wins_over_what_is_configured_and_a_new_url_drops_the_old_password() {
        let configured = || {
            let cache = ServiceConfig::new("redis://configured").with_password(Secret::new("hunter2"));
            Config::embedded("/srv").with_namespace("clinic").with_cache(cache)
        };
        let overlaid =
            |name: &str, value: &str| configured().with_variables(vec![(name.into(), value.into())]).unwrap();
        let config = overlaid("STATEHOUSE_FILES_URL", "memory:");
        assert_eq!((config.namespace.as_str(), config.files.url.expose()), ("clinic", "memory:"));
        assert_eq!(config.cache.resolve("cache").unwrap().password().unwrap().expose(), "hunter2");
        let config = overlaid("STATEHOUSE_CACHE_URL", "redis://elsewhere");
        assert!(config.cache.resolve("cache").unwrap().password().is_none());
        let config = overlaid("STATEHOUSE_CACHE_PASSWORD", "other");
        assert_eq!(config.cache.resolve("cache").unwrap().password().unwrap().expose(), "other");
    }

    #[test]
    fn a_folder_of_the_environment_moves_the_defaults_and_nothing_that_is_configured() {
        let elsewhere = |config: Config| {
            let data = [("STATEHOUSE_DATA", "/other"), ("STATEHOUSE_FILES_URL", "s3://b")];
            config.with_variables(data.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()).unwrap()
        };
        let cache = ServiceConfig::new("redis://configured").with_password(Secret::new("hunter2"));
        let mut config = Config::embedded("/srv").with_namespace("clinic").with_read_only(true).with_cache(cache);
        config.search.url = Secret::new("opensearch+http://search");
        let config = elsewhere(config);
        assert_eq!(config.cache.resolve("cache").unwrap().password().unwrap().expose(), "hunter2");
        assert_eq!(config.sessions.resolve("sessions").unwrap().path(), "/other/sessions");
        assert_eq!((config.files.url.expose(), config.search.url.expose()), ("s3://b", "opensearch+http://search"));
        assert_eq!((config.namespace.as_str(), config.read_only), ("clinic", true));
        let text =
            "coordination = 'redis://h'\nsessions = { url_file = '/run/sessions' }\nsearch = 'tantivy:data/search'";
        let config = elsewhere(toml::from_str(text).unwrap());
        assert_eq!((config.coordination.url.expose(), config.cache.url.expose()), ("redis://h", "memory:"));
        assert_eq!(config.sessions.url_file.as_deref(), Some(Path::new("/run/sessions")));
        assert_eq!(config.search.url.expose(), "tantivy:data/search", "said, although it is the default");
    }

    #[test]
    fn what_kubernetes_says_of_services_is_left_alone_and_typing_errors_are_not() {
        let config = read(&[
            ("STATEHOUSE_SERVICE_HOST", "10.0.171.239"),
            ("STATEHOUSE_SERVICE_PORT", "8080"),
            ("STATEHOUSE_SERVICE_PORT_HTTP_ALT", "8080"),
            ("STATEHOUSE_PORT", "tcp://10.0.171.239:8080"),
            ("STATEHOUSE_PORT_8080_TCP", "tcp://10.0.171.239:8080"),
            ("STATEHOUSE_PORT_8080_TCP_PROTO", "tcp"),
            ("STATEHOUSE_PORT_8080_TCP_PORT", "8080"),
            ("STATEHOUSE_PORT_8080_TCP_ADDR", "10.0.171.239"),
            ("STATEHOUSE_CACHE_PORT", "tcp://10.0.171.240:6379"),
            ("STATEHOUSE_CACHE_URL_SERVICE_HOST", "fd00::7"),
            ("STATEHOUSE_PORT_X_PORT", "udp://10.0.171.241:53"),
            ("STATEHOUSE_DNS_PORT_53_UDP_ADDR", "10.0.171.241"),
            ("STATEHOUSE_CACHE_URL", "redis://cache"),
        ])
        .unwrap();
        assert_eq!(config.cache.url.expose(), "redis://cache");
        for (name, value) in [
            ("STATEHOUSE_PORT", "8080"),
            ("STATEHOUSE_CACHE_PORT", "redis://h"),
            ("STATEHOUSE_SERVICE_PORT", "http"),
            ("STATEHOUSE_SERVICE_PORTS", "8080"),
            ("STATEHOUSE_SERVICE_HOSTS", "h"),
            ("STATEHOUSE_PORT_HTTP_TCP", "tcp://h:1"),
            ("STATEHOUSE_PORT_80_TCP_URL", "tcp://h:1"),
            ("STATEHOUSE_CACHE_HOST", "h"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().setting(), Some(name), "{value}");
        }
    }

    #[test]
    fn wrong_variables_are_named() {
        for (variables, named) in [
            (&[("STATEHOUSE_CASH_URL", "memory:")][..], "STATEHOUSE_CASH_URL"),
            (&[("STATEHOUSE_CACHE_URL", "")], "STATEHOUSE_CACHE_URL"),
            (&[("STATEHOUSE_CACHE_URL", "memory:"), ("STATEHOUSE_CACHE_URL_FILE", "f")], "STATEHOUSE_CACHE_URL_FILE"),
            (
                &[("STATEHOUSE_FILES_PASSWORD", "a"), ("STATEHOUSE_FILES_PASSWORD_FILE", "f")],
                "STATEHOUSE_FILES_PASSWORD_FILE",
            ),
        ] {
            let error = read(variables).unwrap_err();
            assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some(named)), "{error}");
        }
        let config = read(&[("STATEHOUSE_CACHE_PASSWORD", "hunter2")]).unwrap();
        let error = config.cache.resolve("cache").unwrap_err();
        assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_PASSWORD"), "it is for a URL that is forgotten");
        assert!(
            error.to_string().contains("STATEHOUSE_CACHE_URL") && !error.to_string().contains("hunter2"),
            "{error}"
        );
        let config = read(&[("STATEHOUSE_CACHE_PASSWORD_FILE", "/nonexistent/secret")]).unwrap();
        assert_eq!(config.cache.resolve("cache").unwrap_err().setting(), Some("STATEHOUSE_CACHE_PASSWORD_FILE"));
    }

    #[test]
    fn a_variable_that_is_nearly_a_setting_is_asked_about() {
        for (given, meant) in [
            ("STATEHOUSE_CASH_URL", Some("STATEHOUSE_CACHE_URL")),
            ("STATEHOUSE_SESSION_URL", Some("STATEHOUSE_SESSIONS_URL")),
            ("STATEHOUSE_FILES_PASWORD_FILE", Some("STATEHOUSE_FILES_PASSWORD_FILE")),
            ("STATEHOUSE_SEARCH_URI", Some("STATEHOUSE_SEARCH_URL")),
            ("STATEHOUSE_NAMESPCAE", Some("STATEHOUSE_NAMESPACE")),
            ("STATEHOUSE_cache_url", Some("STATEHOUSE_CACHE_URL")),
            ("STATEHOUSE_DATE", Some("STATEHOUSE_DATA")),
            ("STATEHOUSE_COORDINATION", Some("STATEHOUSE_COORDINATION_URL")),
            ("STATEHOUSE_LOG", None),
            ("STATEHOUSE_MAIL_SERVER", None),
            ("STATEHOUSE_DATABASE_URL", None),
        ] {
            let error = read(&[(given, "x")]).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.setting(), Some(given));
            match meant {
                Some(meant) => assert!(text.contains(&format!("did you mean {meant}? accepted: ")), "{text}"),
                None => assert!(!text.contains("did you mean"), "{text}"),
            }
        }
    }

    #[test]
    fn toml_and_json_are_read_and_their_mistakes_named() {
        let config: Config = toml::from_str("cache = 'redis://h'\nfiles = { url = 's3://b', password = 'x' }").unwrap();
        assert_eq!(config.cache.url.expose(), "redis://h");
        assert_eq!(config.sessions.url.expose(), "file:data/sessions");
        let odd = Config::embedded("/100% a?b%41").sessions.url;
        assert_eq!(ServiceUrl::parse("S", odd.expose()).unwrap().path(), "/100% a?b%41/sessions");
        let config: Config = serde_json::from_str(r#"{"namespace": "a.b", "search": {"url_file": "f"}}"#).unwrap();
        assert_eq!(config.namespace, "a.b");
        for (text, named) in [
            ("cash = 'memory:'", "cash"),
            ("cache = 7", "a URL, or a table"),
            ("cache = { url = 'memory:', pasword = 'x' }", "pasword"),
            ("cache = { password = 'x' }", "url and url_file"),
            ("cache = { url = 'redis://h', password = 'x', password_file = 'f' }", "password and password_file"),
        ] {
            let error = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
