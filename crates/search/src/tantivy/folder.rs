//! A generation of an index: whether its schema is the one wanted, whether it is whole, and what it no longer needs.
//!
//! `schema.json` is `{"format":1,"fingerprint":"…","schema":{…}}`, sealed. The fingerprint is a SHA-256 in hexadecimal over
//! the number of the mapping and the schema's canonical form: neither the order of fields nor an analyzer that no field
//! uses is in it. Stored documents name fields by their place in this schema, whatever the order of the one given later.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use statehouse_core::{Error, ErrorKind, Result, hex};
use tantivy::Index;
use tantivy::directory::{Directory, DirectoryLock};

use super::error::{BACKEND, map_error, map_io};
use super::generations::{Files, Generations, Pointer, damaged, files, is_of_segment, names, newer};
use super::mapping::Mapping;
use crate::Schema;

const SCHEMA: &str = "schema.json";

/// Tantivy's list of segments, and its list of the files that are its own.
const SEGMENTS: &str = "meta.json";
const FILES: &str = ".managed.json";

const FORMAT: u32 = 1;

/// Changes when the same schema becomes something else in tantivy.
const MAPPING: u32 = 1;

/// An index that is open.
pub(super) struct Opened {
    pub(super) index: Index,
    pub(super) mapping: Mapping,
    /// The folder of the live generation.
    pub(super) generation: PathBuf,
    /// Keeps others out.
    pub(super) lock: DirectoryLock,
}

#[derive(Serialize, Deserialize)]
struct Stored<S> {
    format: u32,
    fingerprint: String,
    schema: S,
}

/// Opens the index of a folder, or makes it if the folder is missing or empty.
///
/// Every file is compared with its checksum, which reads the folder once: nothing is answered from a damaged one.
pub(super) fn open(folder: &Path, schema: Arc<Schema>) -> Result<Opened> {
    let generations = Generations::open(folder)?;
    let pointer = generations.pointer()?;
    generations.sweep(pointer.as_ref())?;
    let (generation, index, mapping) = match pointer {
        Some(Pointer { live, .. }) => {
            let generation = generations.path(&live);
            check(&generation)?;
            let files = files(&generation)?;
            let mapping = Mapping::new(as_stored(&files, &schema)?);
            let index = Index::open_or_create(files, mapping.inner.clone()).map_err(map_error)?;
            check_files(&index)?;
            remove_orphans(&generation, &index)?;
            (generation, index, mapping)
        }
        None => {
            let name = generations.begin()?;
            let generation = generations.path(&name);
            let mapping = Mapping::new(schema);
            let index = create(&files(&generation)?, &mapping)?;
            generations.publish(&Pointer::to(name))?;
            (generation, index, mapping)
        }
    };
    Ok(Opened { index, mapping, generation, lock: generations.into_lock() })
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

fn create(files: &Files, mapping: &Mapping) -> Result<Index> {
    let index = Index::open_or_create(files.clone(), mapping.inner.clone()).map_err(map_error)?;
    let text = encode(&mapping.schema).map_err(|error| unexpected().with_source(error))?;
    files.atomic_write(Path::new(SCHEMA), &text).map_err(map_io)?;
    files.sync_directory().map_err(map_io)?;
    Ok(index)
}

fn encode(schema: &Schema) -> serde_json::Result<Vec<u8>> {
    let fingerprint = fingerprint(schema);
    serde_json::to_vec(&Stored { format: FORMAT, fingerprint, schema })
}

fn fingerprint(schema: &Schema) -> String {
    hex::encode(&Sha256::digest(format!("tantivy {MAPPING}\n{}", schema.canonical())))
}

/// The schema with its fields in the order of the stored one. Refuses one that is another.
fn as_stored(files: &Files, wanted: &Schema) -> Result<Arc<Schema>> {
    let unreadable = || damaged(&format!("its file {SCHEMA} cannot be read"));
    let text = files.atomic_read(Path::new(SCHEMA)).map_err(|error| unreadable().with_source(error))?;
    let stored: Stored<Box<RawValue>> =
        serde_json::from_slice(&text).map_err(|error| unreadable().with_source(error))?;
    if stored.format != FORMAT {
        return Err(newer(&format!("{SCHEMA} has the format {} in place of {FORMAT}", stored.format)));
    }
    let schema = serde_json::from_str::<Schema>(stored.schema.get());
    let schema = schema.map_err(|error| newer("its schema has parts that are not known here").with_source(error))?;
    if stored.fingerprint == fingerprint(wanted) {
        return Ok(Arc::new(wanted.clone().in_the_order_of(&schema)));
    }
    let differences = schema.differences(wanted);
    if differences.is_empty() {
        return Err(newer("it makes something else of the same schema"));
    }
    let what = differences.join(", ");
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
        assert_eq!(String::from_utf8(encode(&schema).unwrap()).unwrap(), golden);
    }
}
