//! Files in S3, in Azure Blob Storage, or in any store that [`object_store`] reaches.

#[cfg(feature = "azure")]
mod azure;
mod client;
mod clock;
mod conditional;
mod config;
mod connection;
mod copy;
mod copy_parts;
mod delete;
mod diagnose;
mod encoding;
mod error;
mod expiry;
mod fenced;
mod known;
mod list;
mod listed;
mod metadata;
mod missing;
mod parts;
mod patience;
mod presign;
mod probe;
mod read;
mod record;
mod request;
mod role;
mod room;
mod server;
mod sign;
mod staged;
mod stamp;
mod sweep;
#[cfg(test)]
mod tests;
mod time;
mod tls;
mod upload;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::aws::AmazonS3;
use statehouse_core::{Capabilities, Capability, Error, Fence, Health, RaiseOptions, Result, Timestamp};

#[cfg(feature = "azure")]
pub use self::azure::{AzureConfig, AzureCredentials};
use self::client::{Limits, Nesting, Remote, check_etag};
pub use self::config::{Addressing, ObjectConfig, Probe, S3Config, Transport};
use self::room::Room;
use crate::api::FileStore;
use crate::body::Body;
use crate::capability;
use crate::content::Object;
use crate::counters::Counters;
use crate::deadline;
use crate::key::FileKey;
use crate::meta::{Meta, Stored};
use crate::operation::Operations;
use crate::options::{
    CommitOptions, Condition, CopyOptions, DeleteOptions, DiscardOptions, GetOptions, HeadOptions, ListOptions, Page,
    PresignOptions, Presigned, PutOptions, StagesOptions, SweepOptions,
};
pub use crate::outcome::Swept;
use crate::outcome::{CommitOutcome, DeleteOutcome, DiscardOutcome, PutOutcome, ReadOutcome};
use crate::stage::{Stage, StageId, Staged};

/// How long a health check waits.
const HEALTH: Duration = Duration::from_millis(900);

/// A [`FileStore`] in a bucket, or a container of Azure. Cheap to clone.
///
/// # Layout
/// Files up to the part size are stored in one request, longer ones in parts. The object's content is the file's; its
/// metadata has the application's own, `statehouse-ttl` if it is kept for some time, `statehouse-type` if its content type is the one that servers say by themselves, and `statehouse-put`: a number that no other put has, and the SHA-256. The digest
/// of a long stream is known only when the metadata has long been given: it is then in an object of its own below
/// `.statehouse/sha256`, written before the file becomes visible, and costs each get and head of such a file a second
/// request; one whose digest is given beforehand ([`expect_sha256`](crate::Put::expect_sha256)) costs none. Files that something else wrote into the bucket can be
/// read, and have no digest. The mark of a lock is an object below `.statehouse/marks`, and a file that was stored under one has
/// `statehouse-fence` in its metadata: the lock, and the token. A stage is an upload in parts that has all of its parts and is not completed, and an object below `.statehouse/staged`
/// with which any process can do that; a rule of the bucket that ends uploads after some time ends stages, too. An empty object below
/// `.statehouse/expires` says when a sweep has to look at a file that is kept for some time. Keys that are no file's, such as folder markers, are left out of listings.
///
/// # Time and memory
/// Deadlines count the server's silence. Parts are sent while their source gives more, and a download that breaks off
/// goes on with the same state of the file. A put holds three parts at most, and all of a store's
/// [`upload_memory`](S3Config::upload_memory). A stream of unknown length has 5,000 parts of `part_size`, and then
/// longer ones, up to a quarter of `upload_memory`: by default some 270 GiB.
///
/// A server says when a file was last written, and a time to live counts from then. Amazon S3 dates what was stored in parts, a stage
/// always, by the beginning of its upload: there a file's time to live has to be longer than its upload and its stage may take, or the first
/// sweep ends it, and preconditions of HTTP by date (`If-Modified-Since`) may take it for an older one; those by etag do not.
///
/// A copy goes on the server, above 5 GiB in parts, each of them only as long as the original is what was looked at; a copy of a digest that is
/// apart, up to 5 GiB, and one that is made on a condition or under a lock goes through this host.
///
/// # What is left behind
/// An upload that fails or is dropped is aborted, also later if the server cannot be reached. What a killed process has
/// begun, [`sweep`](ObjectFileStore::sweep) removes, and what it has left below `.statehouse/probe`.
///
/// # Azure
/// Files in parts are block blobs; an upload that is given up leaves blocks that Azure drops after a week. The blocks of one name are in one heap, and who
/// completes an upload empties it: of uploads in parts to one name at the same time one may be refused with a `Conflict` that says to try again. There are no stages,
/// and a copy goes through this host. Each put has an etag of its own. Names of metadata are letters and digits there, and anything else in them is `_` and
/// two hexadecimal digits, and in names of files so are `%`, `\`, and a dot at the end of a part, with `%` before them: Azure takes `\` for `/` and leaves such dots out. A page of a listing is read by Azure's markers; without one, as behind a name that is given, and where files are
/// not kept below others' names, from the beginning.
///
/// # Capabilities
/// Found out when the store is opened, on objects of its own below `.statehouse/probe`: see [`Probe`]. Preconditions are
/// part of what is signed: what is on the way cannot take one off without the server's refusing the request.
///
/// # Health
/// It lists one name, and has its answer within a second, whatever the network does; one that does not answer is asked again as long as
/// there is time. A bucket that is full, or takes no writes, is up: to know, health would have to write. With each question of a load
/// balancer that is paid for, and where versions are kept it stays for ever; in a bucket that is nearly full it takes the room of others; a
/// write that is allowed in one place says nothing of another; and done only now and then it says what was. A write that fails says it itself,
/// with its kind and advice (`Unavailable` and [`Retry::FULL`](statehouse_core::Retry::FULL), or `PermissionDenied`), and reads go on meanwhile.
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
    counters: Counters,
}

