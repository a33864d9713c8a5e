//! Files in a directory of this host, or of a mounted volume.

mod beneath;
mod client;
mod config;
mod error;
mod folder;
mod lock;
mod name;
mod stage;
#[cfg(test)]
mod tests;
mod trailer;
mod walk;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::{Capabilities, Error, ErrorKind, Health, Result};

use self::client::{Content, Disk, Found, PIECE};
pub use self::config::{Durability, LocalConfig};
use self::error::map_error;
use self::name::DiskName;
use crate::digest::{Intake, Verifier};
use crate::{
    Body, Condition, CopyOptions, DeleteOptions, Deleted, FileKey, FileStore, GetOptions, HeadOptions, ListOptions,
    Meta, Object, Page, PutOptions, Stored, capability,
};

const BACKEND: &str = "local";

/// A [`FileStore`] in a directory. Cheap to clone.
///
/// Several stores may be open on one directory, in one process or in several: conditions hold among all of them,
/// through `flock`. Each file holds its content first and its metadata behind it, so that both become visible in one
/// rename; the names are the keys, with everything but `a-z`, `0-9`, `-`, `_` and `.` escaped. No symbolic link below
/// the directory is followed.
///
/// # Durability
/// With [`Durability::Synced`], the default, an acknowledged write or delete has been synced to the disk together with
/// the directory it is in. A process that ends at any point leaves no partial file visible; what it left in
/// `.statehouse/stage` is removed when the store is next opened.
#[derive(Clone, Debug)]
pub struct LocalFileStore {
    root: PathBuf,
    disk: Arc<Disk>,
}

impl LocalFileStore {
    /// Opens the store in a directory, which is created if it is not there.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub async fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(LocalConfig::new(root)).await
    }

    /// Opens a store.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the directory has something else in it; [`ErrorKind::PermissionDenied`] if it
    /// cannot be written; [`ErrorKind::Unsupported`] if its file system has no locks.
    pub async fn open_with(config: LocalConfig) -> Result<Self> {
        let root = config.root.clone();
        let disk = blocking(move || Disk::open(&config)).await;
        let disk = disk.map_err(|error| error.with_backend(BACKEND).with_operation("filestore.open"))?;
        Ok(Self { root, disk: Arc::new(disk) })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    async fn run<T, F>(&self, key: &FileKey, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Disk, &FileKey, &DiskName) -> Result<T> + Send + 'static,
    {
        let (disk, key) = (Arc::clone(&self.disk), key.clone());
        blocking(move || work(&disk, &key, &DiskName::of(&key))).await
    }

    async fn put(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        options.check()?;
        let intake = Intake::new(&options, body.len())?;
        match body.into_bytes() {
            Ok(bytes) => self.run(key, move |disk, key, name| disk.put(key, name, &bytes, options)).await,
            Err(stream) => self.put_stream(key, stream, intake, options).await,
        }
    }

    async fn put_stream(
        &self,
        key: &FileKey,
        mut stream: BoxStream<'static, Result<Bytes>>,
        intake: Intake,
        options: PutOptions,
    ) -> Result<Stored> {
        let condition = options.condition.clone();
        let begin = move |disk: &Disk, _: &FileKey, name: &DiskName| {
            if condition != Condition::None {
                disk.check_early(name, &condition)?;
            }
            disk.create()
        };
        let mut written = (self.run(key, begin).await?, intake);
        loop {
            let (pieces, ended) = gather(&mut stream).await?;
            written = blocking(move || {
                let (mut staged, mut intake) = written;
                for piece in pieces {
                    intake.update(&piece)?;
                    staged.file.write_all(&piece).map_err(map_error)?;
                }
                Ok((staged, intake))
            })
            .await?;
            if ended {
                break;
            }
        }
        let (staged, intake) = written;
        self.run(key, move |disk, key, name| disk.finish(staged, key, name, intake, options)).await
    }

    async fn get(&self, key: &FileKey, options: GetOptions) -> Result<Object> {
        if let Some(range) = options.range {
            range.check()?;
        }
        // A file that is in memory anyway is read at once: handing it to another thread costs more than reading it.
        let found = match self.disk.get_cached(key, &DiskName::of(key), &options) {
            Some(found) => found?,
            None => self.run(key, move |disk, key, name| disk.get(key, name, &options)).await?,
        };
        let Found { meta, range, content } = found;
        Ok(match content {
            Content::Read(bytes) => Object::from_checked_bytes(meta, range, bytes),
            Content::Open(file, verifier) => Object::from_checked_stream(meta, range, pieces(file, verifier)),
        })
    }
}

