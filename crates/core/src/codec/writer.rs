//! Where encoders write to.

use std::io;

/// Bytes up to a limit.
pub(super) struct Limited {
    pub(super) bytes: Vec<u8>,
    limit: usize,
    pub(super) is_full: bool,
}

impl Limited {
    pub(super) fn to(limit: usize) -> Self {
        Self { bytes: Vec::with_capacity(128), limit, is_full: false }
    }
}

impl io::Write for Limited {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts bytes up to a limit.
pub(super) struct Count {
    pub(super) bytes: usize,
    limit: usize,
    pub(super) is_full: bool,
}

impl Count {
    pub(super) const fn to(limit: usize) -> Self {
        Self { bytes: 0, limit, is_full: false }
    }
}

impl io::Write for Count {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
