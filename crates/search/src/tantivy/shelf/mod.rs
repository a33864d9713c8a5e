//! The generations of an index that are open, and the one order of what is written to them.

mod both;
mod copied;
mod evolve;
mod filler;
mod mirror;
mod rows;
mod told;
mod unreadable;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use statehouse_core::fence::Marks;
use statehouse_core::{Error, ErrorKind, Result};
use tantivy::directory::RamDirectory;

use self::filler::FilledBy;
pub(super) use self::filler::Filler;
use self::rows::FromRows;
use self::unreadable::Unreadable;
use super::client::{Client, Lock, closed};
use super::config::TantivyConfig;
use super::error::BACKEND;
use super::folder::{self, Storage};
use super::generations::{Generations, Pointer, damaged, newer};
use super::inplace::guarded;
use super::notes::Notes;
use crate::work::Stop;
use crate::{GenerationState, Schema};

/// A generation that is open.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) number: u32,
    pub(super) client: Arc<Client>,
    notes: Arc<Notes>,
    /// Whether it does not hold what the live one does, and is not being filled.
    behind: bool,
    rows: Arc<FromRows>,
    filled_by: Arc<FilledBy>,
}

impl Generation {
    fn new(number: u32, client: Client) -> Self {
        let (notes, rows, filled_by) = (Arc::default(), Arc::default(), Arc::default());
        Self { number, client: Arc::new(client), notes, behind: false, rows, filled_by }
    }

    /// Whether it is being filled, and rows are not all that was filled into it, or are of another time.
    fn holds_what_is_no_row(&self) -> bool {
        let rows = &self.rows;
        self.notes.filling && (rows.came.load(Ordering::Acquire) || !rows.expected.load(Ordering::Acquire))
    }

    /// Whether it can be used with a schema as it is.
    fn serves(&self, wanted: &Schema) -> bool {
        self.client.mapping.schema.diff(wanted).into_added().is_ok_and(|added| added.is_empty())
    }
}

/// The live one, and the one beside it.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) live: Generation,
    pub(super) beside: Option<Generation>,
    /// What stands in its place.
    unreadable: Option<Unreadable>,
}

impl Set {
    const fn alone(live: Generation) -> Self {
        Self { live, beside: None, unreadable: None }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Generation> {
        [Some(&self.live), self.beside.as_ref()].into_iter().flatten()
    }

    fn number(&self, number: u32) -> Option<&Generation> {
        self.all().find(|generation| generation.number == number)
    }

    fn pointer(&self) -> Pointer {
        let unreadable = self.unreadable.iter().map(|unreadable| unreadable.number);
        let kept = self.beside.iter().map(|beside| beside.number).chain(unreadable);
        Pointer { live: name(self.live.number), kept: kept.map(name).collect() }
    }

    pub(super) fn state(&self, generation: &Generation) -> GenerationState {
        match () {
            () if generation.number == self.live.number => GenerationState::Live,
            () if generation.notes.filling => GenerationState::Filling,
            () if generation.behind => GenerationState::Behind,
            () => GenerationState::Kept,
        }
    }

    /// Whether it holds all that it should.
    fn is_whole(&self, generation: &Generation) -> bool {
        matches!(self.state(generation), GenerationState::Live | GenerationState::Kept)
    }
}

fn name(number: u32) -> String {
    format!("{number:06}")
}

/// An index: all handles of this process share it.
pub(super) struct Shelf {
    config: TantivyConfig,
    /// Those of locks that guard the index. No other process writes to it, so they need not be on the disk.
    pub(super) marks: Marks,
    /// The folder, locked until it is closed; none in memory.
    folder: Option<Lock>,
    set: RwLock<Set>,
    /// The highest number of a generation that was dropped.
    dropped: AtomicU32,
    /// How often the set changed: who knows it knows the set.
    epoch: Arc<AtomicU64>,
    closed: AtomicBool,
    /// Bulks share it, and what changes the set has it alone.
    order: RwLock<()>,
    /// Where there are two generations, one bulk after another.
    mirror: Mutex<()>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").field("set", &self.set()).finish_non_exhaustive()
    }
}

impl Shelf {
    /// Opens the index, or makes one of this schema where there is none; by the schema that it has if none is given.
    pub(super) fn open(config: TantivyConfig, schema: Option<&Arc<Schema>>) -> Result<Self> {
        let (folder, set, dropped) = match &config.folder {
            None => {
                let schema = schema.ok_or_else(nothing)?;
                let opened = folder::create(Storage::Memory(RamDirectory::create()), Arc::clone(schema))?;
                (None, Set::alone(Generation::new(1, Client::open(&config, opened, None)?)), 0)
            }
            Some(path) => {
                let generations = Generations::open(path)?;
                let dropped = generations.last_dropped();
                let lock: Lock = Arc::new(Mutex::new(Some(generations)));
                let set = in_folder(&lock, &config, schema)?;
                (Some(lock), set, dropped)
            }
        };
        let (set, epoch) = (RwLock::new(set), Arc::new(AtomicU64::new(1)));
        Ok(Self {
            config,
            marks: Marks::default(),
            folder,
            set,
            dropped: AtomicU32::new(dropped),
            epoch,
            closed: AtomicBool::new(false),
            order: RwLock::default(),
            mirror: Mutex::default(),
        })
    }

