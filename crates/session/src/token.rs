use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use statehouse_core::{Error, ErrorKind, Result, Secret, hex};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// What the browser holds: a selector that finds the session and a verifier that proves the right to it.
///
/// Each is 128 bits from the operating system's generator, and nothing else: no time, no user, no node. The store
/// sees neither, only [`key`](Self::key) and [`verifier_hash`](Self::verifier_hash), so that a dump of the store
/// yields no usable cookie. As text it is 64 lowercase hexadecimal digits. `Debug` prints no digit of it, and the
/// memory is overwritten when dropped.
#[derive(Clone)]
pub struct Token {
    selector: [u8; 16],
    verifier: [u8; 16],
    /// The cookie that it is from, if it opens no session in any other.
    realm: Option<Arc<String>>,
    /// What the store sees of it, once somebody has asked: a request asks several times.
    hashes: OnceLock<Arc<Hashes>>,
}

struct Hashes {
    key: SessionKey,
    verifier: VerifierHash,
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        (self.selector, self.verifier, &self.realm) == (other.selector, other.verifier, &other.realm)
    }
}

impl Eq for Token {}

impl Token {
    /// The length of the text, in bytes.
    pub const LEN: usize = 64;

    /// A new token.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self> {
        Ok(Self::of(random()?, random()?))
    }

    /// A token for the same session with a new verifier.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn with_new_verifier(&self) -> Result<Self> {
        Ok(Self::of(self.selector, random()?).in_realm(self.realm.clone()))
    }

    /// The token of another session in each realm, though it be the same text.
    pub(crate) fn in_realm(&self, realm: Option<Arc<String>>) -> Self {
        let mut token = Self::of(self.selector, self.verifier);
        token.realm = realm;
        token
    }

    const fn of(selector: [u8; 16], verifier: [u8; 16]) -> Self {
        Self { selector, verifier, realm: None, hashes: OnceLock::new() }
    }

    /// The token of a secret that an application of another library has in its cookie.
    #[cfg(feature = "tower-sessions")]
    pub(crate) fn derived(secret: &[u8; 16]) -> Self {
        let half = |domain: &[u8]| {
            let hash = hash(domain, secret);
            std::array::from_fn(|at| hash[at])
        };
        Self::of(half(b"statehouse foreign selector\0"), half(b"statehouse foreign verifier\0"))
    }

    /// Reads a token's text. There is exactly one text for a token; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = hex::decode::<32>(text.as_bytes())?;
        let mut token = Self::of([0; 16], [0; 16]);
        token.selector.copy_from_slice(&bytes[..16]);
        token.verifier.copy_from_slice(&bytes[16..]);
        bytes.zeroize();
        Some(token)
    }

    /// The text. Call it only where it is handed to the browser.
    #[must_use]
    pub fn expose(&self) -> Secret {
        let mut text = String::with_capacity(Self::LEN);
        hex::push(&mut text, &self.selector);
        hex::push(&mut text, &self.verifier);
        Secret::new(text)
    }

    /// The key under which the session is stored.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        self.hashes().key
    }

    /// What the stored record compares the verifier with.
    #[must_use]
    pub fn verifier_hash(&self) -> VerifierHash {
        self.hashes().verifier
    }

    fn hashes(&self) -> &Hashes {
        self.hashes.get_or_init(|| {
            Arc::new(Hashes {
                key: SessionKey(self.hash(b"statehouse session selector\0", &self.selector)),
                verifier: VerifierHash(self.hash(b"statehouse session verifier\0", &self.verifier)),
            })
        })
    }
}

impl Token {
    fn hash(&self, domain: &[u8], half: &[u8; 16]) -> [u8; 32] {
        match &self.realm {
            None => hash(domain, half),
            Some(realm) => hash(domain, &[half, realm.as_bytes()].concat()),
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.selector.zeroize();
        self.verifier.zeroize();
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// The key of a session in its store: the SHA-256 of the token's selector.
///
/// It finds a session and cannot be turned into a token. `Display` prints 64 hexadecimal digits, for backends; `Debug`
/// prints none, so that logs of two systems cannot be joined by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key with these bytes, as a backend lists it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        hex::push(&mut text, &self.0);
        f.write_str(&text)
    }
}

/// Reads what `Display` prints.
impl FromStr for SessionKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || Error::invalid_input("a session key is 64 lowercase hexadecimal digits");
        hex::decode(text.as_bytes()).map(Self).ok_or_else(refuse)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey([redacted])")
    }
}

