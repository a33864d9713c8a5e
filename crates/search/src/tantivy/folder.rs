//! A generation of an index: its schema, whether it is whole, and what it no longer needs.
//!
//! `schema.json` is `{"format":1,"fingerprint":"…","schema":{…}}`, sealed. The fingerprint is a SHA-256 in hexadecimal over
//! the number of the mapping and the schema's canonical form: neither the order of fields nor an analyzer that no field
//! uses is in it. Stored documents name fields by their place in this schema, whatever the order of the one given later.
//! Where fields were added, `"layers":[5]` says how many there were before.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use statehouse_core::{Error, ErrorKind, Result, hex};
use tantivy::Index;
use tantivy::directory::{Directory, RamDirectory};

use super::error::{BACKEND, map_error, map_io};
use super::generations::{damaged, files, is_of_segment, names, newer};
use super::mapping::Mapping;
use crate::Schema;

const SCHEMA: &str = "schema.json";

/// Tantivy's list of segments, and its list of the files that are its own.
const SEGMENTS: &str = "meta.json";
const FILES: &str = ".managed.json";

const FORMAT: u32 = 1;

/// Changes when the same schema becomes something else in tantivy.
const MAPPING: u32 = 1;

/// Where a generation is.
#[derive(Clone, Debug)]
pub(super) enum Storage {
    Memory(RamDirectory),
    Folder(PathBuf),
}

impl Storage {
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Memory(_) => None,
            Self::Folder(folder) => Some(folder),
        }
    }

    fn directory(&self) -> Result<Box<dyn Directory>> {
        Ok(match self {
            Self::Memory(directory) => Box::new(directory.clone()),
            Self::Folder(folder) => Box::new(files(folder)?),
        })
    }
}

/// An index that is open.
pub(super) struct Opened {
    pub(super) index: Index,
    pub(super) mapping: Mapping,
    pub(super) storage: Storage,
}

#[derive(Serialize, Deserialize)]
struct Stored<S> {
    format: u32,
    fingerprint: String,
    schema: S,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<usize>,
}

/// Opens a generation in a folder.
///
/// Every file is compared with its checksum, which reads the folder once: nothing is answered from a damaged one.
pub(super) fn open(generation: &Path) -> Result<Opened> {
    check(generation)?;
    let mapping = stored(generation)?;
    let opened = attach(Storage::Folder(generation.to_owned()), mapping)?;
    check_files(&opened.index)?;
    remove_orphans(generation, &opened.index)?;
    Ok(opened)
}

/// Opens what holds an index of this mapping, or of the one before fields were added: the schema is written first, and the
/// process may have ended then.
fn attach(storage: Storage, mapping: Mapping) -> Result<Opened> {
    let directory = storage.directory()?;
    if let Some(before) = mapping.before()
        && Index::open(directory.clone()).map_err(map_error)?.schema() == before
    {
        tell(&*directory, &mapping)?;
    }
    let index = Index::open_or_create(directory, mapping.inner.clone()).map_err(map_error)?;
    Ok(Opened { index, mapping, storage })
}

/// Makes an empty index.
pub(super) fn create(storage: Storage, schema: Arc<Schema>) -> Result<Opened> {
    let (directory, mapping) = (storage.directory()?, Mapping::new(schema, Vec::new()));
    let index = Index::open_or_create(directory, mapping.inner.clone()).map_err(map_error)?;
    if let Storage::Folder(folder) = &storage {
        write(folder, &mapping)?;
    }
    Ok(Opened { index, mapping, storage })
}

/// Adds fields to an index that nobody has open.
pub(super) fn extend(storage: Storage, mapping: Mapping) -> Result<Opened> {
    if let Storage::Folder(folder) = &storage {
        write(folder, &mapping)?;
    }
    attach(storage, mapping)
}

fn write(folder: &Path, mapping: &Mapping) -> Result<()> {
    let files = files(folder)?;
    let text = encode(mapping).map_err(|error| unexpected().with_source(error))?;
    files.atomic_write(Path::new(SCHEMA), &text).map_err(map_io)?;
    files.sync_directory().map_err(map_io)
}

