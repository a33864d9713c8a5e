//! A damaged folder is told or answers as if it were whole: never in another way, never with a panic, never for ever.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use statehouse_core::conformance::rounds;
use statehouse_core::{ErrorKind, HealthStatus, Result};
use statehouse_search::{
    DocumentId, Facet, Highlight, Operation, Query, Record, SearchIndex, SearchIndexExt as _, SearchRequest, Sort,
    TantivyConfig, TantivyIndex,
};

use super::schema;
use crate::random::Random;

const DOCUMENTS: usize = 300;

/// Several segments, replaced and deleted documents.
async fn fill(folder: &Path) {
    let index = TantivyConfig::folder(folder).open(schema()).await.unwrap();
    let mut random = Random::new(7);
    let mut word = || format!("w{}", random.below(40));
    for part in 0..3 {
        let record = |n: usize| {
            let title = (0..8).map(|_| word()).collect::<Vec<_>>().join(" ");
            let record = Record::new(format!("{n:03}")).unwrap().with("title", title).with("code", word());
            Operation::Upsert(record.with("rank", n as i64 % 17))
        };
        let written = (part * 80..part * 80 + DOCUMENTS / 2).map(record).collect();
        index.bulk(written).await.unwrap().check().unwrap();
        let id = DocumentId::new(format!("{:03}", part * 80 + 5)).unwrap();
        index.bulk(vec![Operation::Delete { id, version: None }]).await.unwrap().check().unwrap();
    }
    index.close().await.unwrap();
}

/// What a folder answers, in words.
async fn answers(folder: &Path) -> Result<String> {
    let index = TantivyConfig::folder(folder).open(schema()).await?;
    let said = ask(&index).await;
    index.close().await?;
    said
}

async fn ask(index: &TantivyIndex) -> Result<String> {
    let marked = SearchRequest::new(Query::matches("title", "w1 w2 w3")).with_highlight(Highlight::field("title"));
    let requests = [
        marked.with_size(50),
        Query::phrase("title", "w1 w2").slop(2).into(),
        Query::fuzzy("title", "w11").into(),
        SearchRequest::new(Query::prefix("code", "w1")).with_facet(Facet::field("code").with_size(100)),
        SearchRequest::new(Query::range("rank").above(3_i64)).with_sort(Sort::by("rank")).with_sort(Sort::by("code")),
        SearchRequest::new(Query::all()).with_size(1_000),
    ];
    let mut said = String::new();
    for request in requests {
        let found = index.search(&request).await?;
        // A value's `Debug` does not show it.
        let texts = found.hits.iter().flat_map(|hit| hit.record.values("title")).filter_map(|value| value.as_text());
        said += &format!("{found:?} {:?}\n", texts.collect::<Vec<_>>());
    }
    for id in ["005", "006", "085", "299"] {
        said += &format!("{:?}\n", index.get(&DocumentId::new(id)?).await?);
    }
    Ok(said)
}

#[derive(Clone, Copy)]
enum Damage {
    Flip(usize),
    Truncate(usize),
    Zero(usize),
    Delete,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip(bit) => write!(f, "bit {bit} flipped"),
            Self::Truncate(at) => write!(f, "cut at {at}"),
            Self::Zero(at) => write!(f, "zero from {at}"),
            Self::Delete => f.write_str("deleted"),
        }
    }
}

impl Damage {
    fn draw(length: usize, places: usize, random: &mut Random) -> Vec<Self> {
        let mut damages = vec![Self::Delete, Self::Truncate(0), Self::Zero(0)];
        for _ in 0..if length == 0 { 0 } else { places } {
            damages.push(Self::Flip(random.below(8 * length)));
            damages.push(Self::Truncate(random.below(length)));
            damages.push(Self::Zero(random.below(length)));
        }
        damages
    }

    fn apply(self, file: &Path) {
        if let Self::Delete = self {
            return std::fs::remove_file(file).unwrap();
        }
        let mut bytes = std::fs::read(file).unwrap();
        match self {
            Self::Flip(bit) => bytes[bit / 8] ^= 1 << (bit % 8),
            Self::Truncate(at) => bytes.truncate(at),
            Self::Zero(at) => bytes.iter_mut().skip(at).take(512).for_each(|byte| *byte = 0),
            Self::Delete => {}
        }
        std::fs::write(file, bytes).unwrap();
    }
}

