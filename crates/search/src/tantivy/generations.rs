//! The folder of an index, which holds its generations. Its files are told in the documentation of `TantivyIndex`.
//!
//! On a server the same index is the alias `concepts` of an index `concepts-000001`.
//!
//! The pointer is text: `statehouse-search 1`, the format; `live 000001`; and a line `kept 000002` for each other generation
//! that must stay, one that is being filled or one to go back to. Any other generation was not finished, or is no longer
//! wanted, and is swept when the index is opened: a folder with such a number and nothing in it but files of a generation. Another generation is made live by writing the pointer anew: to a file
//! beside it, synced, and renamed. Readers of the old one may go on, as with any file that is removed.
//!
//! `last-generation` is the highest number of those that were dropped, as text: none of them is used again, for whoever still
//! has an old handle or an old number would mean another one by it. It stands beside the pointer, which other releases read.
//!
//! These two, `schema.json`, `meta.json` and `.managed.json` are sealed, see `sealed`.

use std::path::{Path, PathBuf};

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tantivy::directory::{Directory, DirectoryLock, Lock};

use super::error::{BACKEND, map_error, map_io};
use super::sealed::SealedDirectory;

#[cfg(unix)]
pub(super) type Files = SealedDirectory<super::private::PrivateDirectory>;
#[cfg(not(unix))]
pub(super) type Files = SealedDirectory<tantivy::directory::MmapDirectory>;

/// A folder's files.
pub(super) fn files(folder: &Path) -> Result<Files> {
    #[cfg(unix)]
    let inner = super::private::PrivateDirectory::open(folder)?;
    #[cfg(not(unix))]
    let inner = tantivy::directory::MmapDirectory::open(folder).map_err(|error| map_error(error.into()))?;
    Ok(SealedDirectory::new(inner))
}

const POINTER: &str = "statehouse-search";
const LAST: &str = "last-generation";
const LOCK: &str = ".statehouse-writer.lock";
const FORMAT: &str = "statehouse-search 1";

/// The folder, locked for as long as this is there.
pub(super) struct Generations {
    folder: PathBuf,
    files: Files,
    /// Keeps other processes out.
    _lock: DirectoryLock,
}

/// What the pointer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) live: String,
    pub(super) kept: Vec<String>,
}

