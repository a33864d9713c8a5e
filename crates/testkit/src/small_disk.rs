//! A disk that is soon full: a small file system of its own for one test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ends::output_within;

const DIRECTORY: &str = "STATEHOUSE_TEST_SMALL_DISK";

const MOUNTED_WITHIN: Duration = Duration::from_secs(60);
/// How long the test on it may take.
pub(crate) const TEST_WITHIN: Duration = Duration::from_secs(15 * 60);

/// The small file system that a test runs on.
///
/// Two tests belong together. One mounts the file system and runs the other on it, in a process of its own; the other
/// is that test, and nothing anywhere else:
///
/// ```no_run
/// use statehouse_testkit::SmallDisk;
///
/// // #[test]
/// fn a_full_disk_is_told() {
///     SmallDisk::run(2, "full_disk::on_the_small_disk");
/// }
///
/// // #[test]
/// fn on_the_small_disk() {
///     let Some(disk) = SmallDisk::here() else { return };
///     // … fills `disk.path()` …
/// }
/// ```
#[derive(Debug)]
pub struct SmallDisk {
    outside: PathBuf,
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts a file system of so many MiB and runs a test of this test program on it: its full name, as `--exact`
    /// takes it. The mount is in a name space of its own, seen by nobody else, and goes with the process.
    ///
    /// # Panics
    /// If the test fails or does not end, if it did not run on the file system, and without `unshare` (of util-linux).
    pub fn run(mebibytes: u32, test: &str) {
        let outside = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(outside.path().join("disk")).expect("a directory to mount on");
        let script = "mount -t tmpfs -o \"size=$1m\" tmpfs \"$2/disk\" && \"$3\" --exact \"$4\" && test -e \"$2/done\"";
        let mut run = Command::new("unshare");
        run.args(["--map-root-user", "--mount", "sh", "-c", script, "sh", &mebibytes.to_string()])
            .arg(outside.path())
            .arg(std::env::current_exe().expect("the path of this program"))
            .arg(test)
            .env(DIRECTORY, outside.path());
        let output = output_within(&mut run, TEST_WITHIN).unwrap_or_else(|error| panic!("{test}: {error}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }

    /// The file system, in the process that [`run`](Self::run) started; none in any other.
    #[must_use]
    pub fn here() -> Option<Self> {
        let outside = PathBuf::from(std::env::var_os(DIRECTORY)?);
        let path = outside.join("disk");
        Some(Self { outside, path })
    }

    /// The directory that it is mounted on.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it one that can only be read, or one that can be written again: as a system does whose disk fails.
    ///
    /// # Panics
    /// If a file on it is open for writing.
    pub fn set_read_only(&self, is_read_only: bool) {
        let how = if is_read_only { "remount,ro" } else { "remount,rw" };
        let mut mount = Command::new("mount");
        let output = output_within(mount.args(["-o", how]).arg(&self.path), MOUNTED_WITHIN);
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Fills it to the last byte, with a file of this name.
    ///
    /// # Panics
    /// If the file cannot be made.
    pub fn fill(&self, name: &str) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.path.join(name)).expect("a file to fill the disk with");
        for size in [65_536, 4_096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::write(self.outside.join("done"), "").expect("the mark that the test ran");
        }
    }
}
