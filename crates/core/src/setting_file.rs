//! Files that settings name: certificates, passwords, addresses.

use std::fs::File;
use std::io::{Error, Read as _, Result};
use std::path::Path;

/// What is in a file that a setting names, if it has no more than `most` bytes.
///
/// It is for small files that are read while something opens. What is no file is refused at once: a pipe would keep whoever
/// opens it waiting, and a device has no end.
///
/// ```
/// use statehouse_core::read_setting_file;
///
/// assert!(read_setting_file("/dev/zero", 1 << 20).unwrap_err().to_string().contains("no file"));
/// ```
///
/// # Errors
/// What the system says; that it is no file; that it has more bytes.
pub fn read_setting_file(path: impl AsRef<Path>, most: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_setting_is_read_up_to_its_bound() {
        let this = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let length = std::fs::metadata(&this).unwrap().len();
        assert_eq!(read_setting_file(&this, length).unwrap().len() as u64, length);
        let told = |path: &Path, most| read_setting_file(path, most).unwrap_err().to_string();
        assert!(told(&this, length - 1).contains("more than"));
        for path in [env!("CARGO_MANIFEST_DIR"), "/dev/zero"] {
            assert!(told(Path::new(path), 1).contains("no file"), "{path}");
        }
    }
}
