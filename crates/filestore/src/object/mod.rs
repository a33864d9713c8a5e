//! Files in S3, or in any store that [`object_store`] reaches.

mod client;
mod config;
mod error;
mod metadata;
mod probe;
mod upload;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::aws::AmazonS3Builder;
use object_store::list::PaginatedListStore;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt, RetryConfig};
use statehouse_core::{Capabilities, Error, ErrorKind, Health, Result};

use self::client::{Remote, changed};
pub use self::config::{Addressing, Probe, S3Config, Transport};
use self::metadata::Marks;
use self::wire::Answer;
use crate::{
    Body, Condition, CopyOptions, DeleteOptions, Deleted, FileKey, FileStore, GetOptions, HeadOptions, ListOptions,
    Meta, Object, Page, PutOptions, Stored, capability,
};

/// The longest object that S3 copies in one request.
const MAX_COPY: u64 = 5 << 30;

/// A [`FileStore`] in a bucket. Cheap to clone.
///
/// Files up to the part size are stored in one request, longer ones in parts. The object's content is the file's; its
/// metadata has the application's own and `statehouse-put`: a number that no other put has, and the SHA-256. The digest
/// of a long stream is known only when the metadata has long been given: it is then in an object of its own below
/// `.statehouse/sha256`, written before the file becomes visible. Files that something else wrote into the bucket can be
/// read, and have no digest.
///
/// # Capabilities
/// Found out when the store is opened, on objects of its own below `.statehouse/probe`: see [`Probe`].
///
/// # Durability
/// That of the server: a write is acknowledged when the server has acknowledged it. If its answer is lost, the request is
/// sent again; each put carries a number of its own, so that a refusal caused by its own first attempt is told from
/// somebody else's file.
#[derive(Clone)]
pub struct ObjectFileStore {
    remote: Arc<Remote>,
    backend: &'static str,
    name: Arc<str>,
    capabilities: Capabilities,
}

impl ObjectFileStore {
    /// Opens a bucket of an S3 server.
    ///
    /// # Errors
    /// Naming the setting: [`ErrorKind::InvalidConfig`] for a bucket that does not exist or a wrong setting,
    /// [`ErrorKind::Unauthenticated`] for wrong credentials, [`ErrorKind::PermissionDenied`] for ones that do not
    /// suffice, [`ErrorKind::Unavailable`] for a server that cannot be reached, [`ErrorKind::Unsupported`] if one of the
    /// capabilities in [`S3Config::require`] is missing.
    pub async fn open_s3(config: S3Config) -> Result<Self> {
        let named =
            |error: Error| error.with_backend("s3").with_operation("filestore.open").with_setting(&config.setting);
        config.check()?;
        let s3 = Arc::new(build(&config).map_err(named)?);
        let prefix = if config.prefix.is_empty() { String::new() } else { format!("{}/", config.prefix) };
        let remote = Remote {
            store: Arc::clone(&s3) as Arc<dyn ObjectStore>,
            native: Some(s3 as Arc<dyn PaginatedListStore>),
            prefix,
            part_size: config.part_size,
        };
        let name = format!("s3 {}/{}", config.bucket, config.prefix);
        let store = Self::begin(remote, "s3", &name, config.probe).await.map_err(named)?;
        for required in &config.require {
            store.capabilities.require(*required).map_err(named)?;
        }
        Ok(store)
    }

    /// Takes any store of `object_store` that the application has made itself, below a prefix, which is empty or like a
    /// file's key.
    ///
    /// Its listings are read whole for each page, because their order is not known, and conditions hold only for files
    /// of one part: `object_store` has none for uploads in parts.
    ///
    /// # Errors
    /// As the probe finds the store; [`ErrorKind::InvalidInput`] for a wrong prefix.
    pub async fn open(store: Arc<dyn ObjectStore>, prefix: &str, probe: Probe) -> Result<Self> {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{}/", FileKey::new(prefix)?) };
        let name = format!("object_store {store}");
        let remote = Remote { store, native: None, prefix, part_size: S3Config::new("").part_size };
        let opened = Self::begin(remote, "object_store", &name, probe).await;
        opened.map_err(|error| error.with_backend("object_store").with_operation("filestore.open"))
    }

    async fn begin(remote: Remote, backend: &'static str, name: &str, probe: Probe) -> Result<Self> {
        // A listing tells a missing bucket and wrong credentials apart, and needs no right to write.
        remote.list(&ListOptions::default().with_limit(1)).await?;
        let capabilities = match probe {
            Probe::Open => remote.probe().await?,
            Probe::Never => [capability::DURABLE, capability::SHARED].into_iter().collect(),
        };
        let missing = capability::ALL.into_iter().filter(|capability| !capabilities.has(*capability)).count();
        tracing::info!(backend, missing, "opened a file store");
        Ok(Self { remote: Arc::new(remote), backend, name: name.into(), capabilities })
    }

    fn require(&self, condition: &Condition) -> Result<()> {
        match condition {
            Condition::None => Ok(()),
            Condition::IfAbsent => self.capabilities.require(capability::CREATE_IF_ABSENT),
            Condition::IfMatch(_) => self.capabilities.require(capability::REPLACE_IF_MATCH),
        }
    }

    async fn put(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        options.check()?;
        self.require(&options.condition)?;
        let conditional = options.condition != Condition::None;
        let allowed = || match conditional {
            true => self.capabilities.require(capability::CONDITIONAL_PARTS),
            false => Ok(()),
        };
        self.remote.put(key, body, options, allowed).await
    }

