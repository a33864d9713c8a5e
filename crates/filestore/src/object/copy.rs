//! Copying a file, on the server where that keeps all that belongs to it, else through this host.

use object_store::ObjectStoreExt;
use statehouse_core::Result;

use super::ObjectFileStore;
use super::client::{Nesting, changed, exists, lost};
use super::metadata::Marks;
use super::wire::{Answer, Terms};
use crate::capability;
use crate::key::FileKey;
use crate::meta::{Meta, Stored};
use crate::options::{Condition, CopyOptions, GetOptions, PutOptions};

/// The longest object that S3 copies in one request.
const MAX_COPY: u64 = 5 << 30;

impl ObjectFileStore {
    pub(super) async fn copy(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<Stored> {
        if let Some(fence) = &options.fence {
            self.capabilities.require(capability::FENCED)?;
            self.hold(fence).await?;
        }
        self.require(&options.condition)?;
        let (meta, marks) = self.remote.look(from).await?;
        if from == to {
            return copied_onto_itself(&meta, &options.condition);
        }
        if self.remote.nesting == Nesting::Hidden {
            self.remote.check_nesting(to).await?;
        }
        if options.condition == Condition::Always && options.fence.is_none() && meta.len <= MAX_COPY && !marks.apart {
            let (copied, marks) = self.copy_on_the_server(from, to, &marks).await?;
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
        put.fence = options.fence;
        self.put(to, object.into(), put).await
    }

    async fn copy_on_the_server(&self, from: &FileKey, to: &FileKey, original: &Marks) -> Result<(Meta, Marks)> {
        let (source, target) = (self.remote.path(from)?, self.remote.path(to)?);
        let replaced = self.remote.peek(to).await.ok().map(|(_, marks)| marks);
        let copy = self.remote.store.copy(&source, &target);
        let result = self.remote.call(Terms::new(Answer::Late), copy).await;
        let copied = match result {
            Ok(()) => self.remote.peek(to).await?,
            Err(failure) => {
                let doubtful = failure.log.doubtful;
                let error = failure.into_error(&Condition::Always);
                // A copy has the number of the put that wrote the original.
                match Box::pin(self.remote.peek(to)).await {
                    Ok((meta, marks)) if doubtful && marks.put.is_some() && marks.put == original.put => (meta, marks),
                    _ if doubtful => return Err(lost(error)),
                    _ => return Err(error),
                }
            }
        };
        self.remote.forget_digest(to, replaced);
        Ok(copied)
    }
}

/// A file is its own copy already.
fn copied_onto_itself(meta: &Meta, condition: &Condition) -> Result<Stored> {
    match condition {
        Condition::Absent => Err(exists()),
        Condition::Match(etag) if *etag != meta.etag => Err(changed()),
        _ => Ok(Stored::new(meta.etag.clone(), meta.len, meta.sha256)),
    }
}
