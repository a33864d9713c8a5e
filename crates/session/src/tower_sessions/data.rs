//! Their data as attributes, and what a request has changed of it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use statehouse_core::{Error, ErrorKind, Result};

use crate::record::{Attribute, AttributeName, Attributes, Delta, Principal, Record};
use crate::token::{SessionKey, random};

/// The key under which a record says what it was when it was loaded.
const LOADED: &str = "statehouse.loaded";

/// Of each value what tells it from others.
pub(super) type Digests = BTreeMap<String, u64>;

/// What a record was when it was loaded.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Which load that was.
    pub(super) load: u64,
    key: String,
    principal: Option<String>,
    digests: Digests,
}

impl Origin {
    fn of(data: &HashMap<String, Value>) -> Option<Self> {
        data.get(LOADED).and_then(|loaded| serde_json::from_value(loaded.clone()).ok())
    }

    /// Which session it was.
    pub(super) fn key(&self) -> Option<SessionKey> {
        self.key.parse().ok()
    }

    /// Whether that was a session of theirs.
    pub(super) fn is_of(&self, principal: &Principal) -> bool {
        self.principal.as_deref() == Some(principal.as_str())
    }
}

/// What a request wants stored.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) attributes: Attributes,
    /// None if the data was cleared since it was loaded, so that nothing of what was there is to stay.
    pub(super) origin: Option<Origin>,
}

impl Written {
    pub(super) fn read(data: &HashMap<String, Value>) -> Result<Self> {
        let own = data.iter().filter(|(name, _)| *name != LOADED);
        let attributes = own.map(|(name, value)| Ok((AttributeName::new(name)?, Attribute::encode(value)?)));
        Ok(Self { attributes: attributes.collect::<Result<_>>()?, origin: Origin::of(data) })
    }

    /// The same for a request that has saved its data since it was loaded, when that was this.
    pub(super) fn since(mut self, saved: Option<Digests>) -> Self {
        if let (Some(origin), Some(saved)) = (&mut self.origin, saved) {
            origin.digests = saved;
        }
        self
    }

    /// The changes of the request, to a session that has these attributes.
    pub(super) fn on(&self, stored: &Attributes) -> Delta {
        let Some(Origin { digests, .. }) = &self.origin else { return Delta::replace(self.attributes.clone()) };
        let is_changed = |name: &AttributeName, value: &Attribute| digests.get(name.as_str()) != Some(&digest(value));
        let set = self.attributes.iter().filter(|(name, value)| is_changed(name, value));
        let delta = set.fold(Delta::new(), |delta, (name, value)| delta.with_set(name.clone(), value.clone()));
        let is_removed =
            |name: &&AttributeName| digests.contains_key(name.as_str()) && !self.attributes.contains_key(name);
        stored.keys().filter(is_removed).cloned().fold(delta, Delta::with_removed)
    }

    /// Which load it was of, and what its data is, if that is to be known by the next save of the same request.
    pub(super) fn saved(&self) -> Option<(u64, Digests)> {
        let (origin, digests) = (self.origin.as_ref()?, digests(&self.attributes));
        (origin.digests != digests).then_some((origin.load, digests))
    }
}

/// What is stored of a session, without what is the library's own.
fn own(stored: &Attributes) -> impl Iterator<Item = (&AttributeName, &Attribute)> {
    stored.iter().filter(|(name, _)| AttributeName::new(name.as_str()).is_ok())
}

/// The data of a record that is loaded, and in it what it is, for the saves that follow.
pub(super) fn read(record: &Record) -> Result<HashMap<String, Value>> {
    let values = own(record.attributes()).map(|(name, value)| Ok((name.as_str().to_owned(), value.decode()?)));
    let mut data = values.collect::<Result<_>>()?;
    remember(&mut data, record)?;
    Ok(data)
}

/// Notes in the data of a record what the session is.
pub(super) fn remember(data: &mut HashMap<String, Value>, record: &Record) -> Result<()> {
    let origin = Origin {
        load: u64::from_le_bytes(random()?),
        key: record.key().to_string(),
        principal: record.principal().map(Principal::to_string),
        digests: digests(record.attributes()),
    };
    let origin = serde_json::to_value(origin)
        .map_err(|error| Error::new(ErrorKind::Unexpected, "a record cannot be noted").with_source(error))?;
    data.insert(LOADED.to_owned(), origin);
    Ok(())
}

fn digests(attributes: &Attributes) -> Digests {
    own(attributes).map(|(name, value)| (name.as_str().to_owned(), digest(value))).collect()
}

fn digest(value: &Attribute) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(value.bytes())[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::record::NewSession;
    use crate::token::Token;

    fn stored(data: &Value) -> Record {
        let attributes = Written::read(&serde_json::from_value(data.clone()).unwrap()).unwrap().attributes;
        with(attributes)
    }

    fn with(attributes: Attributes) -> Record {
        let (token, minute) = (Token::derived(&[7; 16]), Duration::from_secs(60));
        let new = NewSession::new(token.verifier_hash(), minute, minute).with_attributes(attributes);
        Record::new(&token.key(), &new)
    }

    fn saved(before: &Value, change: impl FnOnce(&mut HashMap<String, Value>), meanwhile: &Value) -> Value {
        let mut data = read(&stored(before)).unwrap();
        change(&mut data);
        let meanwhile = stored(meanwhile).attributes().clone();
        let delta = Written::read(&data).unwrap().on(&meanwhile);
        let mut left = read(&with(delta.apply(&meanwhile).unwrap_or(meanwhile))).unwrap();
        left.remove(LOADED);
        serde_json::to_value(left).unwrap()
    }

    #[test]
    fn only_what_a_request_changes_is_written_over_what_others_have() {
        let before = json!({ "a": 1, "b": [1.0, -2, null], "c": { "x": u64::MAX, "ä": "ö" } });
        let meanwhile = json!({ "a": 2, "b": [1.0, -2, null], "d": true });
        let put = |name: &'static str, value: Value| {
            move |data: &mut HashMap<String, Value>| drop(data.insert(name.into(), value))
        };
        assert_eq!(saved(&before, |_| (), &meanwhile), meanwhile);
        assert_eq!(saved(&before, put("b", json!(3)), &meanwhile), json!({ "a": 2, "b": 3, "d": true }));
        assert_eq!(saved(&before, put("e", json!(3)), &before)["c"], before["c"]);
        let remove = |data: &mut HashMap<String, Value>| drop(data.remove("b"));
        assert_eq!(saved(&before, remove, &meanwhile), json!({ "a": 2, "d": true }));
        assert_eq!(saved(&before, HashMap::clear, &meanwhile), json!({}));
    }
}
