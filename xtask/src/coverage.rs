//! `cargo xtask fuzz --coverage`: how much of each parser its inputs reach, in lines.
//!
//! Instrumented are the packages of the workspace only, by a wrapper around the compiler: what they depend on stays as it was
//! built for the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::run::{command, quietly};
use crate::side_by_side::Binaries;
use crate::workspace::{BENCH, root, target};
use crate::{Result, install};

/// Each target, and the files with what it parses.
const PARSERS: [(&str, &[&str]); 39] = [
    (
        "blob_listing",
        &["crates/filestore/src/object/azure/blob_name.rs", "crates/filestore/src/object/azure/listed.rs"],
    ),
    ("byte_ranges", &["crates/filestore/src/web/range.rs"]),
    ("cache_record", &["crates/cache/src/redis/format.rs"]),
    ("cluster_slots", &["crates/redis/src/topology/slot_map.rs"]),
    ("cookie", &["crates/session/src/cookie.rs", "crates/session/src/token.rs"]),
    ("coord_record", &["crates/coord/src/record/format.rs"]),
    ("csrf_form", &["crates/session/src/layer/form.rs"]),
    ("disk_name", &["crates/filestore/src/local/name.rs", "crates/filestore/src/local/thing.rs"]),
    ("envelope", &["crates/core/src/envelope.rs"]),
    ("epoch", &["crates/coord/src/membership/epochs.rs"]),
    ("file_key", &["crates/filestore/src/key.rs"]),
    ("file_url", &["crates/filestore/src/web/signed/grant.rs"]),
    ("idempotency", &["crates/coord/src/idempotency/format.rs"]),
    ("info", &["crates/redis/src/node/info.rs"]),
    ("key", &["crates/core/src/key.rs", "crates/core/src/checked_text.rs"]),
    ("listing", &["crates/filestore/src/object/listed.rs", "crates/filestore/src/object/time.rs"]),
    ("lock", &["crates/coord/src/lock/format.rs"]),
    ("mark", &["crates/filestore/src/local/marks/format.rs"]),
    ("member", &["crates/coord/src/membership/format.rs"]),
    ("message", &["crates/coord/src/signals/redis/listen.rs"]),
    ("object_metadata", &["crates/filestore/src/object/metadata.rs", "crates/filestore/src/object/stamp.rs"]),
    ("opensearch_answers", &["crates/search/src/opensearch/source.rs", "crates/search/src/opensearch/error.rs"]),
    (
        "opensearch_generations",
        &[
            "crates/search/src/opensearch/generations/scan.rs",
            "crates/search/src/opensearch/generations/copy.rs",
            "crates/search/src/opensearch/generations/set.rs",
            "crates/search/src/opensearch/versions.rs",
        ],
    ),
    ("run", &["crates/coord/src/run_once/format.rs"]),
    ("schedule", &["crates/coord/src/schedule/format.rs"]),
    ("sealed_value", &["crates/session/src/sealed/format.rs", "crates/session/src/sealed/cipher.rs"]),
    ("search_cursors", &["crates/search/src/cursor/format.rs"]),
    (
        "search_requests",
        &["crates/search/src/validate.rs", "crates/search/src/validate/documents.rs", "crates/search/src/limits.rs"],
    ),
    ("service_url", &["crates/core/src/service_url.rs"]),
    ("session_record", &["crates/session/src/record/format.rs"]),
    ("session_replies", &["crates/session/src/redis/replies.rs"]),
    ("shared_state", &["crates/coord/src/state/format.rs"]),
    ("simple_query_strings", &["crates/search/src/query/simple/parse.rs", "crates/search/src/query/simple/read.rs"]),
    ("stage_record", &["crates/filestore/src/object/record.rs"]),
    ("tantivy_deletes", &["crates/search/src/tantivy/traces/format.rs"]),
    ("tantivy_log", &["crates/search/src/tantivy/log/format.rs"]),
    ("tantivy_document", &["crates/search/src/tantivy/mapping/format.rs"]),
    ("tantivy_pointer", &["crates/search/src/tantivy/generations.rs"]),
    ("trailer", &["crates/filestore/src/local/format.rs"]),
];

