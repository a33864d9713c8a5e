use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::Result;
use statehouse_core::conformance::rounds;

use super::kit::{clear, fresh, names};
use super::names::Random;
use crate::capability;
use crate::files::Files;
use crate::meta::ETag;
use crate::options::Page;

async fn put_all(files: &Files, names: &[&str]) -> Result<()> {
    for name in names {
        files.put(name, format!("content of {name}")).await?;
    }
    Ok(())
}

fn entries(files: &Files, page: &Page) -> Vec<String> {
    page.entries.iter().map(|entry| files.name(&entry.key).expect("in the namespace").to_owned()).collect()
}

/// A slash is part of the name and nothing more.
pub(super) async fn a_file_and_files_below_its_name_coexist(files: Files) -> Result<()> {
    let all = ["a", "a.b", "a/b", "a/b/c", "a/b/d", "a0"];
    put_all(&files, &all).await?;
    for name in all {
        assert_eq!(files.get(name).bytes().await?, format!("content of {name}"));
    }
    assert_eq!(names(&files, "").await?, all);
    files.delete("a/b").await?;
    assert_eq!(names(&files, "a/").await?, ["a/b/c", "a/b/d"]);
    Ok(())
}

/// No name is changed on the way.
pub(super) async fn names_that_differ_in_case_or_unicode_form_are_different(files: Files) -> Result<()> {
    let all = ["README", "Readme", "e\u{301}", "readme", "É", "é"];
    put_all(&files, &all).await?;
    for name in all {
        assert_eq!(files.get(name).bytes().await?, format!("content of {name}"));
    }
    assert_eq!(names(&files, "").await?, all);
    Ok(())
}

/// What is special to some disk, shell or server.
pub(super) async fn odd_names_read_back_and_are_listed(files: Files) -> Result<()> {
    let long = "x".repeat(255);
    let wide = "Ж".repeat(127);
    let deep = "d/".repeat(100) + "f";
    let mut all = vec![
        "a b", "a%20b", "a%", "a+b=c&d", "a#b?c", "a\\b", "a'b\"c", "con", "nul.txt", "dot.", ".dot", "...", "~",
        "$HOME", "*", "a:b", "<>|", "😀", "-rf", "stage", &long, &wide, &deep,
    ];
    put_all(&files, &all).await?;
    for name in &all {
        assert_eq!(files.get(name).bytes().await?, format!("content of {name}"));
        assert_eq!(files.name(&files.head(name).await?.key), Some(*name));
    }
    all.sort_unstable();
    assert_eq!(names(&files, "").await?, all);
    Ok(())
}

