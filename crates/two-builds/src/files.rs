//! What a build does with files. Both do the same: files have no type that could differ, so what may come between builds are
//! the names, the trailers, the locks and what one process remembers while another writes.

use std::env;

use futures_util::TryStreamExt;
use statehouse_core::{Namespace, Result, ServiceUrl};
use statehouse_filestore::{Files, PutOutcome};

/// How often a build counts, and how many files both want to make.
const ROUNDS: usize = 40;

/// The names of what a build puts: of one segment, of several, in other scripts, too long for one name of the disk.
fn names() -> Vec<String> {
    let long = ["x", "ж", "."].map(|text| format!("a{}b", text.repeat(100)));
    let short = ["plain.txt", "a", "a/b", "A/B", "con", "Grüße/日本語 😀.pdf", "%41"].map(str::to_owned);
    short.into_iter().chain(long).collect()
}

/// Does what the arguments ask for, if that is about files: `files (put|change|look|count|race) file:FOLDER BUILD`.
///
/// # Errors
/// Those of the store.
pub async fn run() -> Result<bool> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some([verb, url, build]) = arguments.strip_prefix(&["files".to_owned()]) else { return Ok(false) };
    let url = ServiceUrl::parse("PLACE", url)?;
    let files = statehouse_filestore::open(url, &Namespace::new("two-builds")?).await?;
    match verb.as_str() {
        "put" => put(&files, build).await?,
        "change" => change(&files, build).await?,
        "look" => look(&files).await?,
        "count" => drop(files.put("count", "0").await?),
        _ => race(&files, build).await?,
    }
    Ok(true)
}

async fn put(files: &Files, build: &str) -> Result<()> {
    for name in names() {
        let put = files.put(&name, format!("{build} put {name}")).content_type("text/plain");
        put.metadata("by", build).await?;
    }
    Ok(())
}

/// Replaces, copies and deletes what the other build has put, under the conditions that it lists.
async fn change(files: &Files, build: &str) -> Result<()> {
    look(files).await?;
    let all: Vec<_> = files.list("").limit(3).stream().try_collect().await?;
    for (number, entry) in all.iter().enumerate() {
        let name = files.name(&entry.key).unwrap_or_default();
        match number % 3 {
            0 => drop(files.put(name, format!("{build} replaced {name}")).if_match(&entry.etag).await?.stored()),
            1 => drop(files.delete(name).if_match(&entry.etag).await?),
            _ => drop(files.copy(name, format!("copies/{name}")).await?),
        }
    }
    Ok(())
}

/// Prints all that is there: each name with the content, who put it, and whether the listing says the same as the file.
async fn look(files: &Files) -> Result<()> {
    let all: Vec<_> = files.list("").limit(4).stream().try_collect().await?;
    for entry in all {
        let name = files.name(&entry.key).unwrap_or_default();
        let object = files.get(name).await?.verify_sha256();
        let meta = object.meta().clone();
        let same = meta.etag == entry.etag && meta.len == entry.len;
        let by = meta.user.get("by").map_or("nobody", String::as_str);
        println!("{name}: {} by {by} {same}", String::from_utf8_lossy(&object.bytes().await?));
    }
    Ok(())
}

/// Makes files that the other build makes, too, and counts in one that it counts in; prints which it was first at.
async fn race(files: &Files, build: &str) -> Result<()> {
    for number in 0..ROUNDS {
        let name = format!("first/{number}");
        if let PutOutcome::Stored(_) = files.put(&name, build.to_owned()).if_absent().await? {
            println!("{name}");
        }
        loop {
            let object = files.get("count").await?;
            let etag = object.meta().etag.clone();
            let count = String::from_utf8_lossy(&object.bytes().await?).parse::<usize>().unwrap_or_default();
            let counted = files.put("count", (count + 1).to_string()).if_match(&etag).await?;
            if counted.stored().is_some() {
                break;
            }
        }
        let listed: Vec<_> = files.list("first/").stream().try_collect().await?;
        let there = listed.iter().any(|entry| files.name(&entry.key) == Some(&name));
        assert!(there, "{name} was made before it was listed");
    }
    Ok(())
}