/// The share of a parser's lines that its inputs should reach.
const BAR: f64 = 90.0;

/// Runs the targets whose names begin so, and prints what they have reached, and whether that is below the bar.
pub(crate) fn coverage(name: &str, limit: &(&'static str, String)) -> Result {
    let chosen: Vec<_> = PARSERS.iter().filter(|(target, _)| target.starts_with(name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no target whose name begins with {name:?}"));
    }
    install::ensure(&install::COVERAGE)?;
    let place = target().join("coverage");
    let raw = place.join("raw");
    match fs::remove_dir_all(&raw) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.to_string()),
        _ => fs::create_dir_all(&raw).map_err(|error| error.to_string())?,
    }
    let binaries = build(&place)?;
    let variables =
        [(limit.0, limit.1.clone()), ("LLVM_PROFILE_FILE", raw.join("%m-%p.profraw").display().to_string())];
    binaries.run(&variables, &[&format!("fuzz_{name}")[..], "--nocapture"]).1?;
    let files = Lines::parse(&export(&place, &raw, &binaries)?);
    println!();
    for (name, sources) in chosen {
        let sums = sources.iter().map(|source| of_parser(&files, source));
        let (reached, all) = sums.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let share = if all == 0 { 0.0 } else { 100.0 * f64::from(reached) / f64::from(all) };
        let low = if share < BAR { ", below the bar" } else { "" };
        println!("figure: coverage {name}: {share:.1} % of {all} lines{low}");
    }
    Ok(())
}

/// The tests, instrumented.
fn build(place: &Path) -> Result<Binaries> {
    let wrapper = place.join("rustc.sh");
    let script = "#!/bin/sh\nexec \"$@\" -Cinstrument-coverage -Cllvm-args=-enable-name-compression=false\n";
    // Written anew it would be another one to cargo, which then builds all.
    if fs::read_to_string(&wrapper).ok().as_deref() != Some(script) {
        fs::write(&wrapper, script).map_err(|error| error.to_string())?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    }
    // Not the tests against servers: no target is among them.
    let selection = ["test", "--workspace", "--exclude", BENCH, "--all-features", "--lib"];
    // Build scripts and macros are instrumented, too, and write what they have reached.
    let variables = [
        ("RUSTC_WORKSPACE_WRAPPER", wrapper.display().to_string()),
        ("LLVM_PROFILE_FILE", place.join("build.profraw").display().to_string()),
    ];
    Binaries::build_with(&selection, &variables)
}

/// What was reached of which line, as `llvm-cov` says it.
fn export(place: &Path, raw: &Path, binaries: &Binaries) -> Result<String> {
    let profile = place.join("all.profdata");
    let entries = fs::read_dir(raw).map_err(|error| error.to_string())?.flatten();
    let parts: Vec<_> = entries.map(|entry| entry.path()).collect();
    let mut merge = command(install::llvm("llvm-profdata"), ["merge", "--sparse", "--output"]);
    quietly(merge.arg(&profile).args(parts))?;
    let mut export = command(install::llvm("llvm-cov"), ["export", "--format=lcov"]);
    export.arg(format!("--instr-profile={}", profile.display()));
    let mut programs = binaries.programs();
    export.args(programs.next());
    programs.for_each(|program| {
        export.arg("--object").arg(program);
    });
    let sources: BTreeSet<_> = PARSERS.iter().flat_map(|(_, files)| *files).collect();
    export.arg("--sources").args(sources.into_iter().map(|file| root().join(file)));
    quietly(&mut export)
}

/// The lines of a file by number, and how often each was reached; and where its functions begin, and whether each was entered.
#[derive(Debug, Default)]
struct Lines {
    reached: BTreeMap<u32, u64>,
    functions: BTreeMap<u32, bool>,
}

