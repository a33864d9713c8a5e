//! What a name in a directory stands for.

use std::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType};

use super::beneath::Root;
use super::config::Access;
use super::name::{self, CONTINUED, DIRECTORY};
use super::stage;

/// What a name stands for that is not the store's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    /// A file, or a directory of keys: a segment, and for a directory the slash behind it.
    Adds,
    /// A directory in which names go on.
    Continued,
    Foreign,
}

/// Looks at what lies under a name; none if it is gone or is the store's own. What it adds to a key is put behind `key`.
pub(super) fn look_at(
    root: &Root,
    directory: &OwnedFd,
    file_name: &CStr,
    kind: FileType,
    key: &mut Vec<u8>,
) -> Option<Thing> {
    let name = file_name.to_bytes();
    if name.starts_with(b".") {
        let own = matches!(name, b"." | b"..") || name.starts_with(crate::key::RESERVED.as_bytes());
        if own && root.access() == Access::Write {
            stage::remove_if_left(root, directory, name);
        }
        return (!own).then_some(Thing::Foreign);
    }
    let kind = known_kind(directory, file_name, kind);
    let (stem, ending) = split(name);
    let expected = if ending.is_some() { FileType::Directory } else { FileType::RegularFile };
    if kind != expected || !name::read(stem, key) {
        return (!matches!(kind, FileType::Unknown)).then_some(Thing::Foreign);
    }
    if ending == Some(CONTINUED) {
        return Some(Thing::Continued);
    }
    if ending.is_some() {
        key.push(b'/');
    }
    Some(Thing::Adds)
}

/// A name without the ending of a directory, and that.
pub(super) fn split(name: &[u8]) -> (&[u8], Option<char>) {
    match name.split_last() {
        Some((last, stem)) if [DIRECTORY, CONTINUED].contains(&char::from(*last)) => (stem, Some(char::from(*last))),
        _ => (name, None),
    }
}

/// Whether what a name adds to a key is spelled so, behind what was begun in the directories before it.
pub(super) fn is_spelling(begun: &str, stem: &[u8], adds: &str) -> bool {
    if begun.is_empty() && name::is_plain(stem) {
        return true;
    }
    let segment = adds.strip_suffix('/').unwrap_or(adds);
    // A slash is no part of a segment, however it is escaped.
    !segment.contains('/') && name::spelled(segment).as_bytes().strip_prefix(begun.as_bytes()) == Some(stem)
}

/// Some file systems do not say in the directory what is what. `Unknown` is what is gone.
fn known_kind(directory: &OwnedFd, name: &CStr, kind: FileType) -> FileType {
    match kind {
        FileType::Unknown => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
        kind => kind,
    }
}
