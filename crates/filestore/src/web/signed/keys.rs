use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use statehouse_core::{Error, Result, Secret, hex};
use subtle::ConstantTimeEq as _;

/// The shortest secret, in bytes: what is shorter than the code is easier to guess than it.
const SHORTEST: usize = 32;
const LONGEST_ID: usize = 32;

/// The keys by which URLs are signed: the newest signs, and all of them are known again.
///
/// To change a key, add the new one in front on all replicas, and drop the old one when the last URL that it has signed has expired. While
/// some replicas do not know the new one yet, add it behind first: then they know its URLs before anybody signs any.
///
/// ```
/// use statehouse_core::Secret;
/// use statehouse_filestore::SigningKeys;
///
/// # fn main() -> statehouse_core::Result<()> {
/// # let (new, old) = ("n".repeat(32), "o".repeat(32));
/// let keys = SigningKeys::new("2026-11", Secret::new(new))?.and_former("2026-05", Secret::new(old))?;
/// assert_eq!(keys.ids().collect::<Vec<_>>(), ["2026-11", "2026-05"]);
/// assert!(SigningKeys::new("2026-12", Secret::from("too short")).is_err());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SigningKeys {
    /// The newest first.
    ring: Arc<[(String, Secret)]>,
}

impl SigningKeys {
    /// One key. Its id, 1 to 32 of `A-Z`, `a-z`, `0-9`, `-` and `_`, stands in each URL; the secret is at least 32 bytes, of random ones
    /// if possible: `openssl rand -hex 32`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for another id or a shorter secret.
    pub fn new(id: impl Into<String>, secret: Secret) -> Result<Self> {
        let key = (id.into(), secret);
        check(&key)?;
        Ok(Self { ring: [key].into() })
    }

    /// Also knows what this key has signed, and signs nothing with it.
    ///
    /// # Errors
    /// As [`new`](Self::new), and for an id that is there already.
    pub fn and_former(self, id: impl Into<String>, secret: Secret) -> Result<Self> {
        let key = (id.into(), secret);
        check(&key)?;
        if self.ids().any(|id| id == key.0) {
            return Err(Error::invalid_config(&setting(&key.0), "there are two keys of this id"));
        }
        Ok(Self { ring: self.ring.iter().cloned().chain([key]).collect() })
    }

    /// The ids, that of the key which signs first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ring.iter().map(|(id, _)| id.as_str())
    }

    /// The id of the key that signs.
    pub(super) fn newest(&self) -> &str {
        self.ids().next().unwrap_or_default()
    }

    /// The code of a message, in hexadecimal digits; none for a key that is not known.
    fn code(&self, id: &str, message: &[u8]) -> Option<String> {
        let (_, secret) = self.ring.iter().find(|(known, _)| known == id)?;
        // It takes a key of any length.
        let code = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?.chain_update(message);
        Some(hex::encode(&code.finalize().into_bytes()))
    }

    pub(super) fn sign(&self, message: &[u8]) -> String {
        self.code(self.newest(), message).unwrap_or_default()
    }

    /// Whether the key has signed the message; in a time that does not tell how much of the signature is right.
    pub(super) fn has_signed(&self, id: &str, message: &[u8], signature: &str) -> bool {
        let code = self.code(id, message);
        code.is_some_and(|code| bool::from(code.as_bytes().ct_eq(signature.as_bytes())))
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKeys").field(&self.ids().collect::<Vec<_>>()).finish()
    }
}

fn setting(id: &str) -> String {
    format!("the signing key {id:?}")
}

fn check((id, secret): &(String, Secret)) -> Result<()> {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(is_id) {
        let message = "an id is 1 to 32 letters of A-Z and a-z, digits, - and _";
        return Err(Error::invalid_config(&setting(id), message));
    }
    if secret.expose().len() < SHORTEST {
        return Err(Error::invalid_config(&setting(id), "a secret has at least 32 bytes"));
    }
    Ok(())
}
