//! Attributes that another build of the application has stored.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use statehouse_core::{Error, ErrorKind, Result};

use crate::config::{AttributeSchema, SessionConfig, UnreadablePolicy};
use crate::record::Attribute;

/// Which attributes were reported that could not be read: each once for a process, as one build meets the attributes of
/// another in all sessions.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    said: Mutex<HashSet<String>>,
}

impl Reported {
    /// Beyond so many different ones nothing more is said: their names come from the store.
    const MOST: usize = 1_000;

    fn say_once(&self, name: &str, error: &Error) {
        let what = format!("{name}: {}", error.message());
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < Self::MOST && said.insert(what) {
            drop(said);
            tracing::warn!(
                name: "session.attribute_unreadable",
                attribute = name,
                "an attribute of another build counts as absent: {}",
                error.message()
            );
        }
    }
}

/// Reads the value of an attribute as a `T`: as it is, or as the application migrates it. `None` if it cannot be read and
/// the policy says to go on.
pub(crate) fn read<T: DeserializeOwned>(
    config: &SessionConfig,
    reported: &Reported,
    name: &str,
    stored: &Attribute,
) -> Result<Option<T>> {
    let schema = config.attributes.get(name);
    let is_present = schema.map_or(0, |schema| schema.number) == stored.schema();
    let found = match is_present {
        true => stored.decode(),
        false => Err(of_another_schema::<T>(stored, schema)),
    };
    let found = found.or_else(|error| {
        let migrated = schema.and_then(|schema| (schema.migrate)(stored));
        migrated.map_or(Err(error), |migrated| migrated.decode())
    });
    match found {
        Ok(value) => Ok(Some(value)),
        Err(error) if config.on_unreadable_attribute == UnreadablePolicy::Discard => {
            reported.say_once(name, &error);
            Ok(None)
        }
        Err(error) => Err(error.with_key(name)),
    }
}

/// Numbers that are not the same are not compared further: the application says that the layouts differ.
fn of_another_schema<T>(stored: &Attribute, schema: Option<&AttributeSchema>) -> Error {
    let wanted = crate::record::short_type_name(std::any::type_name::<T>());
    let number = schema.map_or(0, |schema| schema.number);
    let stored = stored.stored_as();
    let message = format!("the attribute was stored as {stored} and cannot be read as {wanted} of schema {number}");
    Error::new(ErrorKind::Corrupt, message)
}
