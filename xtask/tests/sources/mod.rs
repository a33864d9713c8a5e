//! The sources of the repository, for tests that look for rules in them.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below a folder of the repository, by its path from there, with its source.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let (mut found, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.extension() {
                None => folders.extend(Some(entry).filter(|entry| entry.is_dir())),
                Some(extension) if extension == "rs" => found.push(read(root, &entry)),
                Some(_) => {}
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

fn read(root: &Path, path: &PathBuf) -> (String, String) {
    let name = path.strip_prefix(root).expect("a path below").to_string_lossy().replace('\\', "/");
    (name, fs::read_to_string(path).expect("a source"))
}