/// All below a folder, as paths within it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = PathBuf::from(entry.file_name());
        if entry.path().is_dir() {
            files.extend(self::files(&entry.path()).into_iter().map(|below| name.join(below)));
        } else {
            files.push(name);
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        std::fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_folder_is_corrupt_or_answers_as_before() {
    let parent = tempfile::tempdir().unwrap();
    let whole = parent.path().join("whole");
    fill(&whole).await;
    let expected = answers(&whole).await.unwrap();
    let mut random = Random::new(11);
    let (mut told, mut harmless) = (0, 0);
    for file in files(&whole) {
        let length = usize::try_from(whole.join(&file).metadata().unwrap().len()).unwrap();
        for damage in Damage::draw(length, rounds(3, 60), &mut random) {
            let what = format!("{} {damage}", file.display());
            let folder = parent.path().join("damaged");
            copy(&whole, &folder);
            damage.apply(&folder.join(&file));
            let answer = tokio::time::timeout(Duration::from_secs(60), answers(&folder)).await;
            match answer.unwrap_or_else(|_| panic!("{what}: no answer")) {
                Ok(said) => {
                    assert_eq!(said, expected, "{what}");
                    harmless += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
                    told += 1;
                }
            }
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }
    // Most are told; harmless are those of locks, and of a version in a footer.
    assert!(told > 10 * harmless, "{told} told, {harmless} harmless");
}

/// Each file is whole, and belongs to another segment or to an older commit, as after a restore in parts.
#[tokio::test]
async fn a_file_in_the_place_of_another_is_corrupt() {
    let parent = tempfile::tempdir().unwrap();
    let (older, whole) = (parent.path().join("older"), parent.path().join("whole"));
    fill(&whole).await;
    copy(&whole, &older);
    fill(&whole).await;
    let of = |folder: &Path, ending: &str| -> Vec<PathBuf> {
        files(folder).into_iter().filter(|file| file.extension().is_some_and(|found| found == ending)).collect()
    };
    let mut exchanged = 0;
    for ending in ["idx", "pos", "term", "store", "fast", "fieldnorm", "del"] {
        let (new, old) = (of(&whole, ending), of(&older, ending));
        let others = new.iter().map(|file| whole.join(file)).chain(old.iter().map(|file| older.join(file)));
        for other in others {
            let folder = parent.path().join("mixed");
            copy(&whole, &folder);
            let (name, bytes) = (&new[0], std::fs::read(&other).unwrap());
            if bytes != std::fs::read(folder.join(name)).unwrap() {
                std::fs::write(folder.join(name), bytes).unwrap();
                let what = format!("{} in the place of {}", other.display(), name.display());
                let error = answers(&folder).await.expect_err(&what);
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
                exchanged += 1;
            }
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }
    assert!(exchanged > 20, "only {exchanged}");
}

/// Behind the checks of opening, as when a disk loses what lies on it.
#[tokio::test]
async fn health_is_not_up_once_a_read_was_corrupt() {
    let parent = tempfile::tempdir().unwrap();
    fill(parent.path()).await;
    let index = TantivyConfig::folder(parent.path()).open(schema()).await.unwrap();
    assert_eq!(index.health().await.status, HealthStatus::Up);
    for file in files(parent.path()).into_iter().filter(|file| file.extension().is_some_and(|found| found == "store")) {
        // In place and as long as before: a mapped file that becomes shorter ends the process.
        let length = usize::try_from(parent.path().join(&file).metadata().unwrap().len()).unwrap();
        let file = std::fs::File::options().write(true).open(parent.path().join(file)).unwrap();
        std::io::Write::write_all(&mut &file, &vec![0xA5; length]).unwrap();
    }
    for long in [false, true] {
        let index = index.clone();
        let size = if long { 500 } else { 1 };
        let error = index.search(&SearchRequest::new(Query::all()).with_size(size)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let health = index.health().await;
        assert_eq!(health.status, HealthStatus::Degraded);
        assert_eq!(health.error.unwrap().kind(), ErrorKind::Corrupt);
    }
    // What is read of nothing but the terms is still answered.
    assert!(index.count(&Query::all().into()).await.unwrap() > 0);
}

/// The list of segments, the schema, or both: what is left says that there was an index.
#[tokio::test]
async fn a_folder_that_lost_a_file_is_never_an_empty_index() {
    let parent = tempfile::tempdir().unwrap();
    let whole = parent.path().join("whole");
    fill(&whole).await;
    for lost in [
        &["statehouse-search"][..],
        &["000001/meta.json"],
        &["000001/.managed.json"],
        &["000001/schema.json"],
        &["000001/meta.json", "000001/.managed.json", "000001/schema.json"],
        &["statehouse-search", "000001/schema.json"],
        &["statehouse-search", "000001/meta.json", "000001/.managed.json", "000001/schema.json"],
    ] {
        let folder = parent.path().join(lost.concat().replace('/', "-"));
        copy(&whole, &folder);
        lost.iter().for_each(|name| std::fs::remove_file(folder.join(name)).unwrap());
        let error = TantivyConfig::folder(&folder).open(schema()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{lost:?}");
        assert!(error.message().contains("rebuild"), "{error}");
    }
}
