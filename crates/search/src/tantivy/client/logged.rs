//! What is acknowledged once it stands in the log.

use std::collections::HashSet;
use std::sync::Arc;

use statehouse_core::Result;

use super::super::error::map_io;
use super::super::log::{Entry, Frame, Unsynced};
use super::super::mapping::Wanted;
use super::super::pending::Change;
use super::super::snapshot::Snapshot;
use super::doubt::NotShown;
use super::{Client, Known, Writer};
use crate::{DocumentId, Outcome};

impl Client {
    /// Writes into the log what is so now of documents, or commits it where the log does not take it.
    pub(super) fn keep<'a>(
        &self,
        writer: &mut Writer,
        snapshot: &Snapshot,
        changed: impl Iterator<Item = (&'a DocumentId, &'a Outcome)>,
    ) -> Result<(), NotShown> {
        let (mut frame, mut seen) = (Frame::new(), HashSet::new());
        let applied = changed.filter(|(_, outcome)| !matches!(outcome, Outcome::Failed(_)));
        let mut ids = applied.map(|(id, _)| id).filter(|id| seen.insert(*id));
        let framed = ids.try_for_each(|id| self.state_of(writer, snapshot, id, &mut frame));
        let Some(log) = &self.log else { return Ok(()) };
        let taken = framed.and_then(|()| log.append(frame).map_err(map_io)).map_err(|cause| {
            // The writer has what is undone now; what is pending goes into a new one.
            (writer.inner, writer.uncommitted) = (None, true);
            writer.counted.lose();
            self.note(&cause);
            NotShown::surely(cause)
        });
        if taken? { Ok(()) } else { self.try_commit(writer) }
    }

    /// What is so of a document, unless a commit holds it. Also where an operation came too late for it: who is told so takes
    /// what is there for as durable.
    fn state_of(&self, writer: &Writer, snapshot: &Snapshot, id: &DocumentId, frame: &mut Frame) -> Result<()> {
        match self.pending.get(id) {
            Some(Change::Written { version, record }) => frame.written(version, &self.mapping.whole(&record)?),
            _ => {
                if let Known::Deleted(version) = self.known(writer, snapshot, id)? {
                    frame.deleted(version, id);
                }
            }
        }
        Ok(())
    }

    /// Does once more what a process that has ended had logged and not committed. It is pending.
    pub(super) fn redo(&self, left: Vec<Entry>) -> Result<()> {
        let mut writer = self.writer();
        let (snapshot, now) = (self.snapshot(), self.config.clock.now());
        for entry in left {
            match entry {
                Entry::Written { version, source } => {
                    let record = self.mapping.record(version, &source, Wanted::All)?;
                    let there = matches!(self.known(&writer, &snapshot, record.id())?, Known::Document(_));
                    self.upsert(&mut writer, record, version, there).map(drop)?;
                }
                Entry::Deleted { version, id } => {
                    let there = matches!(self.known(&writer, &snapshot, &id)?, Known::Document(_));
                    self.delete(&mut writer, id, version, there, now).map(drop)?;
                }
            }
        }
        Ok(())
    }

    /// Lets go of what is in the log: a commit holds it.
    pub(super) fn let_go(&self) {
        if let Some(log) = &self.log {
            log.let_go();
        }
    }

    /// What was logged and is perhaps not durable yet.
    pub(in super::super) fn unsynced(&self) -> Option<Unsynced> {
        self.log.as_ref().and_then(|log: &Arc<_>| log.unsynced())
    }

    /// Whether something waits for a commit.
    pub(in super::super) fn is_behind(&self) -> bool {
        let writer = self.writer();
        writer.uncommitted || writer.deleted.is_changed()
    }

    #[cfg(test)]
    pub(in super::super) const fn log(&self) -> Option<&Arc<super::super::log::Log>> {
        self.log.as_ref()
    }
}
