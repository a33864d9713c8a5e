//! Which files belong to a list of segments. A file carries a checksum of its own, and so does one that was exchanged for
//! another segment's, or brought back from an older commit: that it is the right one only the list can say.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tantivy::directory::Directory;
use tantivy::directory::error::OpenReadError;

/// What stands between tantivy's list and the prints of its files, a JSON object of names with length and CRC-32.
const MARK: &[u8] = b"\n#files ";

/// How much of a file's end is looked at. Tantivy's footer is shorter, and has the checksum of all that stands before.
const END: usize = 128;

/// The endings of a segment's files.
const ENDINGS: [&str; 6] = ["idx", "pos", "term", "store", "fast", "fieldnorm"];

/// The length of a file, and the CRC-32 of its end.
type Print = (u64, u32);

/// The files that were looked at: tantivy never changes one that is whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<BTreeMap<PathBuf, Print>>>);

/// Of tantivy's list of segments what names their files.
#[derive(Deserialize)]
struct Meta {
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    segment_id: String,
    deletes: Option<Deletes>,
}

#[derive(Deserialize)]
struct Deletes {
    opstamp: u64,
}

impl Segment {
    fn files(&self) -> impl Iterator<Item = String> {
        let id = self.segment_id.replace('-', "");
        let deletes = self.deletes.as_ref().map(|deletes| format!("{id}.{}.del", deletes.opstamp));
        ENDINGS.into_iter().map(move |ending| format!("{id}.{ending}")).chain(deletes)
    }
}

impl Seen {
    /// The list, and the prints of the files that it names.
    pub(super) fn list(&self, directory: &impl Directory, content: &[u8]) -> io::Result<Vec<u8>> {
        let meta: Meta = serde_json::from_slice(content)?;
        let mut prints = BTreeMap::new();
        for name in meta.segments.iter().flat_map(Segment::files) {
            if let Some(print) = self.print(directory, &name)? {
                prints.insert(name, print);
            }
        }
        Ok([content, MARK, &serde_json::to_vec(&prints)?].concat())
    }

    /// The list alone, if all of its files are those that it was written with.
    pub(super) fn check(&self, directory: &impl Directory, mut listed: Vec<u8>) -> io::Result<Vec<u8>> {
        let other = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let at = listed.windows(MARK.len()).rposition(|bytes| bytes == MARK);
        let at = at.ok_or_else(|| other("the list of segments does not say which files belong to it"))?;
        let prints: BTreeMap<String, Print> = serde_json::from_slice(&listed[at + MARK.len()..])?;
        for (name, print) in prints {
            if self.print(directory, &name)? != Some(print) {
                return Err(other(&format!("the file {name} is not the one that belongs to the list of segments")));
            }
        }
        listed.truncate(at);
        Ok(listed)
    }

    pub(super) fn forget(&self, path: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// None of a file that is not there: a segment has only those that its fields need.
    fn print(&self, directory: &impl Directory, name: &str) -> io::Result<Option<Print>> {
        let path = Path::new(name);
        if let Some(print) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(Some(*print));
        }
        let file = match directory.get_file_handle(path) {
            Err(OpenReadError::FileDoesNotExist(_)) => return Ok(None),
            file => file.map_err(io::Error::other)?,
        };
        let end = file.read_bytes(file.len().saturating_sub(END)..file.len())?;
        let print = (file.len() as u64, crc32fast::hash(&end));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), print);
        Ok(Some(print))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tantivy::directory::{RamDirectory, TerminatingWrite as _};

    use super::*;

    const LIST: &[u8] =
        br#"{"segments":[{"segment_id":"0a-1b","max_doc":1,"deletes":{"num_deleted_docs":1,"opstamp":7}}]}"#;

    fn directory(files: &[(&str, &str)]) -> RamDirectory {
        let directory = RamDirectory::default();
        for (name, content) in files {
            let mut file = directory.open_write(Path::new(name)).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            file.terminate().unwrap();
        }
        directory
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let long = "x".repeat(200);
        let directory = directory(&[("0a1b.idx", &long), ("0a1b.7.del", "d"), ("0a1b.6.del", "older"), ("other", "o")]);
        let listed = Seen::default().list(&directory, LIST).unwrap();
        let (end, d) = (crc32fast::hash(&long.as_bytes()[72..]), crc32fast::hash(b"d"));
        let golden = format!("\n#files {{\"0a1b.7.del\":[1,{d}],\"0a1b.idx\":[200,{end}]}}");
        assert_eq!(listed, [LIST, golden.as_bytes()].concat());
        assert_eq!(Seen::default().check(&directory, listed).unwrap(), LIST);
    }

    #[test]
    fn what_is_missing_longer_or_another_is_told_by_its_name() {
        let whole = [("0a1b.idx", "one"), ("0a1b.7.del", "two")];
        let listed = Seen::default().list(&directory(&whole), LIST).unwrap();
        for other in [&whole[..1], &[whole[0], ("0a1b.7.del", "owt")], &[whole[0], ("0a1b.7.del", "twoo")]] {
            let error = Seen::default().check(&directory(other), listed.clone()).unwrap_err();
            assert!(error.to_string().contains("0a1b.7.del"), "{error}");
        }
        assert!(Seen::default().check(&directory(&whole), LIST.to_vec()).is_err(), "a list without prints");
    }
}
