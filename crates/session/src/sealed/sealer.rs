//! What of a session is sealed, and what stands in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use statehouse_core::{CodecId, Error, KeyRing, Namespace, Result, Secret, hex};

use super::cipher::{Keys, code, corrupt, key_id};
use super::format::{self, written};
use crate::record::{Attribute, AttributeName, Attributes, Delta, NewSession, Principal, Rotation, Sealed, Snapshot};
use crate::token::SessionKey;

/// The shortest secret of names, in bytes, as that of a key.
const SHORTEST: usize = 32;
/// The attribute that says who is logged in.
const PRINCIPAL: &str = "statehouse.principal";

pub(super) struct Sealer {
    namespace: String,
    keys: KeyRing,
    names: Secret,
    /// What seals for another namespace, or has another secret of names, has another one.
    place: [u8; 32],
}

impl Sealer {
    pub(super) fn new(namespace: &Namespace, keys: KeyRing, names: &Secret) -> Result<Self> {
        let wrong = |message: &'static str| Err(Error::invalid_config("the secret of the names", message));
        if names.expose().len() < SHORTEST {
            return wrong("a secret has at least 32 bytes");
        }
        if names.expose().trim() != names.expose() {
            return wrong("it begins or ends with a space or the end of a line, which other replicas may not have");
        }
        if keys.ids().any(|id| keys.secret(id) == Some(names)) {
            return wrong("it stays when keys are changed, and so is to be none of them");
        }
        let place = code(names, &[b"statehouse session seal", namespace.as_str().as_bytes()]);
        Ok(Self { namespace: namespace.as_str().to_owned(), keys, names: names.clone(), place })
    }

    /// What stands for a principal in the store.
    pub(super) fn code_of(&self, principal: &Principal) -> Principal {
        let (namespace, text) = (self.namespace.as_bytes(), principal.as_str().as_bytes());
        let code = code(&self.names, &[b"statehouse session principal", namespace, text]);
        Principal::new(hex::encode(&code)).expect("64 digits are a principal")
    }

    /// Of each session another one: nobody is to know from a session of their own what others have.
    fn code_of_name(&self, key: &SessionKey, name: &AttributeName) -> AttributeName {
        let code = code(&self.names, &[b"statehouse session attribute", &self.place, key.as_bytes(), name.as_bytes()]);
        AttributeName::stored(hex::encode(&code[..16]).into()).expect("32 digits are a name")
    }

    pub(super) fn seal_new(&self, key: &SessionKey, new: &NewSession) -> Result<NewSession> {
        let attributes = self.seal_all(key, new.principal.as_ref(), &new.attributes)?;
        Ok(NewSession { principal: new.principal.as_ref().map(|who| self.code_of(who)), attributes, ..new.clone() })
    }

    /// The session as it is stored.
    pub(super) fn seal(&self, base: &Snapshot) -> Result<Snapshot> {
        let record = base.record();
        Ok(base.with_record(match base.sealed() {
            Some(sealed) if sealed.place == self.place => Arc::clone(&sealed.record),
            Some(_) => {
                return Err(Error::invalid_input("the session was read from a store that is sealed in another way"));
            }
            None => {
                let attributes = self.seal_all(record.key(), record.principal(), record.attributes())?;
                record.with_contents(record.principal().map(|who| self.code_of(who)), attributes).into()
            }
        }))
    }

    /// A change of the session of `base`, by a rotation with which somebody may log in, or by a save. Where anything is written,
    /// what a former key has sealed is sealed with the newest.
    pub(super) fn seal_delta(&self, base: &Snapshot, rotation: Option<&Rotation>, delta: &Delta) -> Result<Delta> {
        let (record, login) = (base.record(), rotation.and_then(|rotation| rotation.login.as_ref()));
        if rotation.is_none() && !delta.changes(record.attributes()) {
            // What is equal need not be so under its seal: of another key, or of a type of another name.
            return Ok(Delta::new());
        }
        let former = self.under_former_keys(base);
        // Whoever is logged in stays so when the attributes are cleared.
        let stays =
            || record.principal().filter(|_| delta.clear || former.contains(&AttributeName::reserved(PRINCIPAL)));
        let anew = record
            .attributes()
            .iter()
            .filter(|(name, _)| former.contains(*name) && !delta.clear && !delta.remove.contains(*name));
        let mut set: Attributes = anew.map(|(name, value)| (name.clone(), value.clone())).collect();
        set.extend(delta.set.clone());
        Ok(Delta {
            set: self.seal_all(record.key(), login.or_else(stays), &set)?,
            remove: delta.remove.iter().map(|name| self.code_of_name(record.key(), name)).collect(),
            clear: delta.clear,
        })
    }

