use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
pub(crate) use statehouse_core::hex::encode as hex;
use statehouse_core::{Error, Result};

/// The SHA-256 of a file's content. Prints as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A digest from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of some content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Reads 64 hex digits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for anything else.
    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; 32];
        let refuse = || Error::invalid_input("a SHA-256 digest is 64 hex digits");
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

/// 128 random bits: what makes one put different from every other.
pub(crate) fn nonce() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|source| {
        Error::new(statehouse_core::ErrorKind::Unavailable, "the system gives no random numbers").with_source(source)
    })?;
    Ok(bytes)
}

/// Hashes what goes through a put, and checks it against what the caller promised.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    hasher: Sha256,
    crc: crc32fast::Hasher,
    len: u64,
    limit: Option<u64>,
    declared: Option<u64>,
    expected: Option<Digest>,
}

impl Intake {
    /// With the most bytes there may be, how many are declared, and the digest that is expected.
    pub(crate) fn new(limit: Option<u64>, declared: Option<u64>, expected: Option<Digest>) -> Result<Self> {
        let intake = Self { limit, declared, expected, ..Self::default() };
        intake.check_limit(declared.unwrap_or(0))?;
        Ok(intake)
    }

    /// Takes the next piece.
    pub(crate) fn update(&mut self, piece: &[u8]) -> Result<()> {
        self.len += piece.len() as u64;
        self.check_len(self.len)?;
        self.hasher.update(piece);
        self.crc.update(piece);
        Ok(())
    }

    /// Fails if that many bytes are more than was promised.
    pub(crate) fn check_len(&self, len: u64) -> Result<()> {
        self.check_limit(len)?;
        if self.declared.is_some_and(|declared| len > declared) {
            return Err(Error::invalid_input("the body is longer than it was declared to be"));
        }
        Ok(())
    }

    fn check_limit(&self, len: u64) -> Result<()> {
        match self.limit {
            Some(limit) if len > limit => {
                let message = format!("the body is longer than the {limit} bytes allowed for this put");
                Err(Error::new(statehouse_core::ErrorKind::TooLarge, message))
            }
            _ => Ok(()),
        }
    }

    /// Ends the body: what it was, if that is what was promised.
    pub(crate) fn finish(self) -> Result<Received> {
        if self.declared.is_some_and(|declared| self.len != declared) {
            return Err(Error::invalid_input("the body is shorter than it was declared to be"));
        }
        let digest = Digest(self.hasher.finalize().into());
        if self.expected.is_some_and(|expected| expected != digest) {
            return Err(Error::invalid_input("the body's SHA-256 is not the expected one"));
        }
        Ok(Received { len: self.len, digest, crc: self.crc.finalize() })
    }
}

/// What a put's body was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) len: u64,
    pub(crate) digest: Digest,
    /// The CRC-32, which reads are checked by.
    #[cfg_attr(not(any(unix, feature = "s3")), expect(dead_code, reason = "the memory store checks nothing"))]
    pub(crate) crc: u32,
}

/// What content is checked by when it is read.
#[derive(Debug)]
pub(crate) enum Check {
    /// Nothing but its length.
    Len,
    Sha256(Sha256, Digest),
    #[cfg(any(unix, feature = "s3"))]
    Crc32(crc32fast::Hasher, u32),
}

impl Check {
    pub(crate) fn sha256(digest: Option<Digest>) -> Self {
        digest.map_or(Self::Len, |digest| Self::Sha256(Sha256::new(), digest))
    }

    #[cfg(any(unix, feature = "s3"))]
    pub(crate) fn crc32(crc: u32) -> Self {
        Self::Crc32(crc32fast::Hasher::new(), crc)
    }
}

/// Hashes what comes out of a get, and tells whether it is what was stored.
#[derive(Debug)]
pub(crate) struct Verifier {
    missing: u64,
    check: Check,
}

impl Verifier {
    /// Expects `len` bytes.
    pub(crate) const fn new(len: u64, check: Check) -> Self {
        Self { missing: len, check }
    }

    pub(crate) const fn missing(&self) -> u64 {
        self.missing
    }

    /// Takes the next piece.
    pub(crate) fn update(&mut self, piece: &[u8]) -> Result<()> {
        self.missing = self
            .missing
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| corrupt("the file is longer than its metadata says"))?;
        match &mut self.check {
            Check::Len => {}
            Check::Sha256(hasher, _) => hasher.update(piece),
            #[cfg(any(unix, feature = "s3"))]
            Check::Crc32(hasher, _) => hasher.update(piece),
        }
        Ok(())
    }

    /// Ends the content.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if self.missing > 0 {
            return Err(corrupt("the file is shorter than its metadata says"));
        }
        let same = match std::mem::replace(&mut self.check, Check::Len) {
            Check::Len => true,
            Check::Sha256(hasher, digest) => digest.0 == *hasher.finalize(),
            #[cfg(any(unix, feature = "s3"))]
            Check::Crc32(hasher, crc) => crc == hasher.finalize(),
        };
        if same { Ok(()) } else { Err(corrupt("the file's content is not what was stored")) }
    }
}

pub(crate) fn corrupt(message: &'static str) -> Error {
    Error::new(statehouse_core::ErrorKind::Corrupt, message)
}

#[cfg(feature = "s3")]
impl From<Received> for (u64, Option<Digest>) {
    fn from(Received { len, digest, .. }: Received) -> Self {
        (len, Some(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4's example for "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_read_back_what_they_print() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), ABC);
        assert_eq!(ABC.parse::<Digest>().unwrap(), digest);
        for text in ["", "ba78", &ABC.replace('b', "x"), &format!("{ABC}00"), &"é".repeat(32)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_read_is_refused_if_one_byte_is_missing_added_or_changed() {
        let verify = |content: &[u8], check: Check| {
            let mut verifier = Verifier::new(3, check);
            verifier.update(content).and_then(|()| verifier.finish())
        };
        let checks = || [Check::sha256(Some(Digest::of(b"abc"))), Check::crc32(crc32fast::hash(b"abc"))];
        for (good, which) in checks().into_iter().zip(0..) {
            assert!(verify(b"abc", good).is_ok());
            for content in [&b"ab"[..], b"abcd", b"abd", b""] {
                let [sha256, crc32] = checks();
                let check = if which == 0 { sha256 } else { crc32 };
                assert_eq!(verify(content, check).unwrap_err().kind(), statehouse_core::ErrorKind::Corrupt);
            }
        }
    }
}
