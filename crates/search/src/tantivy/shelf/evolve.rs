//! Schemas and generations, changed while the index is open.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use statehouse_core::{Error, ErrorKind, Result};
use tantivy::directory::RamDirectory;

use super::super::client::{Client, closed};
use super::super::counted::Taken;
use super::super::error::BACKEND;
use super::super::folder::{self, Storage};
use super::super::generations;
use super::super::notes::Notes;
use super::told::{absent, refusal};
use super::{Filler, FromRows, Generation, Set, Shelf, name, numbered, settled};
use crate::generation::{are_its_names, check_renamed};
use crate::work::Stop;
use crate::{BeginOptions, Digest, DocumentId, Scan, Schema, SchemaDiff, Verify};

impl Shelf {
    /// Sees to it that a generation has this schema, by adding fields if that is all it needs.
    pub(in super::super) fn ensure(&self, wanted: &Schema, stop: &Stop) -> Result<()> {
        self.check_open()?;
        if self.find(wanted, None).is_ok() {
            return Ok(());
        }
        let _alone = self.order.write().unwrap_or_else(PoisonError::into_inner);
        self.check_open().and_then(|()| stop.check())?;
        let mut set = self.set();
        match set.all().find(|generation| generation.serves(wanted)) {
            Some(serving) if set.is_whole(serving) => return Ok(()),
            Some(_) => return Err(refusal(&set, wanted)),
            None => {}
        }
        let lacks = |generation: &Generation| {
            let diff = generation.client.mapping.schema.diff(wanted);
            set.is_whole(generation) && matches!(diff, SchemaDiff::Additive { .. })
        };
        if lacks(&set.live) {
            set.live = self.extended(&set.live, wanted)?;
        } else if let Some(beside) = set.beside.as_ref().filter(|beside| lacks(beside)) {
            set.beside = Some(self.extended(beside, wanted)?);
        } else {
            return Err(refusal(&set, wanted));
        }
        self.replace(set);
        Ok(())
    }

    /// The generation with more fields. Searches that run go on with what they see.
    fn extended(&self, generation: &Generation, wanted: &Schema) -> Result<Generation> {
        let client = &generation.client;
        client.retire()?;
        let opened = folder::extend(client.storage.clone(), client.mapping.extended_by(wanted))?;
        let extended = Client::open(&self.config, opened, self.folder.clone())?;
        if extended.storage.folder().is_none() {
            // On a disk they stand beside it.
            extended.adopt_deletes_of(client)?;
        }
        tracing::info!(name: "search.extended", generation = generation.number, "fields are added to the index");
        Ok(Generation { client: Arc::new(extended), ..generation.clone() })
    }

