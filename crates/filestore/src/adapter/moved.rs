//! A file under another name: copied or renamed, whose only condition can be that the name is free.

use object_store::path::Path;
use statehouse_core::{Error, ErrorKind, Result};

use super::error::{conflict, told};
use crate::capability::DELETE_IF_MATCH;
use crate::contended::{insist, is_contended};
use crate::files::Files;
use crate::key::FileKey;
use crate::options::{Condition, CopyOptions, DeleteOptions, HeadOptions};
use crate::outcome::PutOutcome;

/// The two names, each of which a file can have here.
pub(super) struct Moved<'a> {
    files: &'a Files,
    from: (FileKey, &'a Path),
    to: (FileKey, &'a Path),
}

impl<'a> Moved<'a> {
    pub(super) fn new(files: &'a Files, from: &'a Path, to: &'a Path) -> object_store::Result<Self> {
        let key = |path: &'a Path| files.key(path).map(|key| (key, path)).map_err(|error| told(error, path));
        Ok(Self { files, from: key(from)?, to: key(to)? })
    }

    pub(super) async fn copy(&self, create: bool) -> object_store::Result<()> {
        let condition = if create { Condition::Absent } else { Condition::Always };
        let options = CopyOptions::default().with_condition(condition);
        let (store, from, to) = (self.files.store(), &self.from.0, &self.to.0);
        let copied = insist(|| store.copy_with(from, to, options.clone())).await;
        match copied {
            Err(error) if create && is_contended(&error) => Err(self.in_the_way(error).await),
            copied => self.done(copied),
        }
    }

    pub(super) async fn rename(&self, create: bool) -> object_store::Result<()> {
        let rename = self.files.rename(self.from.1, self.to.1);
        let renamed = match create {
            false => rename.await.map(PutOutcome::Stored),
            true => rename.if_absent().await,
        };
        match renamed {
            // It was looked at before anything was copied; a store that opens when it is first asked knows now what it can do.
            Err(error) if error.kind() == ErrorKind::Unsupported && !self.deletes_by_etag() => {
                self.copy_and_delete(create).await
            }
            // What has the new name may be its own copy: others in the way of the delete have not taken it.
            renamed => self.done(renamed),
        }
    }

    fn deletes_by_etag(&self) -> bool {
        self.files.store().capabilities().has(DELETE_IF_MATCH)
    }

    /// What `object_store` does itself where there is no more: whatever has the old name by then is deleted.
    async fn copy_and_delete(&self, create: bool) -> object_store::Result<()> {
        let (store, from) = (self.files.store(), &self.from);
        if from.0 == self.to.0 {
            // Else its only name would be deleted.
            let found = store.head_with(&from.0, HeadOptions::default()).await;
            found.map(drop).map_err(|error| told(error, from.1))?;
            return if create { Err(conflict(&Condition::Absent, self.to.1)) } else { Ok(()) };
        }
        self.copy(create).await?;
        let deleted = insist(|| store.delete_with(&from.0, DeleteOptions::default())).await;
        deleted.map(drop).map_err(|error| told(error, from.1))
    }

    fn done(&self, outcome: Result<PutOutcome>) -> object_store::Result<()> {
        match outcome.map_err(|error| told(error, self.from.1))? {
            PutOutcome::Stored(_) => Ok(()),
            PutOutcome::Conflict => Err(conflict(&Condition::Absent, self.to.1)),
        }
    }

    /// Others may have been in the way at either name: only if the new one is taken they were faster there.
    async fn in_the_way(&self, error: Error) -> object_store::Error {
        let is_taken = self.files.store().head_with(&self.to.0, HeadOptions::default()).await.is_ok();
        if is_taken { conflict(&Condition::Absent, self.to.1) } else { told(error, self.from.1) }
    }
}
