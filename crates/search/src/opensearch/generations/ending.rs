//! The end of a generation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::super::client::Call;
use super::super::error::BACKEND;
use super::activate::meanwhile;
use super::ground::{Ground, add, remove};
use super::set::{self, Set, dropped, readable, told};
use super::view::absent;

/// How long who reads a point in time of a generation that was dropped may take.
const READ: Duration = Duration::from_secs(600);

/// How often it is looked whether anybody does.
const AGAIN: Duration = Duration::from_millis(500);

impl Ground {
    /// Drops a generation that is not live: nobody finds it any more. Its index is removed once nobody reads it.
    pub(crate) async fn drop_generation(self: &Arc<Self>, number: u32) -> Result<()> {
        let view = self.settled().await?;
        if view.set.live == number {
            let message = format!("generation {number} is live: activate another one first");
            return Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND));
        }
        let gone = view.beside.as_ref().filter(|beside| beside.number == number).ok_or_else(|| absent(number))?;
        let (alias, index) = (self.alias.as_str(), &*gone.index);
        let more = vec![
            remove(index, &told(alias, number)),
            remove(index, &readable(alias, number)),
            add(index, &dropped(alias, number)),
        ];
        if !self.change(view.set, view.set.with_beside(None), &view.live.index, more).await? {
            return Err(meanwhile());
        }
        if view.set.beside.is_some_and(|(_, state)| state.is_of_rows()) {
            self.remove_notes(number).await;
        }
        tracing::info!(name: "search.generation_removed", generation = number, "a generation of the index is removed");
        if !self.removed(index).await? {
            let (ground, index) = (Arc::clone(self), index.to_owned());
            tokio::spawn(async move { ground.remove_later(&index).await });
        }
        Ok(())
    }

    async fn remove_later(&self, index: &str) {
        let until = Instant::now() + READ;
        while Instant::now() < until {
            sleep(AGAIN).await;
            // What cannot be removed now is when the next one is begun.
            if self.removed(index).await.unwrap_or(true) {
                return;
            }
        }
        let _ = self.delete(index).await;
    }

    /// Removes an index unless somebody reads a point in time of it. Says whether it is gone.
    async fn removed(&self, index: &str) -> Result<bool> {
        #[derive(Deserialize)]
        struct Stats {
            #[serde(default, rename = "_all")]
            all: All,
        }
        #[derive(Default, Deserialize)]
        struct All {
            #[serde(default)]
            total: Total,
        }
        #[derive(Default, Deserialize)]
        struct Total {
            #[serde(default)]
            search: Search,
        }
        #[derive(Default, Deserialize)]
        struct Search {
            #[serde(default)]
            point_in_time_current: u64,
        }
        let path = format!("/{index}/_stats/search?filter_path=_all.total.search.point_in_time_current");
        let Stats { all } = self.client.read(&Call::get(path)).await?;
        if all.total.search.point_in_time_current > 0 {
            return Ok(false);
        }
        self.delete(index).await.map(|()| true)
    }

    pub(super) async fn delete(&self, index: &str) -> Result<()> {
        let call = Call::end(format!("/{index}?ignore_unavailable=true"), &json!({}));
        self.client.send(&call).await.map(drop)
    }

    /// Removes what was left of generations that never stood beside the live one, or were dropped. Whoever makes one of these now
    /// is late.
    pub(super) async fn sweep(&self, set: Set) {
        #[derive(Deserialize)]
        struct Index {}
        let alias = self.alias.as_str();
        let path = format!("/{alias}@Told.*,{alias}@Dropped.*/_alias");
        let listed: Result<BTreeMap<String, Index>> = self.client.read(&Call::get(path)).await;
        let indexes = listed.unwrap_or_default();
        let is_left =
            |index: &&String| set::number(alias, index).is_some_and(|number| number < set.last && number != set.live);
        for index in indexes.keys().filter(is_left) {
            if self.removed(index).await.is_ok_and(|removed| removed) {
                tracing::info!(name: "search.generation_swept", index, "what was left of a generation is removed");
            }
        }
    }
}
