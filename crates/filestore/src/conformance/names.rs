use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::Result;
use statehouse_core::conformance::rounds;

use super::kit::names;
use crate::capability;
use crate::digest::Digest;
use crate::files::Files;
use crate::key::FileKey;
use crate::outcome::Deleted;

/// A generator of random numbers.
pub(super) struct Random(u64);

impl Random {
    /// A new one, and the seed to print.
    pub(super) fn seeded() -> (u64, Self) {
        let time = std::time::UNIX_EPOCH.elapsed();
        let seed = time.map_or(1, |time| u64::from(time.subsec_nanos()) ^ time.as_secs() << 30 | 1);
        (seed, Self(seed))
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What is letters in some script, and what is special to some disk, shell, server or encoding.
const ALPHABETS: [&str; 9] =
    ["abcxyz019-_", "ABCxyz", "éüßñ", "Жщы", "日本語", "😀🏥", "مرحبا", "e\u{301}a\u{308}", ".%+=~ #?&\\\"'*:<>|$@!"];

/// Names that are reserved somewhere, and beginnings and ends that are.
const RESERVED: [&str; 14] =
    ["con", "nul.txt", "com1", "lpt9.x", "aux", ".", "..", "...", "%2e", "%", "stage", "desktop.ini", "-", "x="];

fn segment(random: &mut Random, room: usize) -> String {
    let longest = room.min(FileKey::MAX_SEGMENT_LEN);
    // Around the lengths at which something is split, and any other.
    let len = match random.below(6) {
        0 => 1 + random.below(4),
        1 => 255,
        2 => 40 + random.below(12),
        3 => 130 + random.below(18),
        _ => 1 + random.below(255),
    };
    let (len, alphabet) = (len.min(longest).max(1), random.one_of(&ALPHABETS));
    let letters: Vec<char> = alphabet.chars().collect();
    let mut segment = String::new();
    while segment.len() < len {
        match random.below(12) {
            0 => segment.push_str(random.one_of(&RESERVED)),
            1 => segment.push(random.one_of(&['.', '%', 'A', 'a'])),
            _ => segment.push(random.one_of(&letters)),
        }
    }
    while segment.len() > longest {
        segment.pop();
    }
    segment
}

/// A name that is allowed; its last segment may be another name's directory.
fn name(random: &mut Random, files: &Files) -> String {
    loop {
        let (mut name, room) = (String::new(), FileKey::MAX_LEN - files.namespace().as_str().len() - 1);
        for _ in 0..=random.below(4) {
            if name.len() + 2 < room {
                name.extend((!name.is_empty()).then_some('/'));
                let segment = segment(random, room - name.len());
                name.push_str(&segment);
            }
        }
        if files.key(&name).is_ok() {
            return name;
        }
    }
}

/// A long name whose rest begins with a dot, an escape or a reserved name, wherever a disk may have to split it.
fn split_names() -> impl Iterator<Item = String> {
    let ends = [".pdf", "..", ".", "con", "%2e", "é.txt"];
    (134..=141).flat_map(move |len| ends.into_iter().map(move |end| "x".repeat(len) + end))
}

/// Put, got, headed, listed (whole, by its prefix, and one level), copied and deleted, for random names of every length
/// and script.
pub(super) async fn what_was_put_is_listed_whatever_its_name(files: Files) -> Result<()> {
    let ((seed, mut random), mut all) = (Random::seeded(), BTreeSet::new());
    all.extend(split_names());
    for _ in 0..rounds(80, 5000) {
        let name = name(&mut random, &files);
        if files.store().capabilities().has(capability::NESTED_FILES) || !is_nested(&name, &all) {
            all.insert(name);
        }
    }
    in_parallel(&all, async |name| files.put(name, name.clone()).await.map(drop)).await?;
    let listed = names(&files, "").await?;
    let missing: Vec<_> = all.iter().filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "seed {seed}: put and not listed: {missing:?}");
    assert!(listed.iter().eq(&all), "seed {seed}: listed in another order, or more than was put");
    in_parallel(&all, async |name| check_found(&files, &all, name).await).await?;
    in_parallel(&all, async |name| {
        assert_eq!(files.delete(name).await?, Deleted::Removed, "seed {seed}: {name:?}");
        Ok(())
    })
    .await?;
    assert_eq!(names(&files, "").await?, Vec::<String>::new(), "seed {seed}");
    Ok(())
}

fn is_nested(name: &str, all: &BTreeSet<String>) -> bool {
    let below = format!("{name}/");
    let above = name.match_indices('/').any(|(slash, _)| all.contains(&name[..slash]));
    above || all.range(below.clone()..).next().is_some_and(|other| other.starts_with(&below))
}

async fn check_found(files: &Files, all: &BTreeSet<String>, name: &String) -> Result<()> {
    assert_eq!(files.get(name).bytes().await?, name.as_bytes(), "{name:?}");
    assert_eq!(files.name(&files.head(name).await?.key), Some(name.as_str()));
    let page = files.list(name).limit(1).await?;
    assert_eq!(page.entries.first().and_then(|entry| files.name(&entry.key)), Some(name.as_str()), "by its prefix");
    let folder = name.rfind('/').map_or("", |slash| &name[..=slash]);
    let level = files.list(folder).one_level();
    // A page has no more than a thousand.
    let begin = all.range(..name.clone()).nth_back(900).filter(|before| before.starts_with(folder));
    let page = match begin {
        Some(before) => level.after(before).await?,
        None => level.await?,
    };
    assert!(page.entries.iter().any(|entry| files.name(&entry.key) == Some(name)), "{name:?}: not in its level");
    let copy = format!("copies/{}", Digest::of(name.as_bytes()));
    let copied = files.copy(name, &copy).await?;
    assert_eq!((copied.sha256, files.delete(&copy).await?), (Some(Digest::of(name.as_bytes())), Deleted::Removed));
    Ok(())
}

async fn in_parallel(all: &BTreeSet<String>, work: impl AsyncFn(&String) -> Result<()>) -> Result<()> {
    let work = &work;
    futures_util::stream::iter(all).map(|name| async move { work(name).await }).buffer_unordered(8).try_collect().await
}
