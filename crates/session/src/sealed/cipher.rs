//! The keys of one session, and what they seal.

use std::borrow::Cow;

use aes_gcm_siv::aead::{Aead as _, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _, Nonce};
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use statehouse_core::{Error, ErrorKind, KeyRing, Result, Secret};
use zeroize::Zeroizing;

use super::format::{head, parts};
use crate::token::SessionKey;

/// A code of several texts of any length, under a secret.
pub(super) fn code(secret: &Secret, texts: &[&[u8]]) -> [u8; 32] {
    let mut code = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("it takes a key of any length");
    for text in texts {
        code.update(&(text.len() as u64).to_le_bytes());
        code.update(text);
    }
    code.finalize().into_bytes().into()
}

/// The ciphers of one session, each made when it is first needed: mostly one.
pub(super) struct Keys<'a> {
    ring: &'a KeyRing,
    place: &'a [u8; 32],
    session: SessionKey,
    made: Vec<(&'a str, Aes256GcmSiv)>,
}

impl<'a> Keys<'a> {
    pub(super) const fn new(ring: &'a KeyRing, place: &'a [u8; 32], session: &SessionKey) -> Self {
        Self { ring, place, session: *session, made: Vec::new() }
    }

    fn cipher(&mut self, id: &'a str, secret: &Secret) -> &Aes256GcmSiv {
        let at = self.made.iter().position(|(made, _)| *made == id).unwrap_or_else(|| {
            let session = self.session.as_bytes();
            let key = Zeroizing::new(code(secret, &[b"statehouse session seal", self.place, session]));
            self.made.push((id, Aes256GcmSiv::new((&*key).into())));
            self.made.len() - 1
        });
        &self.made[at].1
    }

    /// Seals with the newest key: what stands before the text, and `place`, are sealed with it.
    pub(super) fn seal(&mut self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let (id, secret) = self.ring.newest();
        let mut sealed = head(id);
        let cipher = self.cipher(id, secret);
        // One nonce for all: the cipher then tells only which texts of the same key and place are equal.
        let text = cipher.encrypt(&Nonce::default(), Payload { msg: plain, aad: &beside(&sealed, place) });
        sealed.extend(text.map_err(|_| Error::new(ErrorKind::TooLarge, "an attribute is too long to be sealed"))?);
        Ok(sealed)
    }

    /// # Errors
    /// [`ErrorKind::Corrupt`] for everything that was not sealed for this session and this place with a key of the ring.
    pub(super) fn open(&mut self, place: &[u8], sealed: &[u8]) -> Result<Bytes> {
        let (head, text, id) = parts(sealed).ok_or_else(|| corrupt("an attribute is not sealed"))?;
        let ring = self.ring;
        let known = ring.ids().find(|known| known.as_bytes() == id).and_then(|id| Some((id, ring.secret(id)?)));
        let (id, secret) = known.ok_or_else(|| {
            let id = String::from_utf8_lossy(id);
            corrupt(format!("an attribute is sealed with the key {id:?}, which is not in the ring"))
        })?;
        let cipher = self.cipher(id, secret);
        let plain = cipher.decrypt(&Nonce::default(), Payload { msg: text, aad: &beside(head, place) });
        Ok(plain.map_err(|_| corrupt("an attribute was altered or moved, or sealed for something else"))?.into())
    }
}

/// What is sealed with a text, so that it opens nowhere else.
fn beside(head: &[u8], place: &[u8]) -> Vec<u8> {
    [head, place].concat()
}

/// The id of the key that something is sealed with.
pub(super) fn key_id(sealed: &[u8]) -> Option<&[u8]> {
    parts(sealed).map(|(_, _, id)| id)
}

pub(super) fn corrupt(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