    async fn delete(&self, key: &FileKey, options: DeleteOptions) -> Result<Deleted> {
        let condition = options.if_match.map_or(Condition::None, Condition::IfMatch);
        if condition != Condition::None {
            self.capabilities.require(capability::DELETE_IF_MATCH)?;
        }
        // S3 answers alike whether there was something to delete or not.
        let (meta, marks) = match (self.remote.peek(key).await, &condition) {
            (Err(error), Condition::None) if error.kind() == ErrorKind::NotFound => return Ok(Deleted::Absent),
            (Err(error), _) if error.kind() == ErrorKind::NotFound => return Err(changed()),
            (peeked, _) => peeked?,
        };
        if matches!(&condition, Condition::IfMatch(etag) if *etag != meta.etag) {
            return Err(changed());
        }
        let path = self.remote.path(key)?;
        let deleted = self.remote.call(&condition, Answer::Status, self.remote.store.delete(&path)).await;
        if let Err(failure) = deleted {
            self.settle_delete(key, &condition, failure).await?;
        }
        if let Some(put) = marks.put.filter(|_| marks.apart) {
            self.remote.remove(&self.remote.digest_path(key, &put)?).await?;
        }
        Ok(Deleted::Removed)
    }

    /// The outcome of a delete that failed: done if an earlier attempt did it.
    async fn settle_delete(&self, key: &FileKey, condition: &Condition, failure: client::Failure) -> Result<()> {
        let doubtful = failure.log.doubtful;
        let error = failure.into_error(condition);
        let gone = |result: Result<_>| matches!(result, Err(error) if error.kind() == ErrorKind::NotFound);
        if error.kind() == ErrorKind::NotFound || doubtful && gone(self.remote.peek(key).await) {
            return Ok(());
        }
        Err(error)
    }

    async fn copy(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<Stored> {
        self.require(&options.condition)?;
        let (meta, marks) = self.remote.look(from).await?;
        if options.condition == Condition::None && meta.len <= MAX_COPY && !marks.apart {
            let (copied, marks) = self.copy_on_the_server(from, to).await?;
            // Unless the original was replaced in between by one whose digest is apart.
            if !marks.apart {
                return Ok(Stored::new(copied.etag, copied.len, copied.sha256));
            }
        }
        // Conditions on a copy's target are not honoured widely, and a digest that is apart belongs to one key: the
        // content goes through this host, which then knows the digest from the start.
        let object = self.remote.get(from, &GetOptions::default()).await?;
        let meta = object.meta().clone();
        let mut put = PutOptions::default().with_condition(options.condition);
        put.content_type = meta.content_type;
        put.user = meta.user;
        put.expected_digest = meta.sha256;
        self.put(to, object.into(), put).await
    }

    async fn copy_on_the_server(&self, from: &FileKey, to: &FileKey) -> Result<(Meta, Marks)> {
        let (source, target) = (self.remote.path(from)?, self.remote.path(to)?);
        let copy = self.remote.store.copy(&source, &target);
        let result = self.remote.call(&Condition::None, Answer::Body, copy).await;
        result.map_err(|failure| failure.into_error(&Condition::None))?;
        self.remote.peek(to).await
    }
}

fn build(config: &S3Config) -> Result<object_store::aws::AmazonS3> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&config.bucket)
        .with_allow_http(config.transport == Transport::PlainAllowed)
        .with_virtual_hosted_style_request(config.addressing == Addressing::VirtualHosted)
        // A delete of one object has a status, and can be conditional; the one of many has neither.
        .with_disable_bulk_delete(true)
        .with_http_connector(wire::Connector { connect_timeout: config.connect_timeout, timeout: config.timeout })
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(50),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: config.retries,
            retry_timeout: config.timeout,
        });
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some((access_key, secret_key)) = &config.credentials {
        builder = builder.with_access_key_id(access_key).with_secret_access_key(secret_key.expose());
    }
    builder
        .build()
        .map_err(|error| Error::new(ErrorKind::InvalidConfig, "the settings do not fit together").with_source(error))
}

impl fmt::Debug for ObjectFileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectFileStore").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl FileStore for ObjectFileStore {
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        self.put(key, body, options).await.map_err(crate::located(self.backend, "filestore.put", key))
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<Object> {
        self.remote.get(key, &options).await.map_err(crate::located(self.backend, "filestore.get", key))
    }

    async fn head_with(&self, key: &FileKey, _options: HeadOptions) -> Result<Meta> {
        let looked = self.remote.look(key).await;
        looked.map(|(meta, _)| meta).map_err(crate::located(self.backend, "filestore.head", key))
    }

    async fn list_with(&self, options: ListOptions) -> Result<Page> {
        let page = self.remote.list(&options).await;
        page.map_err(crate::located(self.backend, "filestore.list", &options.prefix))
    }

    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<Deleted> {
        self.delete(key, options).await.map_err(crate::located(self.backend, "filestore.delete", key))
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<Stored> {
        self.copy(from, to, options).await.map_err(crate::located(self.backend, "filestore.copy", from))
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn health(&self) -> Health {
        let start = Instant::now();
        let probe = self.remote.list(&ListOptions::default().with_limit(1)).await.map(drop);
        Health::of(&*self.name, start.elapsed(), probe)
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    crate::conformance_suite!(|| async {
        let store = ObjectFileStore::open(Arc::new(InMemory::new()), "some/prefix", Probe::Open).await;
        Arc::new(store.unwrap()) as Arc<dyn FileStore>
    });

    #[tokio::test]
    async fn without_a_probe_no_condition_is_taken() {
        let store = ObjectFileStore::open(Arc::new(InMemory::new()), "", Probe::Never).await.unwrap();
        let options = PutOptions::default().with_condition(Condition::IfAbsent);
        let error = store.put_with(&FileKey::new("a").unwrap(), "x".into(), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
