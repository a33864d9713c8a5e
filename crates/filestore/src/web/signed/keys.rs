use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use statehouse_core::{KeyRing, Secret, hex};
use subtle::ConstantTimeEq as _;

/// The code of a message, in hexadecimal digits.
fn code(secret: &Secret, message: &[u8]) -> String {
    let code = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("it takes a key of any length");
    hex::encode(&code.chain_update(message).finalize().into_bytes())
}

/// Signs with the newest key.
pub(super) fn sign(keys: &KeyRing, message: &[u8]) -> String {
    code(keys.newest().1, message)
}

/// Whether the key of this id has signed the message; in a time that does not tell how much of the signature is right.
pub(super) fn has_signed(keys: &KeyRing, id: &str, message: &[u8], signature: &str) -> bool {
    let known = keys.secret(id).map(|secret| code(secret, message));
    known.is_some_and(|code| bool::from(code.as_bytes().ct_eq(signature.as_bytes())))
}
