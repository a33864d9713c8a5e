//! Who writes what all others only read.

use std::sync::{Arc, Weak};

use statehouse_coord::Guard;
use statehouse_core::layer::Layer;
use statehouse_core::{AsFence, Error, ErrorKind, Fence, Result};
use statehouse_filestore::{Files, LayeredFileStore};

use crate::services::Services;

impl Services {
    /// The one who may write files and search indexes where the application [only reads](crate::Config::read_only): whoever
    /// has this lock, as long as it has it.
    ///
    /// ```
    /// use statehouse::{Config, ErrorKind, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let services = Services::open(Config::in_memory().with_read_only(true)).await?;
    /// let scans = services.files("scans")?;
    /// assert_eq!(scans.put("a", "DICM").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    ///
    /// let loader = services.loader(services.coordination().lock("preload").await?);
    /// loader.files("scans")?.put("a", "DICM").await?;
    /// loader.release().await?;
    /// assert_eq!(scans.get("a").bytes().await?, "DICM");
    /// # Ok(()) }
    /// ```
    pub fn loader(&self, guard: Guard) -> Loader {
        Loader { services: self.clone(), guard: Arc::new(guard) }
    }
}

/// Writes content under a lock: made by [`Services::loader`].
///
/// Each call of its handles is done as [`Guard::run`] does it: dropped when the lock is lost, and refused from then on. When this
/// is dropped or released the lock is given back, and its handles write nothing any more. What was sent before the lock was lost may
/// still arrive: a process that stood still is not stopped by this alone. What is written `fenced` is: the lock names what it
/// guards, and the loader is the fence. To a store of the application's own the [token](Guard::token) goes along, which that
/// compares with the greatest that it has seen.
///
/// ```
/// use statehouse::{Config, ErrorKind, Services};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let services = Services::open(Config::in_memory().with_read_only(true)).await?;
/// let (coord, scans) = (services.coordination(), services.files("scans")?);
/// let loader = services.loader(coord.lock("preload").guards(&scans).await?);
/// loader.files("scans")?.put("a", "DICM").fenced(&loader).await?;
/// let token = loader.guard().token(); // for a table: "… WHERE token <= $1"
/// # let fence = loader.guard().fence().clone();
/// # loader.release().await?;
///
/// let successor = services.loader(coord.lock("preload").guards(&scans).await?);
/// assert!(successor.guard().token() > token);
/// # let late = successor.files("scans")?.put("a", "late").fenced(&fence).await.unwrap_err();
/// # assert_eq!(late.kind(), ErrorKind::Fenced);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
pub struct Loader {
    services: Services,
    guard: Arc<Guard>,
}

impl Loader {
    /// The files of this name, to be written.
    ///
    /// # Errors
    /// As [`Services::files`].
    pub fn files(&self, name: &str) -> Result<Files> {
        let inner = self.services.inner();
        let store = LayeredFileStore::new(Arc::clone(inner.files.handle()), self.held());
        Ok(Files::new(Arc::new(store), inner.namespace.child(name)?))
    }

    /// The search index of this name, to be written. It is opened, or made if there is none.
    ///
    /// # Errors
    /// As [`SearchBuilder::open`](crate::SearchBuilder::open).
    #[cfg(feature = "_search")]
    pub async fn search<D: statehouse_search::Document>(&self, name: &str) -> Result<statehouse_search::Index<D>> {
        let index = self.services.indexes().get().await?.index(name, D::schema()?).await?;
        statehouse_search::Index::new(Arc::new(statehouse_search::LayeredIndex::new(index, self.held())))
    }

    /// The lock, with its token.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Gives the lock back. If a write is still under way, that keeps it until it is done.
    ///
    /// # Errors
    /// As [`Guard::release`].
    pub async fn release(self) -> Result<()> {
        match Arc::try_unwrap(self.guard) {
            Ok(guard) => guard.release().await,
            Err(_under_way) => Ok(()),
        }
    }

    fn held(&self) -> Held {
        Held(Arc::downgrade(&self.guard))
    }
}

impl AsFence for Loader {
    fn as_fence(&self) -> &Fence {
        self.guard.fence()
    }
}

/// Does what is asked for only while the lock is held.
#[derive(Debug)]
struct Held(Weak<Guard>);

impl Layer for Held {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        match self.0.upgrade() {
            Some(guard) => guard.run(work).await,
            None => {
                let message = "the lock of this loader was given back: it writes nothing any more";
                Err(Error::new(ErrorKind::PermissionDenied, message).with_operation(operation))
            }
        }
    }
}
