//! What the server says of an index.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;
use statehouse_core::{Error, Result};

use super::client::{Call, Client};
use super::error;
use super::mapping::{self, Stored};

/// An index as the server describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) aliases: Json,
    pub(super) mappings: Json,
    pub(super) settings: Json,
}

/// A generation as the server describes it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) number: u32,
    /// What its index is called.
    pub(crate) index: String,
    pub(crate) shards: u32,
    pub(crate) stored: Stored,
    pub(crate) found: Found,
}

/// What is behind an alias, by name.
pub(super) async fn found(
    client: &Client,
    alias: &str,
    timeout: Option<Duration>,
) -> Result<Option<BTreeMap<String, Found>>> {
    let answer = client.exchange(&Call::get(format!("/{alias}")).within(timeout)).await?;
    if answer.status == 404 {
        let error = answer.error();
        // Anything else that says so is not the server's word on the index.
        return if error::is_gone(&error) { Ok(None) } else { Err(error) };
    }
    serde_json::from_slice(&answer.into_body()?).map(Some).map_err(error::of_broken_body)
}

fn nothing_described() -> Error {
    error::of_other_question("OpenSearch described no index")
}

/// What an index was created with.
fn stored_of(name: &str, mappings: &Json) -> Result<Stored> {
    let stored = mappings["_meta"].get("statehouse");
    let stored = stored.ok_or_else(|| mapping::mismatch(format!("{name} was not created by statehouse")))?;
    let stored = Stored::deserialize(stored).map_err(|cause| {
        mapping::mismatch("the index was created by a release with another form of schemas").with_source(cause)
    })?;
    stored.check().map(|()| stored)
}

/// The one index behind an alias.
pub(super) fn only(found: BTreeMap<String, Found>, alias: &str) -> Result<(String, Found)> {
    if found.len() > 1 {
        let names: Vec<_> = found.into_keys().collect();
        let message = format!("the alias {alias} stands for several indexes: {}", names.join(", "));
        return Err(mapping::mismatch(message));
    }
    let (name, found) = found.into_iter().next().ok_or_else(nothing_described)?;
    if name == alias {
        return Err(mapping::mismatch(format!("{alias} is an index of its own and not an alias of one")));
    }
    Ok((name, found))
}

impl Found {
    /// The names of its aliases.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.as_object().into_iter().flat_map(|aliases| aliases.keys().map(String::as_str))
    }

    /// What is known of a generation by it.
    pub(super) fn known(self, number: u32, name: String) -> Result<Known> {
        let stored = stored_of(&name, &self.mappings)?;
        let shards = &self.settings["index"]["number_of_shards"];
        let shards = shards.as_str().and_then(|shards| shards.parse().ok()).unwrap_or(1);
        Ok(Known { number, index: name, shards, stored, found: self })
    }

    pub(super) fn check_durable(&self) -> Result<()> {
        if self.settings["index"]["translog"]["durability"] != "async" {
            return Ok(());
        }
        let message =
            "index.translog.durability is \"async\": acknowledged writes could be lost; set it to \"request\"";
        Err(mapping::mismatch(message))
    }

    /// Whether it has a field, whatever it says that it has.
    pub(super) fn has(&self, name: &str) -> bool {
        let properties = &self.mappings["properties"];
        match name.split_once('.') {
            Some((field, inner)) => properties[field]["fields"].get(inner).is_some(),
            None => properties.get(name).is_some(),
        }
    }
}
