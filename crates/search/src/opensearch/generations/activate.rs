//! How another generation becomes live, and how one ends.

use std::time::Duration;

use serde_json::json;
use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, sleep};

use super::super::error::BACKEND;
use super::super::found::Known;
use super::compare::{Compared, Rest};
use super::ground::{Ground, SETTLE, add, remove};
use super::set::{Beside, Set, readable, told};
use super::view::{View, absent};
use crate::Verify;

/// How long writers wait at most for those before them to end.
const DRAIN: Duration = Duration::from_secs(2);

impl Ground {
    /// Makes a generation live: both are compared while others write, then writes stop for a moment, what was written since is
    /// compared, and the aliases change in one step.
    pub(crate) async fn activate(&self, number: u32, verify: Verify) -> Result<()> {
        let mut view = self.settled().await?;
        if view.set.live == number {
            return Ok(());
        }
        if view.beside.as_ref().is_none_or(|beside| beside.number != number) {
            return Err(absent(number));
        }
        let compared = self.compare(&view).await;
        let compared = self.settle(&mut view, compared).await?;
        let (Some(compared), Some(beside)) = (compared, &view.beside) else {
            return if view.set.live == number { Ok(()) } else { Err(meanwhile()) };
        };
        if !self.change(view.set, view.set.frozen(), &view.live.index, Vec::new()).await? {
            // Others were faster, perhaps with the same.
            let now = self.settled().await?;
            return if now.set.live == number { Ok(()) } else { Err(meanwhile()) };
        }
        let frozen = view.set.frozen();
        let swapped = match self.swap((&view, beside), &compared, verify).await {
            Ok(swapped) => Ok(swapped),
            Err(error) => {
                self.change(frozen, view.set, &view.live.index, Vec::new()).await?;
                Err(error)
            }
        };
        swapped?;
        if view.set.beside.is_some_and(|(_, state)| state.is_of_rows()) {
            self.remove_notes(number).await;
        }
        tracing::info!(name: "search.generation_activated", generation = number, "another generation of the index is live");
        Ok(())
    }

    /// Compares what was written since, and makes the other one live.
    async fn swap(&self, (view, beside): (&View, &Known), compared: &Compared, verify: Verify) -> Result<()> {
        // Behind this, what was taken in before has ended, or is looked after by who sent it.
        sleep(SETTLE).await;
        let mut rest = self.rest(view, compared, Instant::now() + DRAIN).await?;
        if verify == Verify::SameAsLive {
            if !rest.since.is_empty() && !rest.more {
                // Whoever wrote it has ended before the other one was told.
                self.copy(std::mem::take(&mut rest.since)).await?;
                rest = self.rest(view, compared, Instant::now()).await?;
            }
            check(beside.number, &rest)?;
        }
        let alias = self.alias.as_str();
        let (old, new) = (&view.live, beside);
        let kept = if rest.is_none() { Beside::Kept } else { Beside::Behind };
        let set = Set { live: new.number, beside: Some((old.number, kept)), ..view.set.thawed() };
        let mut more = vec![
            add(&new.index, &set.name(alias)),
            remove(&old.index, alias),
            json!({ "add": { "index": new.index, "alias": alias, "is_write_index": true } }),
            add(&new.index, &readable(alias, new.number)),
            remove(&new.index, &told(alias, new.number)),
            add(&old.index, &told(alias, old.number)),
        ];
        if kept == Beside::Behind {
            more.push(remove(&old.index, &readable(alias, old.number)));
        }
        if self.change(view.set.frozen(), set, &old.index, more).await? { Ok(()) } else { Err(meanwhile()) }
    }
}

fn check(number: u32, rest: &Rest) -> Result<()> {
    if rest.is_none() {
        return Ok(());
    }
    let message = format!("generation {number} does not hold what the live one does");
    Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND))
}

/// Somebody else has changed the generations.
pub(super) fn meanwhile() -> Error {
    let message = "the generations of the index were changed meanwhile";
    Error::new(ErrorKind::Conflict, message).with_backend(BACKEND).with_retry(Retry::Now)
}