    pub(super) fn set(&self) -> Set {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn replace(&self, set: Set) {
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = set;
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn folder(&self) -> Option<MutexGuard<'_, Option<Generations>>> {
        Some(self.folder.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes durable what is live and what stands beside it.
    fn publish(&self, set: &Set) -> Result<()> {
        match self.folder() {
            None => Ok(()),
            Some(generations) => generations.as_ref().ok_or_else(closed)?.publish(&set.pointer()),
        }
    }

    /// Whether it was not closed.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    /// Shows all that was acknowledged, whichever generation a search is of.
    pub(super) fn refresh(&self) -> Result<()> {
        self.set().all().try_for_each(|generation| generation.client.refresh())
    }

    pub(super) fn commit_queued(&self) -> Result<()> {
        self.set().all().try_for_each(|generation| generation.client.commit_queued())
    }

    /// Whether something waits for a commit.
    pub(super) fn is_behind(&self) -> bool {
        self.set().all().any(|generation| generation.client.is_behind())
    }

    pub(super) fn failure(&self) -> Option<Error> {
        self.set().all().find_map(|generation| generation.client.failure())
    }

    pub(super) fn close(&self) -> Result<()> {
        let _alone = self.order.write().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Release);
        // Each is closed, also after one that fails.
        let mut closed = Ok(());
        for generation in self.set().all() {
            closed = closed.and(generation.client.close());
        }
        if let Some(mut generations) = self.folder() {
            *generations = None;
        }
        closed
    }
}

/// The generations of a folder.
fn in_folder(lock: &Lock, config: &TantivyConfig, schema: Option<&Arc<Schema>>) -> Result<Set> {
    let generations = lock.lock().unwrap_or_else(PoisonError::into_inner);
    let generations = generations.as_ref().ok_or_else(closed)?;
    let open = |number: &str, opened| {
        let client = Client::open(config, opened, Some(Arc::clone(lock)))?;
        let notes = client.storage.folder().map_or_else(|| Ok(Notes::default()), Notes::read)?;
        let rows = Arc::new(FromRows::new(false, notes.filling));
        Ok(Generation { notes: Arc::new(notes), rows, ..Generation::new(numbered(number)?, client) })
    };
    let pointer = generations.pointer()?;
    generations.sweep(pointer.as_ref())?;
    let Some(Pointer { live, kept }) = pointer else {
        let schema = schema.ok_or_else(nothing)?;
        let number = generations.begin(0)?;
        let opened = folder::create(Storage::Folder(generations.path(&number)), Arc::clone(schema))?;
        let live = open(&number, opened)?;
        generations.publish(&Pointer::to(number))?;
        return Ok(Set::alone(live));
    };
    let mut live = open(&live, folder::open(&generations.path(&live))?)?;
    if live.notes.filling {
        // The process ended as it had become live.
        live.notes = settled(&live)?;
    }
    if kept.len() > 1 {
        return Err(newer("it keeps several generations beside the live one"));
    }
    let mut set = Set::alone(live);
    if let Some(beside) = kept.first() {
        put_beside(&mut set, beside, &generations.path(beside), open)?;
    }
    Ok(set)
}

/// Opens the generation beside the live one. That serves whether or not it can be read.
fn put_beside(
    set: &mut Set,
    name: &str,
    folder: &Path,
    open: impl Fn(&str, folder::Opened) -> Result<Generation>,
) -> Result<()> {
    let number = numbered(name)?;
    let opened = guarded(|| {
        let beside = open(name, folder::open(folder)?)?;
        let holds = if beside.notes.filling { None } else { Some(beside.client.digest(&Stop::default())?) };
        Ok((beside, holds))
    });
    let (mut beside, holds) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            set.unreadable = Some(Unreadable::of(number, folder, error)?);
            return Ok(());
        }
    };
    if let Some(holds) = holds
        && holds != set.live.client.digest(&Stop::default())?
    {
        // A process may have ended between writing the one and the other, or one that knows of no second has written.
        tracing::info!(name: "search.generation_behind", generation = number, "a generation that was kept is behind the live one");
        beside.behind = true;
    }
    set.beside = Some(beside);
    Ok(())
}

/// Says of a generation that it is filled.
fn settled(generation: &Generation) -> Result<Arc<Notes>> {
    let notes = Notes { filling: false, ..Notes::clone(&generation.notes) };
    if let Some(folder) = generation.client.storage.folder() {
        notes.write(folder)?;
    }
    Ok(Arc::new(notes))
}

/// The number that a folder's name says.
fn numbered(name: &str) -> Result<u32> {
    name.parse().map_err(|error| damaged(&format!("it has a generation {name:?}")).with_source(error))
}

fn nothing() -> Error {
    Error::new(ErrorKind::NotFound, "there is no index").with_backend(BACKEND)
}

#[cfg(test)]
mod tests;