/// A client for the bucket. Nothing is sent yet.
fn connect(config: &S3Config) -> Result<(AmazonS3, connection::Native)> {
    config.check()?;
    connection::build(config).map_err(|error| of_opening("s3", error, config))
}

/// Whether a bucket can be opened, as far as the configuration tells.
#[cfg(feature = "s3")]
pub(crate) fn check_s3(config: &S3Config) -> Result<()> {
    connect(config).map(drop)
}

/// The same for a container of Azure.
#[cfg(feature = "azure")]
pub(crate) fn check_azure(config: &AzureConfig) -> Result<()> {
    azure::connection::build(config).map(drop).map_err(|error| of_opening("azure", error, &config.shared))
}

fn of_opening(backend: &'static str, error: Error, config: &S3Config) -> Error {
    Operations::of(backend).open.name_in(error).with_setting(&config.setting)
}

impl ObjectFileStore {
    /// Opens a bucket of an S3 server.
    ///
    /// # Errors
    /// Naming the setting: [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for a bucket that does not exist or a wrong setting,
    /// [`Unauthenticated`](statehouse_core::ErrorKind::Unauthenticated) for wrong credentials, [`PermissionDenied`](statehouse_core::ErrorKind::PermissionDenied) for ones that do not
    /// suffice, [`Unavailable`](statehouse_core::ErrorKind::Unavailable) for a server that cannot be reached, [`Unsupported`](statehouse_core::ErrorKind::Unsupported) if one of the
    /// capabilities in [`S3Config::require`] is missing.
    pub async fn open_s3(config: S3Config) -> Result<Self> {
        let config = connection::bounded(config);
        let (s3, native) = connect(&config)?;
        Self::open_native("s3", Arc::new(s3), native, &config, &[capability::PRESIGNED]).await
    }