/// Tells tantivy of fields that were added behind those that it knows.
fn tell(directory: &dyn Directory, mapping: &Mapping) -> Result<()> {
    let path = Path::new(SEGMENTS);
    let unreadable = || damaged(&format!("its file {SEGMENTS} cannot be read"));
    let text = directory.atomic_read(path).map_err(|error| unreadable().with_source(error))?;
    let list: serde_json::Map<_, _> = serde_json::from_slice(&text).map_err(|error| unreadable().with_source(error))?;
    let schema = serde_json::to_value(&mapping.inner).map_err(|error| unexpected().with_source(error))?;
    let list: serde_json::Value = list.into_iter().chain([("schema".to_owned(), schema)]).collect();
    directory.atomic_write(path, list.to_string().as_bytes()).map_err(map_io)?;
    directory.sync_directory().map_err(map_io)
}

/// Whether a generation is where it was, and none of its own files is missing.
pub(super) fn check(generation: &Path) -> Result<()> {
    for name in [SEGMENTS, FILES, SCHEMA] {
        match generation.join(name).try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(damaged(&format!("its file {name} is missing"))),
            Err(error) => return Err(map_io(error)),
        }
    }
    Ok(())
}

/// Makes a file and removes it. Its name is one of those that are swept.
pub(super) fn probe(generation: &Path) -> Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!(".tmp-probe-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    statehouse_core::folder::probe(&generation.join(name)).map_err(map_io)
}

fn encode(mapping: &Mapping) -> serde_json::Result<Vec<u8>> {
    let fingerprint = fingerprint(&mapping.schema);
    let layers = mapping.layers.clone();
    serde_json::to_vec(&Stored { format: FORMAT, fingerprint, schema: &*mapping.schema, layers })
}

fn fingerprint(schema: &Schema) -> String {
    hex::encode(&Sha256::digest(format!("tantivy {MAPPING}\n{}", schema.canonical())))
}

/// The schema that is stored, whatever became of the rest.
pub(super) fn schema(generation: &Path) -> Result<Arc<Schema>> {
    stored(generation).map(|mapping| mapping.schema)
}

/// The mapping of the stored schema. Refuses what another release has made of it.
fn stored(generation: &Path) -> Result<Mapping> {
    let unreadable = || damaged(&format!("its file {SCHEMA} cannot be read"));
    let text = files(generation)?.atomic_read(Path::new(SCHEMA)).map_err(|error| unreadable().with_source(error))?;
    let stored: Stored<Box<RawValue>> =
        serde_json::from_slice(&text).map_err(|error| unreadable().with_source(error))?;
    if stored.format != FORMAT {
        return Err(newer(&format!("{SCHEMA} has the format {} in place of {FORMAT}", stored.format)));
    }
    let schema = serde_json::from_str::<Schema>(stored.schema.get());
    let schema = schema.map_err(|error| newer("its schema has parts that are not known here").with_source(error))?;
    if stored.fingerprint != fingerprint(&schema) {
        return Err(newer("it makes something else of the same schema"));
    }
    if !stored.layers.is_sorted() || stored.layers.last().is_some_and(|last| *last > schema.fields().len()) {
        return Err(unreadable());
    }
    Ok(Mapping::new(Arc::new(schema), stored.layers))
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
            tracing::warn!(name: "search.file_not_removed", file = name, error = %error, "a file that the index no longer needs cannot be removed");
        }
    }
    Ok(())
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Unexpected, "the schema cannot be stored").with_backend(BACKEND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    #[test]
    fn the_bytes_of_a_schema_are_these() {
        let schema = Schema::builder().field(Field::keyword("code").sortable()).build().unwrap();
        let golden = concat!(
            r#"{"format":1,"fingerprint":"d2390f1e47685021a26f509bc8ad4a6e2366adbbd0817fcf9a0178a1b0ee320d","#,
            r#""schema":{"fields":[{"name":"code","kind":{"Keyword":{"normalizer":{"filters":[]}}},"indexed":true,"stored":true,"sortable":true,"source":null,"sub_fields":[]}],"analyzers":{"standard":{"tokenizer":"Standard","filters":["Lowercase"]}}}}"#
        );
        let mapping = Mapping::new(Arc::new(schema), Vec::new());
        assert_eq!(String::from_utf8(encode(&mapping).unwrap()).unwrap(), golden);
        let wanted = Schema::builder().field(Field::u64("uses")).build().unwrap();
        let extended = String::from_utf8(encode(&mapping.extended_by(&wanted)).unwrap()).unwrap();
        assert!(extended.ends_with(r#","layers":[1]}"#), "{extended}");
    }
}
