use statehouse_core::{Error, ErrorKind, Result};

use crate::content::Object;
use crate::files::Place;
use crate::key::FileKey;
use crate::meta::Meta;
use crate::options::{ByteRange, GetOptions, HeadOptions};

/// Reads one file, in as many steps as its answer takes.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) place: Place,
    pub(super) key: FileKey,
    /// What the application asks of it.
    pub(super) options: GetOptions,
}

impl Reader {
    pub(super) async fn head(&self) -> Result<Meta> {
        let mut options = HeadOptions::default();
        options.deadline = self.options.deadline;
        let head = self.place.store.head_with(&self.key, options).await;
        let meta = head.map_err(|error| self.place.naming(&self.key, error))?;
        match &self.options.if_match {
            Some(etag) if *etag != meta.etag => {
                Err(Error::new(ErrorKind::Conflict, "the file does not have the expected etag"))
            }
            _ => Ok(meta),
        }
    }

    pub(super) async fn get(&self, range: Option<ByteRange>) -> Result<Object> {
        let mut options = self.options.clone();
        options.range = range;
        let got = self.place.store.get_with(&self.key, options).await;
        got.map_err(|error| self.place.naming(&self.key, error))
    }

    /// Reads this state of the file.
    pub(super) async fn pinned(&self, meta: &Meta, range: Option<ByteRange>) -> Result<Object> {
        let mut pinned = self.clone();
        // One that names nothing cannot be asked for.
        pinned.options.if_match = Some(meta.etag.clone()).filter(|etag| !etag.as_str().is_empty());
        pinned.get(range).await
    }
}