    /// Opens a container of Azure Blob Storage.
    ///
    /// # Errors
    /// As [`open_s3`](Self::open_s3), with the container for the bucket.
    #[cfg(feature = "azure")]
    pub async fn open_azure(config: AzureConfig) -> Result<Self> {
        let config = config.bounded();
        let (blobs, native) =
            azure::connection::build(&config).map_err(|error| of_opening("azure", error, &config.shared))?;
        let presigned = native.signs().then_some(capability::PRESIGNED);
        let told: Vec<_> = presigned.into_iter().chain([capability::ETAG_PER_PUT]).collect();
        Self::open_native("azure", Arc::new(blobs), native, &config.shared, &told).await
    }

    /// Opens a store whose requests go through our wire.
    async fn open_native(
        backend: &'static str,
        store: Arc<dyn ObjectStore>,
        native: connection::Native,
        config: &S3Config,
        told: &[Capability],
    ) -> Result<Self> {
        let (named, server) = (|error: Error| of_opening(backend, error, config), Arc::clone(&native.server));
        let prefix = if config.prefix.is_empty() { String::new() } else { format!("{}/", config.prefix) };
        let limits = Limits {
            part_size: config.part_size,
            copy_limit: config.copy_limit,
            timeout: config.timeout,
            body_timeout: config.body_timeout,
            read_limit: config.read_limit,
            room: Room::new(config.upload_memory),
        };
        let remote = Remote::new(store, Some(native), prefix, limits);
        let name = format!("{backend} {}/{}", config.bucket, config.prefix);
        let all = [capability::DURABLE, capability::SHARED, capability::METADATA, capability::CONTENT_HEADERS];
        let told = all.into_iter().chain(told.iter().copied()).collect();
        let store = match Self::begin(remote, backend, &name, config.probe, told).await {
            Ok(store) => store,
            Err(error) => return Err(named(diagnose::explain(error, config, &server).await)),
        };
        for required in &config.require {
            store.capabilities.require(*required).map_err(named)?;
        }
        Ok(store)
    }

    /// Takes any store of `object_store` that the application has made itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// use std::sync::Arc;
    /// use object_store::memory::InMemory;
    /// use statehouse_filestore::object::{ObjectConfig, ObjectFileStore};
    ///
    /// let config = ObjectConfig::new().with_prefix("clinic/prod");
    /// let store = ObjectFileStore::open(Arc::new(InMemory::new()), config).await?;
    /// # drop(store);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Its listings are read whole for each page, because their order is not known, and conditions hold only for files
    /// of one part: `object_store` has none for uploads in parts. A store that keeps no metadata with an object, as
    /// `object_store`'s own `LocalFileSystem`, keeps no digest either: its files are read unverified, and a content type
    /// or metadata of the application's own is refused.
    ///
    /// # Errors
    /// As the probe finds the store; [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a wrong prefix.
    pub async fn open(store: Arc<dyn ObjectStore>, config: ObjectConfig) -> Result<Self> {
        let ObjectConfig { prefix, probe, capabilities } = config;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{}/", FileKey::new(prefix)?) };
        let name = format!("object_store {store}");
        let S3Config { part_size, copy_limit, timeout, body_timeout, read_limit, upload_memory, .. } =
            S3Config::new("");
        let room = Room::new(upload_memory);
        let limits = Limits { part_size, copy_limit, timeout, body_timeout, read_limit, room };
        let opened = Self::begin(Remote::new(store, None, prefix, limits), "object_store", &name, probe, capabilities);
        opened.await.map_err(|error| Operations::of("object_store").open.name_in(error))
    }

