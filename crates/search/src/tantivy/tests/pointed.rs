//! Pointers that this release does not write.

use std::path::Path;

use statehouse_core::ErrorKind;
use tantivy::directory::Directory as _;

use super::super::generations::files;
use crate::{Field, Schema, SearchIndex as _, TantivyConfig};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Nothing of what it names is removed, nor taken for something else.
#[tokio::test]
async fn a_pointer_to_what_is_not_known_is_told_and_leaves_all_of_it() {
    let schema = || Schema::builder().field(Field::text("title")).build().unwrap();
    for (live, kept, kind) in [
        ("99999999999", &[][..], ErrorKind::Corrupt),
        ("000001", &["99999999999"], ErrorKind::Corrupt),
        ("000001", &["000002", "000003"], ErrorKind::Conflict),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("index");
        TantivyConfig::folder(&folder).open(schema()).await.unwrap().close().await.unwrap();
        let named: Vec<_> = kept.iter().chain([&live]).collect();
        for name in named.iter().filter(|name| ***name != "000001") {
            copy(&folder.join("000001"), &folder.join(name));
        }
        let kept: String = kept.iter().map(|name| format!("\nkept {name}")).collect();
        let text = format!("statehouse-search 1\nlive {live}{kept}");
        files(&folder).unwrap().atomic_write(Path::new("statehouse-search"), text.as_bytes()).unwrap();
        for _ in 0..2 {
            let error = TantivyConfig::folder(&folder).open(schema()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{text}: {error}");
            assert!(named.iter().all(|name| folder.join(name).join("schema.json").exists()), "{text}");
        }
    }
}
