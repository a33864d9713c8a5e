//! How what is pending is committed and shown, and what is known where that fails.

use std::sync::PoisonError;

use statehouse_core::Result;
use tantivy::{IndexMeta, Opstamp};

use super::super::error::map_error;
use super::super::pending::Change;
use super::super::traces::Saved;
use super::doubt::NotShown;
use super::{Client, Payload, Writer, failed, open_writer, why_it_ended};

impl Client {
    /// Sees to it that the writer is there and holds what is pending.
    pub(super) fn revive(&self, writer: &mut Writer) -> Result<()> {
        if writer.inner.is_some() {
            return Ok(());
        }
        let inner = open_writer(&self.index, &self.config)?;
        // What a commit that failed left takes room, and a file of deletes has the name that the next try gives it.
        inner.garbage_collect_files().wait().map_err(map_error)?;
        // The commit that failed may have come as far as the disk.
        self.show()?;
        for (id, change) in self.pending.all() {
            inner.delete_term(self.id_term(&id));
            if let Change::Written { version, record } = change {
                let (document, _) = self.mapping.document(&record, version)?;
                if let Err(error) = inner.add_document(document) {
                    return Err(why_it_ended(inner, error));
                }
            }
        }
        writer.inner = Some(inner);
        Ok(())
    }

    /// Commits what is pending and shows it.
    pub(super) fn commit(&self, writer: &mut Writer) -> Result<()> {
        self.try_commit(writer).map_err(|failed| failed.cause)
    }

    pub(super) fn try_commit(&self, writer: &mut Writer) -> Result<(), NotShown> {
        if !writer.uncommitted && !writer.deleted.is_changed() {
            // What was logged since is what others came too late for, and is committed.
            self.let_go();
            return Ok(());
        }
        self.commit_all(writer).inspect_err(|failed| self.note(&failed.cause))?;
        self.let_go();
        // Until it is shown, gets and versions take it from what is pending, and the next commit tries it again.
        writer.uncommitted = true;
        self.show().inspect_err(|error| self.note(error)).map_err(NotShown::perhaps)?;
        writer.uncommitted = false;
        self.pending.clear();
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Commits what is pending. If that fails it stays pending: a new writer takes it up.
    fn commit_all(&self, writer: &mut Writer) -> Result<(), NotShown> {
        let committed = self.revive(writer).map_err(NotShown::surely).and_then(|()| self.write_all(writer));
        if committed.is_err() {
            // Its threads may have ended, and a rollback that fails leaves a writer that panics.
            writer.inner = None;
            writer.counted.lose();
        }
        committed
    }

    fn write_all(&self, writer: &mut Writer) -> Result<(), NotShown> {
        let deletes = writer.deleted.prepare().map_err(NotShown::surely)?;
        let written = self.write_list(writer, deletes);
        match &written {
            Ok(()) => writer.deleted.commit(),
            Err(failed) if !failed.perhaps => writer.deleted.refute(),
            Err(_) => {}
        }
        written
    }

    fn write_list(&self, writer: &mut Writer, deletes: Option<Saved>) -> Result<(), NotShown> {
        let log = self.log.as_ref().and_then(|log| log.held());
        let payload = Payload { largest_document: self.largest_document(), deletes, log };
        let payload = serde_json::to_string(&payload).map_err(|error| NotShown::surely(failed().with_source(error)))?;
        let inner = writer.inner.as_mut().ok_or_else(|| NotShown::surely(failed()))?;
        let mut prepared = inner.prepare_commit().map_err(|error| NotShown::surely(map_error(error)))?;
        prepared.set_payload(&payload);
        let number = prepared.opstamp();
        prepared.commit().map(drop).map_err(|error| {
            let lacks = self.lacks(number, &payload);
            NotShown { cause: map_error(error), perhaps: !lacks }
        })
    }

    /// Whether a commit that failed surely is not what stands in the folder: it may fail behind the step that puts it there.
    fn lacks(&self, number: Opstamp, payload: &str) -> bool {
        let is_other = |there: IndexMeta| there.opstamp != number || there.payload.as_deref() != Some(payload);
        self.index.load_metas().is_ok_and(is_other)
    }
}
