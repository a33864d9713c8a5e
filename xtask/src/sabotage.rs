//! Shows that the tests against races and faults can fail: each entry of a package's `sabotage.toml` breaks one line
//! of its code, and the test that it names must notice.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::run::{cargo, command, quietly};
use crate::{Result, test, workspace};

/// One mechanism, broken on purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sabotage {
    /// What is broken, in `snake_case`.
    pub(crate) name: String,
    /// The file, relative to the package.
    pub(crate) file: PathBuf,
    /// Text that stands in it once.
    pub(crate) find: String,
    /// What it becomes.
    pub(crate) replace: String,
    /// The filter of the test that must fail then.
    pub(crate) test: String,
}

#[derive(Default, Deserialize)]
struct Entries {
    sabotage: Vec<Sabotage>,
}

/// The entries of all packages below `root`, each with the folder of its package.
///
/// # Errors
/// A text that names the file that cannot be read.
pub(crate) fn read(root: &Path) -> Result<Vec<(PathBuf, Sabotage)>> {
    let folders = fs::read_dir(root.join("crates")).map_err(|error| error.to_string())?.flatten();
    let mut packages: Vec<_> = folders.map(|folder| folder.path()).collect();
    packages.extend([root.to_owned(), root.join("examples/clinic")]);
    packages.sort();
    let mut all = Vec::new();
    for package in packages {
        let file = package.join("sabotage.toml");
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let entries: Entries = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        all.extend(entries.sabotage.into_iter().map(|entry| (package.clone(), entry)));
    }
    Ok(all)
}

impl Sabotage {
    /// The text of its file with the mechanism broken.
    ///
    /// # Errors
    /// A text that says why, where the entry no longer fits the code.
    pub(crate) fn break_text(&self, package: &Path) -> Result<String> {
        let text = fs::read_to_string(package.join(&self.file)).map_err(|error| format!("{}: {error}", self.name))?;
        match text.matches(&self.find).count() {
            1 => Ok(text.replace(&self.find, &self.replace)),
            count => Err(format!("{}: what it looks for stands {count} times in {}", self.name, self.file.display())),
        }
    }
}

/// Applies each entry whose name contains `filter` to a copy of the workspace's last commit, and runs its test there.
pub(crate) fn run(filter: &str) -> Result {
    let (_, servers) = test::prepare(&[])?;
    let copy = workspace::target().join("sabotage");
    remove(&copy);
    quietly(command("git", ["worktree", "add", "--force", "--detach"]).arg(&copy))?;
    let result = read(&copy).map(|entries| {
        let wanted = entries.iter().filter(|(_, entry)| entry.name.contains(filter));
        wanted.filter_map(|(package, entry)| unnoticed(package, entry, &servers.variables())).collect::<Vec<_>>()
    });
    remove(&copy);
    let unnoticed = result?;
    if unnoticed.is_empty() { Ok(()) } else { Err(format!("not noticed by any test: {}", unnoticed.join(", "))) }
}

/// The entry's name, if no test notices that it is broken.
fn unnoticed(package: &Path, entry: &Sabotage, variables: &[(&'static str, String)]) -> Option<String> {
    let Err(error) = notices(package, entry, variables) else {
        println!("{:60} noticed", entry.name);
        return None;
    };
    println!("{:60} NOT NOTICED: {error}", entry.name);
    Some(entry.name.clone())
}

/// Breaks the mechanism, lets the test fail, and mends it again.
fn notices(package: &Path, entry: &Sabotage, variables: &[(&'static str, String)]) -> Result {
    let file = package.join(&entry.file);
    let (broken, whole) = (entry.break_text(package)?, fs::read(&file).map_err(|error| error.to_string())?);
    let test = |step: &[&str]| {
        let mut command = cargo(["test", "--quiet", "--all-features"]);
        command.current_dir(package).args(step).envs(variables.iter().map(|(name, url)| (*name, url)));
        // A target folder of its own: the copy's files have other dates.
        quietly(command.env("CARGO_TARGET_DIR", workspace::target().join("sabotage-target")))
    };
    fs::write(&file, broken).map_err(|error| error.to_string())?;
    let result = match test(&["--no-run"]) {
        Err(error) => Err(format!("does not compile: {error}")),
        Ok(_) => match test(&[&entry.test]) {
            // A test that exhausts the stack or the memory ends its whole program.
            Err(output) if output.contains("test result: FAILED") || output.contains("(signal: ") => Ok(()),
            Err(output) => Err(format!("did not run: {output}")),
            Ok(_) => Err(format!("{} passes", entry.test)),
        },
    };
    fs::write(&file, whole).map_err(|error| error.to_string())?;
    result
}

/// The copy may be left over from a run that was ended.
fn remove(copy: &Path) {
    let _ = quietly(command("git", ["worktree", "remove", "--force"]).arg(copy));
    let _ = fs::remove_dir_all(copy);
    let _ = quietly(&mut command("git", ["worktree", "prune"]));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else an entry would rot silently until somebody runs it.
    #[test]
    fn every_entry_still_fits_the_code() {
        let mut names = std::collections::BTreeSet::new();
        for (package, entry) in read(workspace::root()).unwrap() {
            assert_ne!(entry.break_text(&package).unwrap(), fs::read_to_string(package.join(&entry.file)).unwrap());
            assert!(names.insert(entry.name.clone()), "{} stands twice", entry.name);
        }
    }
}
