//! What a generation is for, in its file `generation.json`: `{"filling":true,"renamed":[["title","name"]]}`, sealed. The
//! first generation of an index has none.

use std::path::Path;

use serde::{Deserialize, Serialize};
use statehouse_core::Result;
use tantivy::directory::Directory as _;

use super::error::{map_error, map_io};
use super::generations::{damaged, files};

const NAME: &str = "generation.json";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Whether it does not hold yet what it should.
    pub(super) filling: bool,
    /// Fields of the generation before that have another name in this one: old and new.
    pub(super) renamed: Vec<(String, String)>,
}

impl Notes {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let (files, path) = (files(folder)?, Path::new(NAME));
        if !files.exists(path).map_err(|error| map_error(error.into()))? {
            return Ok(Self::default());
        }
        let unreadable = || damaged(&format!("its file {NAME} cannot be read"));
        let text = files.atomic_read(path).map_err(|error| unreadable().with_source(error))?;
        serde_json::from_slice(&text).map_err(|error| unreadable().with_source(error))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let files = files(folder)?;
        let text = serde_json::to_vec(self).map_err(|error| map_io(error.into()))?;
        files.atomic_write(Path::new(NAME), &text).map_err(map_io)?;
        files.sync_directory().map_err(map_io)
    }

    /// The name that a field of the generation before has in this one.
    pub(super) fn newer<'a>(&'a self, field: &'a str) -> &'a str {
        self.renamed.iter().find(|(old, _)| old == field).map_or(field, |(_, new)| new)
    }

    /// The name that a field of this generation has in the one before.
    pub(super) fn older<'a>(&'a self, field: &'a str) -> &'a str {
        self.renamed.iter().find(|(_, new)| new == field).map_or(field, |(old, _)| old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_these() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Notes::read(folder.path()).unwrap(), Notes::default());
        let notes = Notes { filling: true, renamed: vec![("title".to_owned(), "name".to_owned())] };
        notes.write(folder.path()).unwrap();
        let bytes = std::fs::read(folder.path().join(NAME)).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (golden, _) = text.split_once("\n#crc32 ").unwrap();
        assert_eq!(golden, r#"{"filling":true,"renamed":[["title","name"]]}"#);
        assert_eq!(Notes::read(folder.path()).unwrap(), notes);
        assert_eq!((notes.newer("title"), notes.older("name"), notes.newer("other")), ("name", "title", "other"));
        std::fs::write(folder.path().join(NAME), "{}").unwrap();
        assert_eq!(Notes::read(folder.path()).unwrap_err().kind(), statehouse_core::ErrorKind::Corrupt);
    }
}