    /// What the server or the caller has told is taken; what the probe can find out, it finds out.
    async fn begin(
        mut remote: Remote,
        backend: &'static str,
        name: &str,
        probe: Probe,
        told: Capabilities,
    ) -> Result<Self> {
        // A listing tells a missing bucket and wrong credentials apart, and needs no right to write.
        remote.list(&ListOptions::default().with_limit(1)).await?;
        let capabilities = match probe {
            Probe::Open => {
                let found = remote.probe().await?;
                remote.nesting = found.nesting;
                let untold = [capability::DURABLE, capability::SHARED, capability::ETAG_PER_PUT, capability::PRESIGNED];
                let vouched = untold.into_iter().filter(|known| told.has(*known));
                found.capabilities.iter().chain(vouched).collect()
            }
            Probe::Never => {
                // Accounts of Azure with a hierarchical namespace have no place for it, either.
                remote.nesting = if remote.native.is_some() { Nesting::Told } else { Nesting::Kept };
                told
            }
        };
        let fenced = stamp::can_fence(&capabilities).then_some(capability::FENCED);
        let capabilities: Capabilities = capabilities.iter().chain(fenced).collect();
        let capabilities = remote.with_what_is_ours(capabilities);
        let lacks: Vec<_> = capability::ALL.into_iter().filter(|capability| !capabilities.has(*capability)).collect();
        tracing::info!(name: "filestore.opened", backend, ?lacks, "opened a file store");
        let counters = Counters::new(backend);
        Ok(Self { remote: Arc::new(remote), backend, name: name.into(), capabilities, counters })
    }

    /// Removes what uploads have left behind that nobody could end: parts of a process that was killed or cut off, and
    /// digests of files that are gone; and files whose time is over. What is younger is left alone, by the server's clock: an upload that is under way
    /// must not be swept, so allow for the longest there is, a day for example.
    ///
    /// Only what is below this store's prefix is looked at. Costs a request for each thousand uploads, and one for each
    /// digest that is kept apart from its file.
    ///
    /// # Errors
    /// [`Unsupported`](statehouse_core::ErrorKind::Unsupported) for a store that is brought along; others as [`FileStore`] says.
    pub async fn sweep(&self, older_than: Duration) -> Result<Swept> {
        self.sweep_with(SweepOptions::new("").with_uploads_older_than(older_than)).await
    }

    const fn operations(&self) -> Operations {
        Operations::of(self.backend)
    }

    fn require(&self, condition: &Condition) -> Result<()> {
        match condition {
            Condition::Always => Ok(()),
            Condition::Absent => self.capabilities.require(capability::CREATE_IF_ABSENT),
            Condition::Match(etag) => {
                self.capabilities.require(capability::REPLACE_IF_MATCH)?;
                check_etag(etag)
            }
        }
    }

    fn require_headers(&self, options: &PutOptions) -> Result<()> {
        if options.has_headers() { self.capabilities.require(capability::CONTENT_HEADERS) } else { Ok(()) }
    }

    async fn put(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        options.check()?;
        self.remote.check_name(key)?;
        self.require(&options.condition)?;
        self.require_headers(&options)?;
        if options.fence.is_some() && !self.capabilities.has(capability::FENCED) {
            return Err(Fence::unsupported());
        }
        if let Some(time_to_live) = options.time_to_live {
            self.capabilities.require(capability::TIME_TO_LIVE)?;
            // What is declared and may not be is told before anything is written.
            options.intake(body.len())?;
            self.remote.expect_end(key, time_to_live).await?;
        }
        match options.fence.clone() {
            Some(fence) => Box::pin(self.put_fenced(key, body, options, &fence)).await,
            None => self.put_as_told(key, body, options).await,
        }
    }

