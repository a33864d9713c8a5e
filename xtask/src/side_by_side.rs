//! Test binaries side by side: most of their time they wait, for servers to be killed and deadlines to pass.

use std::collections::VecDeque;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::run::{cargo, command, quietly};

/// How many run at the same time; each runs its own tests side by side, too.
const LANES: usize = 2;

/// How long one may take: the longest takes a third of it on two cores. What hangs is stopped and said, before whoever
/// runs all of this gives up on it and has nothing.
const LONGEST: Duration = Duration::from_secs(40 * 60);

/// The binaries that one build made.
#[derive(Debug)]
pub(crate) struct Binaries {
    all: Vec<Binary>,
    target: PathBuf,
    /// Where the compiler's own libraries are: the tests of a macro need them.
    libraries: PathBuf,
}

#[derive(Clone, Debug)]
struct Binary {
    program: PathBuf,
    name: String,
    /// Of its package: where it runs.
    folder: PathBuf,
}

impl Binaries {
    /// Builds them; `selection` is what `cargo test` is told to build.
    pub(crate) fn build(selection: &[&str]) -> Result<Self> {
        Self::build_with(selection, &[])
    }

    /// The same with these in the environment.
    pub(crate) fn build_with(selection: &[&str], variables: &[(&str, String)]) -> Result<Self> {
        let mut build = cargo(selection);
        build.envs(variables.iter().map(|(name, value)| (name, value)));
        build.args(["--no-run", "--message-format=json-render-diagnostics"]).stderr(Stdio::inherit());
        let lines = quietly(&mut build)?;
        let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut all: Vec<_> = artifacts.filter_map(|artifact| Binary::of(&artifact)).collect();
        // Those that start servers of their own take the longest: they begin first.
        all.sort_by_key(|binary| (!binary.name.contains("tests/"), binary.name.clone()));
        let target = crate::workspace::read()?.1;
        let libraries = quietly(&mut command("rustc", ["--print", "target-libdir"]))?;
        Ok(Self { all, target, libraries: PathBuf::from(libraries.trim()) })
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn programs(&self) -> impl Iterator<Item = &Path> {
        self.all.iter().map(|binary| binary.program.as_path())
    }

    /// Those of the packages in these folders.
    pub(crate) fn within(&self, folders: &[&str]) -> Self {
        let is_within = |binary: &&Binary| folders.iter().any(|folder| binary.name.starts_with(folder));
        let all = self.all.iter().filter(is_within).cloned().collect();
        Self { all, target: self.target.clone(), libraries: self.libraries.clone() }
    }

    /// Runs each with these arguments; returns their closing lines too. All run even after one has failed.
    pub(crate) fn run(&self, variables: &[(&'static str, String)], args: &[&str]) -> (Vec<String>, Result) {
        let waiting = Mutex::new(self.all.iter().collect::<VecDeque<_>>());
        let done = Mutex::new((Vec::new(), Vec::new()));
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        std::thread::scope(|scope| {
            for _ in 0..LANES {
                scope.spawn(|| {
                    while let Some(binary) = next() {
                        let (output, succeeded) = self.run_one(binary, variables, args);
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        done.0.extend(closing(&output));
                        if !succeeded {
                            done.1.push(format!("{}:{}", binary.name, failures(&output)));
                        }
                    }
                });
            }
        });
        let (closing, failed) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let result = if failed.is_empty() { Ok(()) } else { Err(format!("tests failed in {}", failed.join("\n"))) };
        (closing, result)
    }

    /// What it printed is printed when it has ended, so that no two of them are mixed.
    fn run_one(&self, binary: &Binary, variables: &[(&'static str, String)], args: &[&str]) -> (String, bool) {
        let start = Instant::now();
        let mut run = command(&binary.program, args);
        run.current_dir(&binary.folder).env("CARGO_MANIFEST_DIR", &binary.folder);
        run.env("LD_LIBRARY_PATH", &self.libraries);
        run.envs(variables.iter().map(|(name, value)| (*name, value)));
        let (output, succeeded) =
            ended(&mut run, LONGEST, &self.target).unwrap_or_else(|error| (error.to_string(), false));
        println!("\n     Running {} ({:.1} s)\n{output}", binary.name, start.elapsed().as_secs_f64());
        (output, succeeded)
    }
}

impl Binary {
    /// From a message of cargo about something that it has built.
    fn of(artifact: &Value) -> Option<Self> {
        if artifact["reason"] != "compiler-artifact" || artifact["profile"]["test"] != true {
            return None;
        }
        let program = PathBuf::from(artifact["executable"].as_str()?);
        let folder = Path::new(artifact["manifest_path"].as_str()?).parent()?.to_owned();
        let source = Path::new(artifact["target"]["src_path"].as_str()?);
        let source = source.strip_prefix(crate::workspace::root()).unwrap_or(source);
        Some(Self { program, name: source.display().to_string(), folder })
    }
}

fn closing(output: &str) -> impl Iterator<Item = String> {
    let of_result = |line: &&str| line.starts_with("test result:") || line.starts_with("figure: fuzz");
    output.lines().filter(of_result).map(str::to_owned)
}

/// What the runner says of the tests that failed: whoever has only the end of a log must find it there. A binary that
/// was killed says nothing: its last lines stand for it.
fn failures(output: &str) -> String {
    const MOST: usize = 100;
    let lines: Vec<_> = output.lines().collect();
    let told = lines.iter().position(|line| *line == "failures:").unwrap_or(lines.len().saturating_sub(MOST));
    lines[told..].iter().take(MOST).flat_map(|line| ["\n  ", line]).collect()
}

/// Runs it to its end, or to `longest`: what it has printed, and whether it succeeded. It prints to a file in `folder`: a
/// server that it leaves behind would keep a pipe open.
fn ended(run: &mut Command, longest: Duration, folder: &Path) -> io::Result<(String, bool)> {
    let mut printed = tempfile::tempfile_in(folder)?;
    let mut child = run.stdout(printed.try_clone()?).stderr(printed.try_clone()?).spawn()?;
    let end = Instant::now() + longest;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            None => break None,
        }
    };
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    printed.rewind()?;
    let mut output = Vec::new();
    printed.read_to_end(&mut output)?;
    let mut output = String::from_utf8_lossy(&output).into_owned();
    if status.is_none() {
        let seconds = longest.as_secs();
        let stopped = format!("\nstopped: it had not ended after {seconds} s; under way:{}\n", under_way(&output));
        output.push_str(&stopped);
    }
    Ok((output, status.is_some_and(|status| status.success())))
}

/// The tests that the runner has said take long, and has not said the end of.
fn under_way(output: &str) -> String {
    let long = output.lines().filter_map(|line| line.strip_suffix(" has been running for over 60 seconds"));
    long.filter(|test| !output.contains(&format!("{test} ... "))).flat_map(|test| [" ", test]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failed_binary_is_told_what_failed_and_why() {
        let output =
            "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\npanicked\ntest result: FAILED.";
        assert_eq!(failures(output).lines().nth(1), Some("  failures:"));
        assert!(failures(output).contains("panicked") && !failures(output).contains("test a"));
        assert!(failures("test a ... ok\nkilled").ends_with("killed"));
        assert_eq!(closing(output).collect::<Vec<_>>(), ["test result: FAILED."]);
    }

    #[test]
    fn what_does_not_end_is_stopped_and_what_it_had_printed_is_kept() {
        let (folder, second) = (std::env::temp_dir(), Duration::from_secs(1));
        let hangs = ended(&mut command("sh", ["-c", "echo begun; exec sleep 600"]), second, &folder).unwrap();
        assert_eq!(hangs, ("begun\n\nstopped: it had not ended after 1 s; under way:\n".to_owned(), false));
        let long = ["a", "b"].map(|test| format!("test {test} has been running for over 60 seconds\n")).concat();
        assert_eq!(under_way(&format!("{long}test a ... ok\n")), " test b");
        let long = Duration::from_secs(60);
        let fails = ended(&mut command("sh", ["-c", "echo out; echo err >&2; exit 1"]), long, &folder).unwrap();
        assert_eq!(fails, ("out\nerr\n".to_owned(), false));
        assert_eq!(ended(&mut command("true", [""; 0]), long, &folder).unwrap(), (String::new(), true));
    }

    #[test]
    fn only_test_binaries_are_run_and_each_in_its_package() {
        let artifact = |test: bool, executable: Option<&str>| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": "/w/crates/a/Cargo.toml", "executable": executable,
                "profile": { "test": test }, "target": { "src_path": "/w/crates/a/src/lib.rs" },
            })
        };
        assert!(Binary::of(&artifact(false, Some("/t/a"))).is_none() && Binary::of(&artifact(true, None)).is_none());
        let binary = Binary::of(&artifact(true, Some("/t/a"))).unwrap();
        assert_eq!((binary.program.to_str(), binary.folder.to_str()), (Some("/t/a"), Some("/w/crates/a")));
    }
}