/// The SHA-256 of a token's verifier, as stored. Comparison takes the same time wherever the hashes differ.
#[derive(Clone, Copy)]
pub struct VerifierHash([u8; 32]);

impl VerifierHash {
    /// The hash with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for VerifierHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for VerifierHash {}

impl fmt::Debug for VerifierHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifierHash([redacted])")
    }
}

/// Bytes from the operating system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    fill(|bytes| getrandom::fill(bytes).map_err(|source| source.to_string()))
}

fn fill<const N: usize>(source: impl FnOnce(&mut [u8]) -> Result<(), String>) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    source(&mut bytes).map_err(|cause| {
        Error::new(ErrorKind::Unavailable, "the operating system gave no random bytes").with_source(cause)
    })?;
    Ok(bytes)
}

/// The domain keeps a selector's hash from ever being a verifier's.
fn hash(domain: &[u8], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(domain).chain_update(bytes).finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_token_survives_its_text_and_has_only_one() {
        let token = Token::generate().unwrap();
        let text = token.expose();
        assert_eq!(text.expose().len(), Token::LEN);
        assert_eq!(Token::parse(text.expose()), Some(token));
        assert_eq!(Token::parse(&"A".repeat(64)), None, "uppercase would be a second text");
        for bad in ["", "0", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32), &"\0".repeat(64)] {
            assert_eq!(Token::parse(bad), None, "{bad:?}");
        }
    }

    /// The chance that 128 fair bits over 20,000 tokens leave 5 standard deviations anywhere is below 1 in 10,000.
    #[test]
    fn every_bit_is_fair_and_none_repeats() {
        const ROUNDS: i64 = 20_000;
        let mut ones = [0_i64; 256];
        let mut seen = HashSet::new();
        for _ in 0..ROUNDS {
            let token = Token::generate().unwrap();
            for (bit, count) in ones.iter_mut().enumerate() {
                let byte = token.selector.iter().chain(&token.verifier).nth(bit / 8).unwrap();
                *count += i64::from(byte >> (bit % 8) & 1);
            }
            assert!(seen.insert(token.selector) && seen.insert(token.verifier));
        }
        for (bit, count) in ones.iter().enumerate() {
            let off = 2 * count - ROUNDS;
            assert!(off * off < 36 * ROUNDS, "bit {bit} was set {count} times");
        }
    }

    #[test]
    fn a_failing_generator_is_an_error_and_never_zeros() {
        let error = fill::<16>(|_| Err("no entropy".to_owned())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn rotation_keeps_the_key_and_changes_the_verifier() {
        let (token, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        let next = token.with_new_verifier().unwrap();
        assert_eq!(next.key(), token.key());
        assert_ne!(next.verifier_hash(), token.verifier_hash());
        assert_ne!(other.key(), token.key());
    }

    #[test]
    fn nothing_prints_the_token_or_its_hashes() {
        let token = Token::generate().unwrap();
        let printed = format!("{token:?} {:?} {:?}", token.key(), token.verifier_hash());
        assert_eq!(printed, "Token([redacted]) SessionKey([redacted]) VerifierHash([redacted])");
    }

    #[test]
    fn the_hashes_are_those_of_every_earlier_release() {
        let token = Token::parse(&"00112233445566778899aabbccddeeff".repeat(2)).unwrap();
        assert_eq!(token.key().to_string(), EXPECTED_KEY);
        let mut verifier = String::new();
        hex::push(&mut verifier, token.verifier_hash().as_bytes());
        assert_eq!(verifier, EXPECTED_VERIFIER);
    }

    const EXPECTED_KEY: &str = "dfa654f677c1345765ea8e69efeb108280c1c19828ce2616457006aeea95f568";
    const EXPECTED_VERIFIER: &str = "e8a0571b58031d887c5cc965de749b793cc1e414e9dcbebbb4a13217b3d4da6c";
}