    /// What of the session another key has sealed than the newest.
    fn under_former_keys(&self, base: &Snapshot) -> BTreeSet<AttributeName> {
        let Some(sealed) = base.sealed() else { return BTreeSet::new() };
        let (newest, _) = self.keys.newest();
        let former =
            sealed.record.attributes().iter().filter(|(_, value)| key_id(value.bytes()) != Some(newest.as_bytes()));
        former.filter_map(|(code, _)| sealed.names.get(code).cloned()).collect()
    }

    fn seal_all(&self, key: &SessionKey, who: Option<&Principal>, attributes: &Attributes) -> Result<Attributes> {
        let mut keys = Keys::new(&self.keys, &self.place, key);
        let who = who.map(|who| (AttributeName::reserved(PRINCIPAL), padded(who)));
        let all = attributes.iter().chain(who.iter().map(|(name, value)| (name, value)));
        all.map(|(name, value)| {
            let code = self.code_of_name(key, name);
            let sealed = keys.seal(code.as_bytes(), &written(name, value))?;
            // When it ends is for the store to see to, as all times are.
            Ok((code, Attribute { ends: value.ends, ..Attribute::new(CodecId::RAW, sealed.into()) }))
        })
        .collect()
    }

    /// The session that is stored so. Of one that was opened before, only what has changed since is opened.
    ///
    /// # Errors
    /// [`Corrupt`](statehouse_core::ErrorKind::Corrupt) if a part of it is not of this session, this namespace and these keys.
    pub(super) fn open(&self, stored: &Snapshot, before: Option<&Snapshot>) -> Result<Snapshot> {
        let record = stored.record();
        let mut keys = Keys::new(&self.keys, &self.place, record.key());
        let (mut names, mut attributes) = (BTreeMap::new(), Attributes::new());
        for (code, sealed) in record.attributes() {
            let (name, value) = match before.and_then(|before| opened(before, code, sealed)) {
                Some(known) => known,
                None => {
                    let (name, value) = keys.open(code.as_bytes(), bare(sealed)?).and_then(|plain| read(&plain))?;
                    (name, Attribute { ends: sealed.ends, ..value })
                }
            };
            names.insert(code.clone(), name.clone());
            attributes.insert(name, value);
        }
        let who = attributes.remove(&AttributeName::reserved(PRINCIPAL)).map(|who| principal(&who)).transpose()?;
        if who.as_ref().map(|who| self.code_of(who)).as_ref() != record.principal() {
            return Err(corrupt("somebody else is logged in to the session than it says under its seal"));
        }
        Ok(stored.opened(
            record.with_contents(who, attributes),
            Sealed { place: self.place, record: stored.shared(), names },
        ))
    }
}

/// What an attribute was when the session was opened before, if it has not changed since.
fn opened(before: &Snapshot, code: &AttributeName, sealed: &Attribute) -> Option<(AttributeName, Attribute)> {
    let stored = before.sealed()?;
    let name = stored.names.get(code).filter(|_| stored.record.attributes().get(code) == Some(sealed))?;
    Some((name.clone(), before.record().attributes().get(name)?.clone()))
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("namespace", &self.namespace).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// The bytes of what is sealed, which has no codec, schema and type but those under its seal.
fn bare(sealed: &Attribute) -> Result<&[u8]> {
    match (sealed.codec(), sealed.schema(), sealed.type_name()) {
        (CodecId::RAW, 0, "") => Ok(sealed.bytes()),
        _ => Err(corrupt("an attribute is not sealed")),
    }
}

/// Who is logged in, as long as the longest: who reads the store is not to know how long it is.
fn padded(who: &Principal) -> Attribute {
    let mut text = who.as_str().as_bytes().to_vec();
    // No principal has one of these.
    text.resize(Principal::MAX_LEN, 0);
    Attribute::new(CodecId::RAW, text.into())
}

fn principal(who: &Attribute) -> Result<Principal> {
    let text = std::str::from_utf8(who.bytes()).ok().map(|text| text.trim_end_matches('\0'));
    text.and_then(|text| Principal::new(text).ok()).ok_or_else(|| corrupt("who is logged in is no principal"))
}

fn read(plain: &Bytes) -> Result<(AttributeName, Attribute)> {
    format::read(plain).ok_or_else(|| corrupt("what is under a seal is no attribute"))
}
