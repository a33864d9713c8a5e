//! What the clinic keeps on its own disk is for its own user: folders 0700, files 0600, whatever the process' mask.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::Path;
use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;

/// Makes the folder and those above it that are missing.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Makes the file of a SQLite database that `url` says to make. SQLite would make it for everybody to read; the files
/// that it puts beside it get the mode of this one.
pub(crate) fn make_database(url: &str) -> sqlx::Result<()> {
    if !url.contains("mode=rwc") || url.contains(":memory:") {
        return Ok(());
    }
    let options = SqliteConnectOptions::from_str(url)?;
    let mut file = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    match file.write(true).create_new(true).open(options.get_filename()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(sqlx::Error::Io(error)),
        _ => Ok(()),
    }
}