impl Generations {
    /// Locks a folder, which is made if it is missing. Nothing is put into a folder of something else.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        make(folder)?;
        check_contents(folder)?;
        let files = files(folder)?;
        let lock = files.acquire_lock(&Lock { filepath: LOCK.into(), is_blocking: false });
        let lock = lock.map_err(|error| map_error(tantivy::TantivyError::LockFailure(error, None)))?;
        check_contents(folder)?;
        Ok(Self { folder: folder.to_owned(), files, _lock: lock })
    }

    pub(super) fn path(&self, generation: &str) -> PathBuf {
        self.folder.join(generation)
    }

    /// What is live and kept; `None` if nothing was made live yet.
    pub(super) fn pointer(&self) -> Result<Option<Pointer>> {
        let path = Path::new(POINTER);
        if !self.files.exists(path).map_err(|error| map_error(error.into()))? {
            return Ok(None);
        }
        let unreadable = || damaged(&format!("its file {POINTER} cannot be read"));
        let text = self.files.atomic_read(path).map_err(|error| unreadable().with_source(error))?;
        Pointer::parse(&text).map(Some)
    }

    /// The highest number of those that were dropped; none if that cannot be read, for it is no reason not to open the rest.
    pub(super) fn last_dropped(&self) -> u32 {
        let path = Path::new(LAST);
        if !self.files.exists(path).unwrap_or_default() {
            return 0;
        }
        let text = self.files.atomic_read(path).unwrap_or_default();
        let last = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
        last.unwrap_or_else(|| {
            tracing::warn!(name: "search.last_generation_unknown", "the file {LAST} cannot be read: numbers of generations may be used again");
            0
        })
    }

    /// Keeps the number of one that is to be dropped.
    pub(super) fn keep_last_dropped(&self, number: u32) -> Result<()> {
        self.files.atomic_write(Path::new(LAST), number.to_string().as_bytes()).map_err(map_io)
    }

    /// A new generation, which is swept unless it is made live or kept. It has a higher number than those there are, and this.
    pub(super) fn begin(&self, above: u32) -> Result<String> {
        let names = names(&self.folder)?;
        let ours = names.iter().filter(|name| self.is_ours(name)).filter_map(|name| number(name));
        let next = ours.fold(above, u32::max).checked_add(1);
        // What somebody else has put there stays.
        let free = next.into_iter().flat_map(|next| next..=u32::MAX).map(|number| format!("{number:06}"));
        let name = free.into_iter().find(|name| !names.contains(name));
        let name = name.ok_or_else(|| not_ours(&self.folder, "it has no number left for a generation"))?;
        make(&self.path(&name))?;
        Ok(name)
    }

    /// Whether this is a generation, and nothing is in it that is not of one: others, too, call folders by numbers.
    fn is_ours(&self, name: &str) -> bool {
        let of_ours = |name: &String| is_of_segment(name) || is_of_generation(name);
        is_generation(name) && names(&self.path(name)).is_ok_and(|within| within.iter().all(of_ours))
    }

    /// Makes what the pointer names live, at once and for good.
    pub(super) fn publish(&self, pointer: &Pointer) -> Result<()> {
        self.files.sync_directory().map_err(map_io)?;
        self.files.atomic_write(Path::new(POINTER), &pointer.to_bytes()).map_err(map_io)?;
        self.files.sync_directory().map_err(map_io)
    }

    /// Removes the generations that the pointer does not name, and what was left of writing it.
    pub(super) fn sweep(&self, pointer: Option<&Pointer>) -> Result<()> {
        let named = |name: &String| pointer.is_some_and(|pointer| pointer.live == *name || pointer.kept.contains(name));
        for name in names(&self.folder)? {
            let removed = if !named(&name) && self.is_ours(&name) {
                tracing::info!(name: "search.generation_removed", generation = name, "a generation of the index that is not live is removed");
                remove(&self.path(&name))
            } else if name.starts_with(".tmp") {
                std::fs::remove_file(self.path(&name)).map_err(map_io)
            } else {
                Ok(())
            };
            if let Err(error) = removed {
                // What is not named is in nobody's way.
                tracing::warn!(name: "search.file_not_removed", file = name, error = %error, "a file that the index no longer needs cannot be removed");
            }
        }
        Ok(())
    }
}

/// Removes what stands in the place of a generation.
pub(super) fn remove(generation: &Path) -> Result<()> {
    let is_folder = std::fs::symlink_metadata(generation).map(|found| found.is_dir());
    let removed = match is_folder {
        Ok(true) => std::fs::remove_dir_all(generation),
        Ok(false) => std::fs::remove_file(generation),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(map_io),
    }
}

impl Pointer {
    pub(super) const fn to(live: String) -> Self {
        Self { live, kept: Vec::new() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let kept = self.kept.iter().map(|name| format!("\nkept {name}"));
        format!("{FORMAT}\nlive {}{}", self.live, kept.collect::<String>()).into_bytes()
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text).unwrap_or_default();
        let (format, lines) = text.split_once('\n').unwrap_or((text, ""));
        if format != FORMAT {
            return Err(newer(&format!("its file {POINTER} begins with {format:?} in place of {FORMAT:?}")));
        }
        let (mut live, mut kept) = (None, Vec::new());
        for line in lines.lines() {
            match line.split_once(' ') {
                Some(("live", name)) if is_generation(name) && live.is_none() => live = Some(name.to_owned()),
                Some(("kept", name)) if is_generation(name) => kept.push(name.to_owned()),
                _ => return Err(damaged(&format!("its file {POINTER} has the line {line:?}"))),
            }
        }
        let live = live.ok_or_else(|| damaged(&format!("its file {POINTER} names no generation")))?;
        Ok(Self { live, kept })
    }
}

fn is_generation(name: &str) -> bool {
    number(name).is_some()
}

/// The number of a generation of this name.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number| *name == format!("{number:06}"))
}

/// Whether tantivy gave a file its name for a segment: 32 hexadecimal digits and an ending.
pub(super) fn is_of_segment(name: &str) -> bool {
    let digits = name.bytes().take_while(u8::is_ascii_hexdigit).count();
    digits == 32 && name[digits..].starts_with('.')
}

