//! What the store makes is for its own user, or for one group, whatever the process' mask for new files.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use statehouse_core::{ErrorKind, Namespace, ServiceUrl};
use statehouse_filestore::{Body, Files, LocalFileStore, PutOptions};

const URL: &str = "STATEHOUSE_TEST_MASKED_URL";

/// Not a test of its own: runs with the mask that the other test sets, and leaves a store as it is while a put is under
/// way.
#[tokio::test]
async fn the_process_with_a_mask() {
    let Ok(url) = std::env::var(URL) else { return };
    let url = ServiceUrl::parse("FILES", &url).unwrap();
    let files = statehouse_filestore::open(url, &Namespace::new("n").unwrap()).await.unwrap();
    let stored = files.put("a/b", "x").await.unwrap();
    files.put("a/b", "y").if_match(&stored.etag).await.unwrap().stored().unwrap();
    files.put("c", vec![7; 3 << 20]).await.unwrap();
    files.copy("c", "d/e/f").if_absent().await.unwrap().stored().unwrap();
    files.put(format!("{}/g", "x".repeat(200)), "x").await.unwrap();
    files.delete("c").await.unwrap();
    let endless = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let put = files.put("under/way", endless).into_future();
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), put).await.is_err());
    let endless = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (key, options) = (files.key("left/half").unwrap(), PutOptions::default());
    let put = files.store().put_with(&key, endless, options);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), Box::leak(Box::new(put))).await.is_err());
    // Ends as a kill would: nothing is dropped, so locks, stage and half a file stay to be looked at.
    std::process::exit(0);
}

fn everything(below: &Path) -> Vec<PathBuf> {
    let mut found = vec![below.to_owned()];
    for entry in std::fs::read_dir(below).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(everything(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

#[test]
fn all_that_is_made_has_the_modes_that_were_asked_for_whatever_the_mask() {
    for (permissions, file, folder) in [("private", 0o600, 0o700), ("group", 0o660, 0o2770)] {
        for mask in ["000", "022", "077", "377", "777"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("data/files");
            let output = Command::new("sh")
                .args(["-c", "umask $0 && exec \"$1\" --exact private::the_process_with_a_mask", mask])
                .arg(std::env::current_exe().unwrap())
                .env(URL, format!("file:{}?permissions={permissions}", path.display()))
                .output()
                .unwrap();
            assert!(output.status.success(), "{mask}: {}", String::from_utf8_lossy(&output.stdout));
            let made = everything(&directory.path().join("data"));
            assert!(made.iter().filter(|path| path.is_file()).count() >= 6, "{made:?}");
            for path in made {
                let metadata = std::fs::metadata(&path).unwrap();
                let expected = if metadata.is_dir() { folder } else { file };
                let mode = metadata.permissions().mode() & 0o7777;
                assert_eq!(mode, expected, "{permissions}, mask {mask}: {} is {mode:o}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn a_directory_that_every_user_can_write_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o777, 0o1777, 0o702] {
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        for permissions in ["private", "group"] {
            let url = format!("file:{}?permissions={permissions}", directory.path().display());
            let url = ServiceUrl::parse("FILES", &url).unwrap();
            let error = statehouse_filestore::open(url, &Namespace::new("n").unwrap()).await.unwrap_err();
            assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("FILES")), "{mode:o}: {error}");
            assert!(error.message().contains("chmod o-w"), "{error}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is made in it");
    }
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = LocalFileStore::open(directory.path()).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    files.put("a", "x").await.unwrap();
    let own = std::fs::metadata(directory.path().join(".statehouse")).unwrap();
    assert_eq!((own.mode() & 0o777, own.uid()), (0o700, std::fs::metadata(directory.path()).unwrap().uid()));
}

const DIRECTORY: &str = "STATEHOUSE_TEST_UNPRIVILEGED_DIRECTORY";

/// The user that a test of root becomes.
const NOBODY: u32 = 65534;

fn mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Not a test of its own: runs as a user that cannot read everything, which the other test sees to.
#[tokio::test]
async fn the_process_without_privileges() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let store = LocalFileStore::open(&directory).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    for name in ["a", "closed/b", "closed/c/d", "e/f", "e/g"] {
        files.put(name, "x").await.unwrap();
    }
    let (folder, file) = (format!("{directory}/n+/closed+"), format!("{directory}/n+/e+/f"));
    mode(&folder, 0o000);
    mode(&file, 0o000);
    let page = files.list("").await.unwrap();
    let names: Vec<_> = page.entries.iter().map(|entry| files.name(&entry.key).unwrap()).collect();
    assert_eq!((names, page.skipped), (vec!["a", "e/g"], 2));
    // Asked for by its name it is told apart from what is absent.
    assert_eq!(files.list("closed/").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    for name in ["closed/b", "e/f"] {
        assert_eq!(files.get(name).await.unwrap_err().kind(), ErrorKind::PermissionDenied, "{name}");
    }
    mode(&folder, 0o700);
    mode(&file, 0o600);
    assert_eq!(files.list("").await.unwrap().entries.len(), 5);
    use std::io::Write;
    writeln!(std::io::stdout(), "all was looked at").unwrap();
}

/// A command as a user without privileges: this one, or if that is root, nobody.
fn unprivileged(root: bool, program: &Path) -> Command {
    // Opened before, because the other user may not get to where the program is.
    let become_nobody = format!("exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups /proc/self/fd/9 \"$@\"");
    let mut command = Command::new("sh");
    let script = if root { become_nobody } else { "exec /proc/self/fd/9 \"$@\"".to_owned() };
    command.args(["-c", &format!("exec 9<\"$0\"; {script}")]).arg(program);
    command
}

#[tokio::test]
async fn what_may_not_be_read_is_skipped_and_another_user_gets_at_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = std::fs::metadata(directory.path()).unwrap().uid() == 0;
    let theirs = directory.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    if root {
        mode(directory.path(), 0o755);
        std::os::unix::fs::chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let output = unprivileged(root, &std::env::current_exe().unwrap())
        .args(["--exact", "private::the_process_without_privileges", "--nocapture"])
        .env(DIRECTORY, &theirs)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("all was looked at"), "{text}");
    let ours = directory.path().join("ours");
    let files = Files::new(Arc::new(LocalFileStore::open(&ours).await.unwrap()), Namespace::new("n").unwrap());
    files.put("a", "secret").await.unwrap();
    mode(&ours, 0o755);
    for path in ["n+/a", ".statehouse/format", ".statehouse/stage/lock"] {
        // Even where the directories above are open to all.
        for above in Path::new(path).ancestors().skip(1) {
            mode(ours.join(above), 0o755);
        }
        let read = unprivileged(root, Path::new("/bin/cat")).arg(ours.join(path)).output().unwrap();
        assert_eq!(read.status.success(), !root, "{path}: {}", String::from_utf8_lossy(&read.stdout));
    }
}
