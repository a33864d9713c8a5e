//! The beginning of a generation.

use std::sync::Arc;

use serde_json::json;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::sleep;

use super::super::client::{Call, deadline};
use super::super::error::BACKEND;
use super::super::mapping::{self, Stored};
use super::super::open::{verify_analysis, wait_for_shards};
use super::activate::meanwhile;
use super::filler::Filler;
use super::ground::{Ground, SETTLE};
use super::set::{self, Beside, Set, told};
use super::view::View;
use crate::generation::{are_its_names, check_renamed};
use crate::{BeginOptions, Schema};

/// How often others may come in between.
const TRIES: u32 = 12;

/// How often somebody else who makes the next one is waited for.
const PATIENCE: u32 = 6;

impl Ground {
    /// Begins a generation beside the live one, or goes on with one. Gives its number, and what says that it is being filled.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        wanted: &Schema,
        BeginOptions { renamed, from_rows, .. }: BeginOptions,
    ) -> Result<(u32, Arc<Filler>)> {
        for tries in 0..TRIES {
            let view = self.settled().await?;
            if let Some(beside) = &view.beside {
                let is_same = beside.stored.serves(wanted)
                    && are_its_names(
                        (view.live.number, &view.live.stored.renamed),
                        (beside.number, &beside.stored.renamed),
                        &renamed,
                    );
                if !is_same {
                    let message = format!("generation {} stands beside the live one: drop it first", beside.number);
                    return Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND));
                }
                let state = view.beside_of(beside);
                if !(from_rows && matches!(state, Some(Beside::Copied | Beside::Came))) {
                    // Who has begun it may not have waited for that to be seen.
                    sleep(SETTLE).await;
                    return Ok((beside.number, self.fillers.join(beside.number)));
                }
                // What it has of rows may be older than those that come, and what was copied is none of them.
                self.drop_generation(beside.number).await?;
                continue;
            }
            check_renamed(&view.live.stored.schema, wanted, &renamed)?;
            if let Some(number) = self.begin_beside(&view, (wanted, &renamed, from_rows), tries).await? {
                let filler = self.fillers.join(number);
                // Behind this whoever writes to one alone has looked again.
                sleep(SETTLE).await;
                tracing::info!(name: "search.generation_begun", generation = number, "a generation of the index is begun");
                return Ok((number, filler));
            }
        }
        Err(meanwhile())
    }

    /// Makes an index, and stands it beside the live one. Nothing if others were faster.
    async fn begin_beside(
        &self,
        view: &View,
        (wanted, renamed, from_rows): (&Schema, &[(String, String)], bool),
        tries: u32,
    ) -> Result<Option<u32>> {
        let alias = self.alias.as_str();
        let Some(number) = self.made(view.set.last, (wanted, renamed), tries).await? else { return Ok(None) };
        if from_rows {
            self.make_notes(number).await?;
        }
        let state = if from_rows { Beside::Rows } else { Beside::Copied };
        let set = Set { last: number, beside: Some((number, state)), ..view.set };
        if self.change(view.set, set, &view.live.index, Vec::new()).await? {
            self.sweep(set).await;
            return Ok(Some(number));
        }
        self.remove_notes(number).await;
        self.delete(&set::index(alias, number)).await?;
        Ok(None)
    }

    /// An index of this schema with a number above this one, that nobody knows of yet.
    async fn made(
        &self,
        last: u32,
        (wanted, renamed): (&Schema, &[(String, String)]),
        tries: u32,
    ) -> Result<Option<u32>> {
        let alias = self.alias.as_str();
        let stored = Stored { renamed: renamed.to_vec(), ..Stored::of(wanted) };
        // Somebody else may be making it just now, or have ended before it stood beside the live one: it is waited for, and
        // then passed over.
        let number = last.saturating_add(1).saturating_add(tries.saturating_sub(PATIENCE));
        let body = mapping::creation(&stored, &json!({ told(alias, number): {} }), &self.config.layout)?;
        let index = set::index(alias, number);
        match self.client.send(&Call::put(format!("/{index}"), &body)).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                sleep(SETTLE).await;
                return Ok(None);
            }
            made => made?,
        };
        wait_for_shards(&self.client, &index, deadline(self.client.timing.total)).await?;
        verify_analysis(&self.client, &index, wanted).await?;
        Ok(Some(number))
    }
}
