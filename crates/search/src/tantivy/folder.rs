//! The folder of an index: whether it is one, whether it is whole, and what it no longer needs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use statehouse_core::{Error, ErrorKind, Result};
use tantivy::Index;
use tantivy::directory::{Directory, INDEX_WRITER_LOCK};

use super::error::{BACKEND, map_error, map_io};
use super::mapping::Mapping;
use super::sealed::SealedDirectory;
use crate::Schema;

/// Where the schema is kept, beside tantivy's files. It is written last: where it is, there was a whole index.
const SCHEMA: &str = "statehouse-schema.json";

/// Tantivy's list of segments, and its list of the files that are its own.
const SEGMENTS: &str = "meta.json";
const FILES: &str = ".managed.json";

/// Opens the index of a folder, or makes it if the folder is missing or empty.
///
/// Every file is compared with its checksum, which reads the folder once: nothing is answered from a damaged one.
pub(super) fn open(folder: &Path, mapping: &Mapping) -> Result<Index> {
    make(folder)?;
    // Nothing is put into a folder of something else.
    found(folder)?;
    #[cfg(unix)]
    let inner = super::private::PrivateDirectory::open(folder)?;
    #[cfg(not(unix))]
    let inner = tantivy::directory::MmapDirectory::open(folder).map_err(|error| map_error(error.into()))?;
    let directory = SealedDirectory::new(inner);
    // Whoever writes may replace any file while it is checked.
    let lock = directory.acquire_lock(&INDEX_WRITER_LOCK);
    let lock = lock.map_err(|error| map_error(tantivy::TantivyError::LockFailure(error, None)))?;
    let index = match found(folder)? {
        Found::Nothing => create(&directory, mapping)?,
        Found::Index => {
            check_schema(&directory, &mapping.schema)?;
            let index = Index::open_or_create(directory, mapping.inner.clone()).map_err(map_error)?;
            check_files(&index)?;
            remove_orphans(folder, &index)?;
            index
        }
    };
    drop(lock);
    Ok(index)
}

/// Whether the index is still where it was opened.
pub(super) fn check(folder: &Path) -> Result<()> {
    match folder.join(SEGMENTS).try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(damaged(&format!("its file {SEGMENTS} is missing"))),
        Err(error) => Err(map_io(error)),
    }
}

fn make(folder: &Path) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        return Err(not_ours(folder, "it is not a folder"));
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            not_ours(folder, "a part of its path is not a folder").with_source(error)
        }
        _ => map_io(error),
    })
}

enum Found {
    Nothing,
    Index,
}

/// What is in a folder.
fn found(folder: &Path) -> Result<Found> {
    let names = names(folder)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    if has(SCHEMA) {
        return match [SEGMENTS, FILES].into_iter().find(|name| !has(name)) {
            None => Ok(Found::Index),
            Some(missing) => Err(damaged(&format!("its file {missing} is missing"))),
        };
    }
    if names.iter().any(|name| is_of_segment(name)) {
        return Err(damaged(&format!("its file {SCHEMA} is missing")));
    }
    match names.iter().find(|name| !is_of_beginning(name)) {
        None => Ok(Found::Nothing),
        Some(other) => {
            Err(not_ours(folder, &format!("it holds {other:?} and no index; give the index a folder of its own")))
        }
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).map_err(map_io)?;
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|e| e.file_name().to_string_lossy().into_owned());
    entries.map(name).collect::<std::io::Result<_>>().map_err(map_io)
}

/// Whether tantivy gave a file its name for a segment: 32 hexadecimal digits and an ending.
fn is_of_segment(name: &str) -> bool {
    let digits = name.bytes().take_while(u8::is_ascii_hexdigit).count();
    digits == 32 && name[digits..].starts_with('.')
}

/// Whether a file may be there before the index is: what was left when its making was cut off, and what a file system
/// puts into its root.
fn is_of_beginning(name: &str) -> bool {
    let lock = name.starts_with(".tantivy-") && name.ends_with(".lock");
    lock || name.starts_with(".tmp") || [SEGMENTS, FILES, "lost+found"].contains(&name)
}

fn create(directory: &(impl Directory + Clone), mapping: &Mapping) -> Result<Index> {
    for name in [SEGMENTS, FILES] {
        let path = Path::new(name);
        if directory.exists(path).map_err(|error| map_error(error.into()))? {
            directory.delete(path).map_err(|error| map_io(std::io::Error::other(error)))?;
        }
    }
    let index = Index::open_or_create(directory.clone(), mapping.inner.clone()).map_err(map_error)?;
    let text = serde_json::to_vec_pretty(&*mapping.schema)
        .map_err(|error| Error::new(ErrorKind::Unexpected, "the schema cannot be stored").with_source(error))?;
    directory.atomic_write(Path::new(SCHEMA), &text).map_err(map_io)?;
    Ok(index)
}

/// Refuses an index that was written with another schema.
fn check_schema(directory: &(impl Directory + Clone), wanted: &Schema) -> Result<()> {
    let unreadable = || damaged(&format!("its file {SCHEMA} cannot be read"));
    let text = directory.atomic_read(Path::new(SCHEMA)).map_err(|error| unreadable().with_source(error))?;
    let stored: Schema = serde_json::from_slice(&text).map_err(|error| unreadable().with_source(error))?;
    if stored == *wanted {
        return Ok(());
    }
    let differences = stored.differences(wanted);
    let what = if differences.is_empty() { "fields are in another order".to_owned() } else { differences.join(", ") };
    let message = format!("the folder's index has another schema ({what}); build it anew from its source");
    Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND))
}

fn check_files(index: &Index) -> Result<()> {
    let damaged_files = index.validate_checksum().map_err(map_error)?;
    match damaged_files.iter().min() {
        None => Ok(()),
        Some(first) => Err(damaged(&format!("its file {} has another checksum than it says", first.display()))),
    }
}

/// Removes what a process that was killed had begun to write.
fn remove_orphans(folder: &Path, index: &Index) -> Result<()> {
    let living: HashSet<PathBuf> = index.load_metas().map_err(map_error)?.list_segment_files();
    for name in names(folder)? {
        let orphan = (is_of_segment(&name) && !living.contains(Path::new(&name))) || name.starts_with(".tmp");
        if orphan && let Err(error) = std::fs::remove_file(folder.join(&name)) {
            tracing::warn!(file = name, error = %error, "a file that the index no longer needs cannot be removed");
        }
    }
    Ok(())
}

fn damaged(what: &str) -> Error {
    let message = format!("the folder's index is damaged: {what}; rebuild it from its source");
    Error::new(ErrorKind::Corrupt, message).with_backend(BACKEND)
}

fn not_ours(folder: &Path, why: &str) -> Error {
    let message = format!("{} cannot hold an index: {why}", folder.display());
    Error::new(ErrorKind::InvalidConfig, message).with_backend(BACKEND)
}