    /// Begins a generation beside the live one, or goes on with one. Gives its number, and what says that it is being filled.
    pub(in super::super) fn begin(
        &self,
        wanted: &Arc<Schema>,
        options: BeginOptions,
        stop: &Stop,
    ) -> Result<(u32, Arc<Filler>)> {
        let BeginOptions { renamed, from_rows, .. } = options;
        let _alone = self.order.write().unwrap_or_else(PoisonError::into_inner);
        self.check_open().and_then(|()| stop.check())?;
        let mut set = self.set();
        if let Some(unreadable) = &set.unreadable {
            return Err(unreadable.refused());
        }
        let anew = from_rows
            && set
                .beside
                .as_ref()
                .is_some_and(|beside| beside.holds_what_is_no_row() && is_begun(&set.live, beside, wanted, &renamed));
        if let Some(beside) = set.beside.take_if(|_| anew) {
            // What it has of rows may be older than those that come, and nothing says so; what was copied is none of them.
            self.take_out(beside.number, &set)?;
            self.clear(beside.number, Some(&beside.client));
        }
        if let Some(beside) = &set.beside {
            if is_begun(&set.live, beside, wanted, &renamed) {
                return Ok((beside.number, beside.filled_by.join(&self.epoch)));
            }
            let message = format!("generation {} stands beside the live one: drop it first", beside.number);
            return Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND));
        }
        check_renamed(&set.live.client.mapping.schema, wanted, &renamed)?;
        let rows = Arc::new(FromRows::new(from_rows, false));
        let begun = Generation { rows, ..self.make(&set.live, wanted, Notes { filling: true, renamed })? };
        let number = begun.number;
        let filler = begun.filled_by.join(&self.epoch);
        set.beside = Some(begun);
        self.publish(&set)?;
        self.replace(set);
        tracing::info!(name: "search.generation_begun", generation = number, "a generation of the index is begun");
        Ok((number, filler))
    }

    /// An empty generation that knows what was deleted from the live one.
    fn make(&self, live: &Generation, wanted: &Arc<Schema>, notes: Notes) -> Result<Generation> {
        let dropped = self.dropped.load(Ordering::Acquire);
        let (number, storage) = match self.folder() {
            None => (live.number.max(dropped) + 1, Storage::Memory(RamDirectory::create())),
            Some(generations) => {
                let generations = generations.as_ref().ok_or_else(closed)?;
                let number = generations.begin(dropped)?;
                let folder = generations.path(&number);
                notes.write(&folder)?;
                (numbered(&number)?, Storage::Folder(folder))
            }
        };
        let opened = folder::create(storage, Arc::clone(wanted))?;
        let client = Client::open(&self.config, opened, self.folder.clone())?;
        client.adopt_deletes_of(&live.client)?;
        Ok(Generation { notes: Arc::new(notes), ..Generation::new(number, client) })
    }

    pub(in super::super) fn scan(&self, scan: &Scan, stop: &Stop) -> Result<Vec<(DocumentId, u64)>> {
        self.check_open()?;
        let set = self.set();
        let generation = set.number(scan.generation).ok_or_else(|| absent(&set, scan.generation))?;
        generation.client.list(scan.after.as_ref(), scan.limit.max(1), stop)
    }

    /// Makes a generation live.
    pub(in super::super) fn activate(&self, number: u32, verify: Verify, stop: &Stop) -> Result<()> {
        let set = self.set();
        self.check_open()?;
        if set.live.number == number {
            return Ok(());
        }
        if set.beside.as_ref().is_none_or(|beside| beside.number != number) {
            return Err(absent(&set, number));
        }
        // All is read and committed before anybody has to wait.
        let read = Read::of(&set, stop)?;
        let _alone = self.order.write().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        let mut set = self.set();
        if set.live.number == number {
            return Ok(());
        }
        let beside =
            set.beside.as_ref().filter(|beside| beside.number == number).ok_or_else(|| absent(&set, number))?;
        let compared = compared((&set.live, beside), &read, stop)?;
        if verify == Verify::SameAsLive {
            compared.check(number)?;
        }
        // What was queued since is durable before it is live.
        self.refresh()?;
        // It may have been away while others were written.
        beside.client.adopt_deletes_of(&set.live.client)?;
        // Behind this nobody who waits is told that it was not done.
        stop.check()?;
        let notes = Notes { filling: false, ..Notes::clone(&beside.notes) };
        let live = Generation { notes: Arc::new(notes), behind: false, ..beside.clone() };
        set.live.behind = !compared.is_same();
        let swapped = Set { live, beside: Some(set.live), unreadable: None };
        self.publish(&swapped)?;
        // Should the process end here, or this fail, that is done when the folder is opened again.
        if let Err(error) = settled(&swapped.live) {
            tracing::warn!(name: "search.generation_unsettled", generation = number, error = %error, "a generation that is live is noted as one that is being filled");
        }
        self.replace(swapped);
        tracing::info!(name: "search.generation_activated", generation = number, "another generation of the index is live");
        Ok(())
    }

    /// Removes a generation that is not live.
    pub(in super::super) fn remove(&self, number: u32, stop: &Stop) -> Result<()> {
        let alone = self.order.write().unwrap_or_else(PoisonError::into_inner);
        self.check_open().and_then(|()| stop.check())?;
        let mut set = self.set();
        if set.live.number == number {
            let message = format!("generation {number} is live: activate another one first");
            return Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND));
        }
        let gone = set.beside.take_if(|beside| beside.number == number);
        let unreadable = set.unreadable.take_if(|unreadable| unreadable.number == number);
        if gone.is_none() && unreadable.is_none() {
            return Err(absent(&set, number));
        }
        self.take_out(number, &set)?;
        // Others write while its merges end.
        drop(alone);
        self.clear(number, gone.map(|gone| gone.client).as_deref());
        Ok(())
    }

    /// Leaves a generation out of the set: behind this it is swept when the folder is opened again, should anything go wrong.
    fn take_out(&self, number: u32, set: &Set) -> Result<()> {
        let last = self.dropped.load(Ordering::Acquire).max(number);
        if let Some(generations) = self.folder() {
            generations.as_ref().ok_or_else(closed)?.keep_last_dropped(last)?;
        }
        self.publish(set)?;
        self.dropped.store(last, Ordering::Release);
        self.replace(set.clone());
        Ok(())
    }

    /// Removes the files of a generation that was taken out.
    fn clear(&self, number: u32, client: Option<&Client>) {
        let folder = self.folder().and_then(|folder| folder.as_ref().map(|folder| folder.path(&name(number))));
        let closed = client.map_or(Ok(()), Client::retire);
        if let Some(folder) = folder
            && let Err(error) = closed.and_then(|()| generations::remove(&folder))
        {
            tracing::warn!(name: "search.generation_stays", generation = name(number), error = %error, "a generation that was dropped cannot be removed");
        }
    }
}

/// What the live generation holds, and what the one beside it does.
struct Compared {
    live: Digest,
    beside: Digest,
}

impl Compared {
    fn is_same(&self) -> bool {
        self.live == self.beside
    }

    fn check(&self, number: u32) -> Result<()> {
        let Self { live, beside } = self;
        if self.is_same() {
            return Ok(());
        }
        let message = format!(
            "generation {number} does not hold what the live one does: {} documents of {}, or others",
            beside.documents, live.documents
        );
        Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND))
    }
}

/// What was read of generations, each by its client, while others wrote to them.
struct Read(Vec<(Arc<Client>, Taken)>);

impl Read {
    fn of(set: &Set, stop: &Stop) -> Result<Self> {
        let read = |generation: &Generation| Ok((Arc::clone(&generation.client), generation.client.taken(stop)?));
        set.all().map(read).collect::<Result<_>>().map(Self)
    }

    /// What one holds now. Another client than before, as of one that has new fields, is read.
    fn now(&self, client: &Arc<Client>, stop: &Stop) -> Result<Digest> {
        let taken = self.0.iter().find(|(of, _)| Arc::ptr_eq(of, client));
        taken.map_or_else(|| client.digest(stop), |(client, taken)| client.now(taken, stop))
    }
}

fn compared((live, beside): (&Generation, &Generation), read: &Read, stop: &Stop) -> Result<Compared> {
    Ok(Compared { live: read.now(&live.client, stop)?, beside: read.now(&beside.client, stop)? })
}

/// Whether it was begun for this schema with these names.
fn is_begun(live: &Generation, beside: &Generation, wanted: &Schema, renamed: &[(String, String)]) -> bool {
    let (of_live, of_beside) = (&live.notes.renamed, &beside.notes.renamed);
    beside.serves(wanted) && are_its_names((live.number, of_live), (beside.number, of_beside), renamed)
}