/// Takes what a stream has, up to what is worth one write, and whether it has ended.
async fn gather(stream: &mut BoxStream<'static, Result<Bytes>>) -> Result<(Vec<Bytes>, bool)> {
    let (mut pieces, mut len) = (Vec::new(), 0);
    while len < PIECE {
        let Some(piece) = stream.try_next().await? else { return Ok((pieces, true)) };
        len += piece.len() as u64;
        pieces.push(piece);
    }
    Ok((pieces, false))
}

/// The rest of an open file, read and checked piece by piece.
fn pieces(file: File, verifier: Verifier) -> BoxStream<'static, Result<Bytes>> {
    futures_util::stream::try_unfold(Some((file, verifier)), |state| async {
        let Some((mut file, mut verifier)) = state else { return Ok(None) };
        let read = move || {
            let bytes = client::read_exactly(&mut file, verifier.missing().min(PIECE))?;
            verifier.update(&bytes)?;
            if verifier.missing() > 0 {
                return Ok((bytes, Some((file, verifier))));
            }
            verifier.finish()?;
            Ok((bytes, None))
        };
        let (bytes, state) = blocking(read).await?;
        Ok(Some((Bytes::from(bytes), state)))
    })
    .boxed()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let ended = |source| Error::new(ErrorKind::Unavailable, "the runtime is shutting down").with_source(source);
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

#[async_trait]
impl FileStore for LocalFileStore {
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Stored> {
        self.put(key, body, options).await.map_err(crate::located(BACKEND, "filestore.put", key))
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<Object> {
        self.get(key, options).await.map_err(crate::located(BACKEND, "filestore.get", key))
    }

    async fn head_with(&self, key: &FileKey, _options: HeadOptions) -> Result<Meta> {
        let meta = self.run(key, |disk, key, name| disk.head(key, name)).await;
        meta.map_err(crate::located(BACKEND, "filestore.head", key))
    }

    async fn list_with(&self, options: ListOptions) -> Result<Page> {
        let (disk, prefix) = (Arc::clone(&self.disk), options.prefix.clone());
        let page = blocking(move || disk.list(&options)).await;
        page.map_err(crate::located(BACKEND, "filestore.list", &prefix))
    }

    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<Deleted> {
        let deleted = self.run(key, move |disk, key, name| disk.delete(key, name, options.if_match.as_ref())).await;
        deleted.map_err(crate::located(BACKEND, "filestore.delete", key))
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<Stored> {
        let to = to.clone();
        let copied = self.run(from, move |disk, from, _| disk.copy(from, &to, &options)).await;
        copied.map_err(crate::located(BACKEND, "filestore.copy", from))
    }

    fn capabilities(&self) -> Capabilities {
        capability::ALL.into_iter().collect::<Capabilities>().without(capability::SHARED)
    }

    async fn health(&self) -> Health {
        let (start, disk) = (Instant::now(), Arc::clone(&self.disk));
        // Making and dropping an empty file needs what a write needs, save for its space.
        let probe = blocking(move || disk.create().map(drop)).await;
        Health::of(format!("{BACKEND} {}", self.root.display()), start.elapsed(), probe)
    }
}