/// Refuses a folder of something else, and one whose pointer is gone although there was something.
fn check_contents(folder: &Path) -> Result<()> {
    let names = names(folder)?;
    if names.iter().any(|name| name == POINTER) {
        return Ok(());
    }
    let other = |name: &str| {
        Err(not_ours(folder, &format!("it holds {name:?} and no index; give the index a folder of its own")))
    };
    // Others, too, have folders that are called by numbers, such as 202401. Ours are made under the lock.
    let locked = names.iter().any(|name| name == LOCK);
    if locked && names.iter().any(|name| name == LAST) {
        return Err(damaged(&format!("its file {POINTER} is missing")));
    }
    for name in &names {
        let left = is_generation(name) || name.starts_with(".tmp");
        if is_generation(name) {
            let within = self::names(&folder.join(name))?;
            if within.iter().any(|name| is_of_segment(name)) {
                return Err(damaged(&format!("its file {POINTER} is missing")));
            }
            if !within.iter().all(|name| is_of_generation(name)) {
                return other(name);
            }
        }
        // What a file system puts into its root, and what was left when the making of an index was cut off.
        if name != LOCK && name != "lost+found" && !(left && locked) {
            return other(name);
        }
    }
    Ok(())
}

/// Whether this is a file of a generation that has no segment yet.
fn is_of_generation(name: &str) -> bool {
    ["schema.json", "meta.json", "generation.json"].contains(&name)
        || name.starts_with('.')
        || name.starts_with("deletes-")
        || name.starts_with("log-")
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

pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).map_err(map_io)?;
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|e| e.file_name().to_string_lossy().into_owned());
    entries.map(name).collect::<std::io::Result<_>>().map_err(map_io)
}

pub(super) fn damaged(what: &str) -> Error {
    let message = format!("the folder's index is damaged: {what}; rebuild it from its source");
    Error::new(ErrorKind::Corrupt, message).with_backend(BACKEND)
}

pub(super) fn newer(what: &str) -> Error {
    let message = format!("the folder's index was written by another release: {what}; build it anew from its source");
    Error::new(ErrorKind::Conflict, message).with_backend(BACKEND).with_retry(Retry::Never)
}