    async fn stage(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Staged> {
        options.check_stage()?;
        self.remote.check_name(key)?;
        self.capabilities.require(capability::STAGED)?;
        self.require(&options.condition)?;
        self.require_headers(&options)?;
        if options.condition != Condition::Always {
            self.capabilities.require(capability::CONDITIONAL_PARTS)?;
        }
        options.time_to_live.map_or(Ok(()), |_| self.capabilities.require(capability::TIME_TO_LIVE))?;
        self.remote.stage(key, body, &options).await
    }

    /// Whatever fence there is was checked.
    async fn put_as_told(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        self.require(&options.condition)?;
        let conditional = options.condition != Condition::Always;
        let allowed = || match conditional {
            true => self.capabilities.require(capability::CONDITIONAL_PARTS),
            false => Ok(()),
        };
        self.remote.put(key, body, options, allowed).await
    }
}

impl fmt::Debug for ObjectFileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectFileStore").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl FileStore for ObjectFileStore {
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<PutOutcome> {
        let put = async {
            let condition = options.condition.clone();
            let stored = deadline::put(options.deadline, body, |body| self.put(key, body, options)).await;
            PutOutcome::of(stored, condition != Condition::Always)
        };
        let stored = self.operations().put.during_on(key, put).await;
        self.counters.put(&stored);
        stored
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<ReadOutcome<Object>> {
        let get = deadline::read(options.deadline, self.remote.get(key, &options));
        let got = self.operations().get.during_on(key, get).await;
        got.map(|got| got.map(|object| self.counters.reading(object)))
    }

    async fn head_with(&self, key: &FileKey, options: HeadOptions) -> Result<ReadOutcome<Meta>> {
        let head = deadline::read(options.deadline, self.remote.head(key, &options));
        self.operations().head.during_on(key, head).await
    }

    async fn list_with(&self, options: ListOptions) -> Result<Page> {
        let list = deadline::read(options.deadline, self.remote.list(&options));
        self.operations().list.during_on(&options.prefix, list).await
    }

    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<DeleteOutcome> {
        let (conditional, deadline) = (options.if_match.is_some(), options.deadline);
        let delete = async {
            let deleted = deadline::write(deadline, self.delete(key, options)).await;
            DeleteOutcome::of(deleted, conditional)
        };
        let deleted = self.operations().delete.during_on(key, delete).await;
        self.counters.delete(&deleted);
        deleted
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<PutOutcome> {
        let (condition, deadline) = (options.condition.clone(), options.deadline);
        let copy = async {
            let copied = deadline::write(deadline, self.copy(from, to, options)).await;
            PutOutcome::of(copied, condition != Condition::Always)
        };
        let copied = self.operations().copy.during_on(from, copy).await;
        self.counters.copy(&copied);
        copied
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let raise = async {
            self.capabilities.require(capability::FENCED)?;
            self.hold(fence).await
        };
        self.operations().raise.during(deadline::write(options.deadline, raise)).await
    }

    async fn presign_with(&self, key: &FileKey, options: PresignOptions) -> Result<Presigned> {
        let presign = deadline::read(options.deadline, self.presign(key, &options));
        self.operations().presign.during_on(key, presign).await
    }

    async fn stage_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Staged> {
        let stage = deadline::put(options.deadline, body, |body| self.stage(key, body, options));
        let staged = self.operations().stage.during_on(key, stage).await?;
        self.counters.staged(staged.len);
        Ok(staged)
    }

    async fn commit_with(&self, key: &FileKey, stage: StageId, options: CommitOptions) -> Result<CommitOutcome> {
        let commit = deadline::write(options.deadline, self.remote.commit(key, stage));
        self.operations().commit.during_on(key, commit).await
    }

    async fn discard_with(&self, key: &FileKey, stage: StageId, options: DiscardOptions) -> Result<DiscardOutcome> {
        let discard = deadline::write(options.deadline, self.remote.discard(key, stage));
        self.operations().discard.during_on(key, discard).await
    }

    async fn stages_with(&self, options: StagesOptions) -> Result<Vec<Stage>> {
        let stages = deadline::read(options.deadline, self.remote.stages(&options));
        self.operations().stages.during(stages).await
    }

    async fn sweep_with(&self, options: SweepOptions) -> Result<Swept> {
        let sweep = async {
            // What one of them cannot do keeps the other from nothing.
            let (swept, expired) = (self.remote.sweep(&options).await, self.sweep_expired(&options).await);
            Ok(Swept { expired: expired?, ..swept? })
        };
        self.operations().sweep.during(deadline::write(options.deadline, sweep)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.remote.now().into())
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn health(&self) -> Health {
        let start = Instant::now();
        let probe = self.remote.probe_until((start + HEALTH).into()).await;
        Health::of(&*self.name, start.elapsed(), probe)
    }
}