/// In the order of bytes, where `-` and `.` come before the slash and digits behind it; whatever the page's length.
pub(super) async fn a_listing_is_complete_ordered_and_paged(files: Files) -> Result<()> {
    let mut all: Vec<String> = (0..20).map(|n| format!("dir/{n}/file")).collect();
    all.extend((0..20).map(|n| format!("dir-{n}")));
    all.extend(["dir.x", "dir/0-", "dir0", "Dir", "e/f/g", "é"].map(ToOwned::to_owned));
    put_all(&files, &all.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    all.sort_unstable();
    assert_eq!(names(&files, "").await?, all);
    for limit in [1, 7, 46, 1000] {
        let paged: Vec<_> = files.list("").limit(limit).stream().try_collect().await?;
        let paged: Vec<_> = paged.iter().map(|entry| files.name(&entry.key).expect("a name")).collect();
        assert_eq!(paged, all, "{limit} a page");
    }
    let below: Vec<_> = all.iter().filter(|name| name.starts_with("dir/1")).cloned().collect();
    assert_eq!(names(&files, "dir/1").await?, below, "a prefix need not end at a slash");
    let page = files.list("dir").limit(5).await?;
    assert_eq!((page.entries.len(), page.next.is_some()), (5, true));
    assert_eq!(names(&files, "nothing/below").await?, Vec::<String>::new());
    Ok(())
}

/// The number at which many listings stop.
pub(super) async fn a_listing_has_more_than_a_thousand_files(files: Files) -> Result<()> {
    let puts = (0..1005).map(|n| {
        let files = files.clone();
        async move { files.put(format!("n/{n:04}"), "x").await.map(drop) }
    });
    futures_util::stream::iter(puts).buffer_unordered(16).try_collect::<()>().await?;
    let page = files.list("n/").await?;
    assert_eq!((page.entries.len(), page.next.is_some()), (1000, true));
    let all: Vec<_> = (0..1005).map(|n| format!("n/{n:04}")).collect();
    assert_eq!(names(&files, "n/").await?, all);
    Ok(())
}

/// Like the directories of a disk, and only those that have files.
pub(super) async fn a_listing_of_one_level_gathers_what_is_below(files: Files) -> Result<()> {
    put_all(&files, &["a/1", "a/2/x", "a/2/y", "a/3", "b-", "b/1", "c/1/2/3", "gone/1"]).await?;
    files.delete("gone/1").await?;
    let page = files.list("").one_level().await?;
    assert_eq!(
        (entries(&files, &page), page.prefixes),
        (vec!["b-".into()], vec!["a/".into(), "b/".into(), "c/".into()])
    );
    let page = files.list("a/").one_level().await?;
    assert_eq!((entries(&files, &page), page.prefixes), (vec!["a/1".into(), "a/3".into()], vec!["a/2/".into()]));
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let list = files.list("").one_level().limit(1);
        let page = match next {
            Some(token) => list.page(token).await?,
            None => list.await?,
        };
        found.extend(entries(&files, &page));
        found.extend(page.prefixes);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(found, ["a/", "b-", "b/", "c/"], "one by one");
    Ok(())
}

/// The text need not be a file's name.
pub(super) async fn a_listing_may_begin_behind_any_text(files: Files) -> Result<()> {
    put_all(&files, &["a", "b/1", "b/2", "b/3", "c"]).await?;
    for (after, expected) in [
        ("a", &["b/1", "b/2", "b/3", "c"][..]),
        ("b", &["b/1", "b/2", "b/3", "c"]),
        ("b/2", &["b/3", "c"]),
        ("b/25", &["b/3", "c"]),
        ("bz", &["c"]),
        ("c", &[]),
    ] {
        assert_eq!(entries(&files, &files.list("").after(after).await?), expected, "after {after}");
    }
    assert_eq!(entries(&files, &files.list("b/").after("b/1").limit(1).await?), ["b/2"]);
    Ok(())
}

/// Prefixes and beginnings that are names, parts of names, behind names, and texts that no name has.
pub(super) async fn a_listing_of_any_prefix_behind_any_text_has_what_it_should(files: Files) -> Result<()> {
    let all = [
        "a",
        "a ",
        "a b/c",
        "a%2fb",
        "a+b",
        "a-/x",
        "a.b",
        "a/b.c/d",
        "a/é",
        "a0",
        "a_/-",
        "a~",
        "b/.x/y",
        "b/..x",
        "é/a",
        "日/本/語",
        "😀",
    ];
    let nested = files.store().capabilities().has(capability::NESTED_FILES);
    let mut all: Vec<_> = all.into_iter().filter(|name| nested || *name != "a").collect();
    all.sort_unstable();
    put_all(&files, &all).await?;
    let ends =
        ["", "", "", " ", "/", "//", "%", "%2f", "+", ".", "..", "./", "é", "é/", "~", "?", "&", "\u{10ffff}", "\\"];
    let (seed, mut random) = Random::seeded();
    for _ in 0..rounds(60, 3000) {
        let mut text = || {
            let name = all[random.below(all.len())];
            let begun: String = name.chars().take(random.below(name.len() + 1)).collect();
            begun + random.one_of(&ends)
        };
        let (prefix, after) = (text(), text());
        let (after, one_level) = (random.one_of(&["", &after]).to_owned(), random.below(2) == 0);
        let limit = u16::try_from(random.one_of(&[1, 2, 5, 1000])).expect("small");
        let mut expected: Vec<_> = all.iter().filter(|name| name.starts_with(&prefix)).copied().collect();
        if one_level {
            expected = expected.into_iter().filter_map(|name| listed_as(name, &prefix)).collect();
            expected.dedup();
        }
        expected.retain(|listed| *listed > after.as_str());
        let what = format!("seed {seed}: {prefix:?} behind {after:?}, one level: {one_level}, {limit} a page");
        let mut found = Vec::new();
        let mut list = files.list(&prefix).after(&after).limit(limit);
        loop {
            let page = if one_level { list.one_level().await? } else { list.await? };
            assert!(page.entries.len() + page.prefixes.len() <= usize::from(limit), "{what}");
            let mut listed = entries(&files, &page);
            listed.extend(page.prefixes);
            listed.sort_unstable();
            found.extend(listed);
            let Some(token) = page.next else { break };
            list = files.list(&prefix).page(token).limit(limit);
        }
        assert_eq!(found, expected, "{what}");
    }
    Ok(())
}

/// Beside them, before the first, behind the last, and in directories that come and go.
pub(super) async fn files_that_stay_are_listed_whatever_is_written_meanwhile(files: Files) -> Result<()> {
    let all: Vec<_> = (0..30).map(|n| format!("s/{n:02}/x")).collect();
    put_all(&files, &all.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let folders: Vec<_> = (0..30).map(|n| format!("s/{n:02}/")).collect();
    let over = AtomicBool::new(false);
    let churn = async |of: usize| -> Result<()> {
        for n in (of..).step_by(4).take_while(|_| !over.load(Ordering::Relaxed)) {
            let number = n * 7 % 31;
            let names = [
                format!("s/{number:02}"),
                format!("s/{number:02}-/y"),
                format!("s/{number:02}/w"),
                "s/".to_owned() + &"z".repeat(200),
            ];
            let name = &names[n / 3 % 4];
            if !all.iter().any(|stays| stays.starts_with(&format!("{name}/"))) {
                files.put(name, "x").await?;
                files.delete(name).await?;
            }
        }
        Ok(())
    };
    let list = async {
        for round in 0..rounds(4, 200) {
            let (limit, mut next) = ([3, 7, 31, 1000][round % 4], None);
            let (mut found, mut gathered) = (Vec::new(), Vec::new());
            let page = |token: Option<_>| {
                let list = files.list("s/").limit(limit);
                token.into_iter().fold(list, |list, token| list.page(token))
            };
            while let Some(token) = if found.is_empty() { Some(None) } else { next.take().map(Some) } {
                let page = page(token).await?;
                found.extend(entries(&files, &page));
                next = page.next;
            }
            while let Some(token) = if gathered.is_empty() { Some(None) } else { next.take().map(Some) } {
                let page = page(token).one_level().await?;
                gathered.extend(page.prefixes);
                next = page.next;
            }
            let missing: Vec<_> = all.iter().filter(|name| !found.contains(name)).collect();
            let unseen: Vec<_> = folders.iter().filter(|name| !gathered.contains(name)).collect();
            assert!(missing.is_empty() && unseen.is_empty(), "{limit} a page: {missing:?} and {unseen:?} are missing");
        }
        over.store(true, Ordering::Relaxed);
        Ok(())
    };
    // Not dropped: what was begun may still be done.
    futures_util::future::try_join(list, futures_util::future::try_join_all((0..4).map(churn))).await?;
    Ok(())
}

/// Files and common prefixes alike: a prefix that the text lies in is not listed, whatever is behind the text in it.
pub(super) async fn one_level_behind_any_text_lists_what_is_greater(files: Files) -> Result<()> {
    let all = ["a-", "a/1", "a/2", "b-", "b/1", "b/2/x", "b/3", "b0", "c/d/e", "d"];
    put_all(&files, &all).await?;
    let texts = [
        "", "a", "a/", "a/1", "a/15", "a0", "b", "b-", "b/", "b/1", "b/2", "b/2/", "b/2/x", "b/2/y", "b/z", "c/d/e",
        "d", "z",
    ];
    for prefix in ["", "a", "a/", "b", "b/", "b/2/", "c/", "z"] {
        for after in texts {
            let mut expected: Vec<_> = all.iter().filter_map(|name| listed_as(name, prefix)).collect();
            expected.dedup();
            expected.retain(|listed| *listed > after);
            for limit in [1, 2, 1000] {
                let (mut found, mut next) = (Vec::new(), None);
                loop {
                    let list = files.list(prefix).one_level().limit(limit);
                    let page = match next {
                        Some(token) => list.page(token).await?,
                        None => list.after(after).await?,
                    };
                    found.extend(entries(&files, &page));
                    found.extend(page.prefixes);
                    next = page.next;
                    if next.is_none() {
                        break;
                    }
                }
                found.sort_unstable();
                assert_eq!(found, expected, "{prefix:?} after {after:?}, {limit} a page");
            }
        }
    }
    Ok(())
}

/// The name itself, or the common prefix that it is gathered in.
fn listed_as<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(prefix)?;
    Some(rest.find('/').map_or(name, |slash| &name[..=prefix.len() + slash]))
}

/// What one level gives is listed as it is, level by level, down to every file.
pub(super) async fn common_prefixes_are_names_that_the_handle_takes(files: Files) -> Result<()> {
    let all = ["a/1", "a/b/2", "a/b/c/3", "d", "e/4"];
    put_all(&files, &all).await?;
    let (mut prefixes, mut found) = (vec![String::new()], Vec::new());
    while let Some(prefix) = prefixes.pop() {
        let page = files.list(&prefix).one_level().await?;
        found.extend(entries(&files, &page));
        prefixes.extend(page.prefixes);
    }
    found.sort_unstable();
    assert_eq!(found, all);
    Ok(())
}

/// Without the namespace, which no user need know.
pub(super) async fn errors_name_a_file_as_the_application_does(files: Files) -> Result<()> {
    let (no, wrong) = (ETag::new("\"no\""), "a//b");
    let errors = [
        ("p/x", files.get("p/x").await.map(drop)),
        ("p/x", files.head("p/x").await.map(drop)),
        ("p/x", files.get("p/x").if_match(&no).await.map(drop)),
        ("p/x", files.copy("p/x", "y").await.map(drop)),
        ("p/x", files.put("p/x", "long").max_len(1).await.map(drop)),
        ("p/", files.list("p/").limit(0).await.map(drop)),
        (wrong, files.put(wrong, "x").await.map(drop)),
        (wrong, files.delete(wrong).await.map(drop)),
    ];
    for (name, result) in errors {
        let error = result.expect_err("it fails");
        assert_eq!(error.key(), Some(name), "{error}");
        assert!(!error.to_string().contains(files.namespace().as_str()), "{error}");
    }
    Ok(())
}

/// Two applications in one store do not meet.
pub(super) async fn namespaces_are_apart(files: Files) -> Result<()> {
    let other = fresh(files.store());
    put_all(&files, &["a", "b/c"]).await?;
    assert!(!other.exists("a").await?);
    other.put("a", "other").await?;
    assert_eq!(names(&other, "").await?, ["a"]);
    assert_eq!(files.get("a").bytes().await?, "content of a");
    clear(&other).await?;
    assert_eq!(names(&files, "").await?, ["a", "b/c"]);
    Ok(())
}