fn not_ours(folder: &Path, why: &str) -> Error {
    let message = format!("{} cannot hold an index: {why}", folder.display());
    Error::new(ErrorKind::InvalidConfig, message).with_backend(BACKEND)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn whole(generations: &Generations) -> String {
        let name = generations.begin(0).unwrap();
        std::fs::write(generations.path(&name).join(format!("{}.store", "0a".repeat(16))), "a segment").unwrap();
        name
    }

    fn folders(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = names(folder).unwrap().into_iter().filter(|name| is_generation(name)).collect();
        names.sort();
        names
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path()).unwrap();
        generations.publish(&Pointer::to("000001".to_owned())).unwrap();
        let read = || std::fs::read(folder.path().join("statehouse-search")).unwrap();
        let golden = b"statehouse-search 1\nlive 000001\n#crc32 3faf95a9\n";
        assert_eq!(read(), golden, "{:?}", String::from_utf8_lossy(&read()));
        let pointer = Pointer { live: "000002".to_owned(), kept: vec!["000001".to_owned(), "000003".to_owned()] };
        generations.publish(&pointer).unwrap();
        let golden = b"statehouse-search 1\nlive 000002\nkept 000001\nkept 000003\n#crc32 3e1cbac7\n";
        assert_eq!(read(), golden, "{:?}", String::from_utf8_lossy(&read()));
        assert_eq!(generations.pointer().unwrap().unwrap(), pointer);
    }

    #[test]
    fn the_bytes_of_the_last_generation_are_these() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path()).unwrap();
        generations.keep_last_dropped(7).unwrap();
        let read = std::fs::read(folder.path().join("last-generation")).unwrap();
        assert_eq!(read, b"7\n#crc32 6abf4a82\n", "{:?}", String::from_utf8_lossy(&read));
        assert_eq!(generations.last_dropped(), 7);
    }

    #[test]
    fn a_pointer_that_says_something_else_is_refused() {
        let parsed = |text: &str| Pointer::parse(text.as_bytes()).map_err(|error| error.kind());
        assert!(parsed("statehouse-search 1\nlive 000001").is_ok());
        assert_eq!(parsed("statehouse-search 2\nlive 000001\nmore"), Err(ErrorKind::Conflict));
        for text in
            ["\nkept 000001", "\nlive ../x", "\nlive 000001\nlive 000002", "\nlive 000001\nother 000001", "\nlive"]
        {
            assert_eq!(parsed(&format!("statehouse-search 1{text}")), Err(ErrorKind::Corrupt), "{text:?}");
        }
    }

    #[test]
    fn a_generation_is_live_from_one_moment_to_the_next_and_what_is_not_named_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path()).unwrap();
        let half = generations.begin(0).unwrap();
        assert_eq!(generations.pointer().unwrap(), None);
        generations.sweep(None).unwrap();
        assert_eq!(folders(folder.path()), [""; 0], "{half}");

        let first = whole(&generations);
        generations.publish(&Pointer::to(first.clone())).unwrap();
        // One that is being filled beside it stays while it is kept, also through a crash.
        let second = whole(&generations);
        let both = Pointer { live: first.clone(), kept: vec![second.clone()] };
        generations.publish(&both).unwrap();
        drop(generations);
        let generations = Generations::open(folder.path()).unwrap();
        assert_eq!(generations.pointer().unwrap(), Some(both.clone()));
        generations.sweep(Some(&both)).unwrap();
        assert_eq!(folders(folder.path()), ["000001", "000002"]);
        // Swapped, and back.
        let swapped = Pointer { live: second, kept: vec![first] };
        generations.publish(&swapped).unwrap();
        assert_eq!(generations.pointer().unwrap(), Some(swapped));
        generations.publish(&both).unwrap();
        let only = Pointer::to(both.live);
        generations.publish(&only).unwrap();
        generations.sweep(Some(&only)).unwrap();
        assert_eq!(folders(folder.path()), ["000001"]);
    }

    #[test]
    fn what_somebody_else_has_called_by_a_number_stays() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path()).unwrap();
        let first = whole(&generations);
        let only = Pointer::to(first);
        generations.publish(&only).unwrap();
        let theirs = ["20241128", "000002", "4294967295", "20241128120000", "18446744073709551615", "0000004"];
        for name in theirs {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("scan.pdf"), "theirs").unwrap();
        }
        std::fs::write(folder.path().join("000004"), "theirs").unwrap();
        assert_eq!([0, 3].map(|above| generations.begin(above).unwrap()), ["000003", "000005"]);
        assert_eq!(generations.begin(u32::MAX).unwrap_err().kind(), ErrorKind::InvalidConfig);
        generations.sweep(Some(&only)).unwrap();
        for name in theirs {
            assert!(folder.path().join(name).join("scan.pdf").exists(), "{name}");
        }
        assert!(folder.path().join("000004").exists() && !folder.path().join("000003").exists());
    }

    #[test]
    fn the_number_of_one_that_was_dropped_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path()).unwrap();
        assert_eq!((generations.last_dropped(), generations.begin(0).unwrap()), (0, "000001".to_owned()));
        generations.keep_last_dropped(7).unwrap();
        let bytes = std::fs::read(folder.path().join("last-generation")).unwrap();
        assert_eq!(bytes, b"7\n#crc32 6abf4a82\n", "{:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(generations.begin(generations.last_dropped()).unwrap(), "000008");
        assert_eq!(generations.begin(3).unwrap(), "000009");
        std::fs::write(folder.path().join("last-generation"), "9").unwrap();
        assert_eq!(generations.last_dropped(), 0);
    }

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let first = Generations::open(folder.path()).unwrap();
        let second = Generations::open(folder.path()).map(drop);
        assert_eq!(second.unwrap_err().kind(), ErrorKind::Unavailable);
        drop(first);
        Generations::open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_lost_its_pointer_is_never_an_empty_index() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::open(folder.path()).unwrap();
        generations.publish(&Pointer::to(whole(&generations))).unwrap();
        drop(generations);
        std::fs::remove_file(folder.path().join(POINTER)).unwrap();
        // Also where one was dropped before, or none is left.
        for left in ["000001", LAST, ""] {
            let error = Generations::open(folder.path()).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{left}");
            if left == "000001" {
                assert_eq!(folders(folder.path()), ["000001"]);
                std::fs::write(folder.path().join(LAST), "1").unwrap();
            } else if left == LAST {
                std::fs::remove_dir_all(folder.path().join("000001")).unwrap();
            }
        }
    }
}
