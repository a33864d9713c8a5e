//! Copying a file, on the server where that keeps all that belongs to it, else through this host.

use object_store::ObjectStoreExt;
use statehouse_core::{ErrorKind, Result};

use super::ObjectFileStore;
use super::client::{Nesting, changed, exists, lost};
use super::metadata::Marks;
use super::wire::{Answer, Terms};
use crate::capability;
use crate::key::FileKey;
use crate::meta::{Meta, Stored};
use crate::options::{Condition, CopyOptions, GetOptions, PutOptions};

impl ObjectFileStore {
    pub(super) async fn copy(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<Stored> {
        self.remote.check_name(to)?;
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
        if let Some(native) = self.copies_in_parts(meta.len, &options) {
            match Box::pin(self.copy_in_parts(native, to, (&meta, &marks), &options.condition)).await {
                // Not every server copies parts.
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                copied => return copied,
            }
        }
        // Azure may say that it will copy, and do it later.
        let at_once = self.remote.native.as_ref().is_none_or(|native| native.s3().is_some());
        let is_short = at_once && meta.len <= self.remote.limits.copy_limit && !marks.apart;
        if options.condition == Condition::Always && options.fence.is_none() && is_short {
            let kept = marks.time_to_live;
            if let Some(time_to_live) = kept {
                self.remote.expect_end(to, time_to_live).await?;
            }
            let (copied, marks) = self.copy_on_the_server(from, to, &marks).await?;
            if let Some(other) = marks.time_to_live.filter(|other| Some(*other) != kept) {
                self.remote.expect_end(to, other).await?;
            }
            // Unless the original was replaced in between by one whose digest is apart.
            if !marks.apart {
                return Ok(Stored::new(copied.etag, copied.len, copied.sha256));
            }
        }
        // Conditions on a copy's target are not honoured widely, and a digest that is apart belongs to one key: the
        // content goes through this host, which then knows the digest from the start.
        let object = self.remote.get(from, &GetOptions::default()).await?.unconditional()?;
        let time_to_live = marks.time_to_live;
        let meta = object.meta().clone();
        let mut put = PutOptions::default().with_condition(options.condition);
        put.expected_digest = meta.sha256;
        put.fence = options.fence;
        put.time_to_live = time_to_live;
        let put = put.described_as(meta);
        self.put(to, object.into(), put).await
    }

    async fn copy_on_the_server(&self, from: &FileKey, to: &FileKey, original: &Marks) -> Result<(Meta, Marks)> {
        let (source, target) = (self.remote.path(from)?, self.remote.path(to)?);
        let replaced = self.remote.peek(to).await.ok().map(|(_, marks)| marks);
        let copy = self.remote.store.copy(&source, &target);
        let result = self.remote.call(Terms::new(Answer::Late), copy).await;
        let copied = match result {
            Ok(()) => match self.remote.peek(to).await {
                // Made, and deleted by somebody else since. The original may be there as it was.
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(lost(error)),
                peeked => peeked?,
            },
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