impl Lines {
    /// Of a report in the format of lcov.
    fn parse(report: &str) -> BTreeMap<PathBuf, Self> {
        let (mut files, mut file, mut begins) = (BTreeMap::<PathBuf, Self>::new(), PathBuf::new(), BTreeMap::new());
        for line in report.lines() {
            let (kind, rest) = line.split_once(':').unwrap_or((line, ""));
            let (first, second) = rest.split_once(',').unwrap_or((rest, ""));
            match kind {
                "SF" => (file, begins) = (rest.into(), BTreeMap::new()),
                // Those of closures are lines of the function that they stand in.
                "FN" if !second.starts_with("_RNC") && !second.starts_with("_RINC") => {
                    begins.insert(second.to_owned(), first.parse().unwrap_or(0));
                }
                "FNDA" => {
                    if let Some(begin) = begins.get(second) {
                        *files.entry(file.clone()).or_default().functions.entry(*begin).or_default() |= first != "0";
                    }
                }
                "DA" => {
                    let count: u64 = second.parse().unwrap_or(0);
                    let known =
                        files.entry(file.clone()).or_default().reached.entry(first.parse().unwrap_or(0)).or_default();
                    *known = count.max(*known);
                }
                _ => {}
            }
        }
        files
    }

    /// How many lines were reached, and how many there are, in the functions that were entered before this line. What was never
    /// entered writes, or is for others.
    fn of_entered(&self, end: u32) -> (u32, u32) {
        let is_entered = |line| self.functions.range(..=line).next_back().is_some_and(|(_, entered)| *entered);
        let lines = self.reached.iter().filter(|(line, _)| **line < end && is_entered(**line));
        lines.fold((0, 0), |(reached, all), (_, count)| (reached + u32::from(*count > 0), all + 1))
    }
}

fn of_parser(files: &BTreeMap<PathBuf, Lines>, source: &str) -> (u32, u32) {
    let path = root().join(source);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let end = text
        .lines()
        .position(|line| line == "#[cfg(test)]")
        .map_or(u32::MAX, |line| u32::try_from(line).unwrap_or(u32::MAX));
    files.get(&path).map_or((0, 0), |lines| lines.of_entered(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_in_functions_that_were_entered_and_closures_with_them() {
        let report = "SF:/a.rs\nFN:1,_RNvparse\nFN:3,_RNCNvparse0\nFN:10,_RNvwrite\nFN:20,_RNvtest\n\
                      FNDA:5,_RNvparse\nFNDA:0,_RNCNvparse0\nFNDA:0,_RNvwrite\nFNDA:1,_RNvtest\n\
                      DA:1,5\nDA:2,5\nDA:3,0\nDA:4,5\nDA:10,0\nDA:11,0\nDA:20,1\nend_of_record\n";
        let files = Lines::parse(report);
        assert_eq!(files[Path::new("/a.rs")].of_entered(19), (3, 4));
        assert_eq!(files[Path::new("/a.rs")].of_entered(u32::MAX), (4, 5));
    }

    #[test]
    fn every_parser_is_there_and_has_inputs() {
        for (target, sources) in PARSERS {
            assert!(sources.iter().all(|source| root().join(source).is_file()), "{sources:?}");
            let package = root().join("crates").join(sources[0].split('/').nth(1).unwrap());
            assert!(package.join("fuzz").join(target).is_dir(), "{target}");
        }
    }

    #[test]
    fn every_target_is_in_the_list_and_on_the_page() {
        let packages =
            fs::read_dir(root().join("crates")).unwrap().flatten().map(|package| package.path().join("fuzz"));
        let folders = packages.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let found: BTreeSet<_> = folders.map(|folder| folder.file_name().into_string().unwrap()).collect();
        assert_eq!(found, PARSERS.iter().map(|(target, _)| (*target).to_owned()).collect());
        let page = fs::read_to_string(root().join("SECURITY.md")).unwrap();
        let told = page.split("## Bytes that others wrote").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
        let missing: Vec<_> = found.iter().filter(|target| !told.contains(&format!("`fuzz_{target}`"))).collect();
        assert_eq!(missing, [""; 0]);
    }
}
