//! Whether two generations hold the same.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use statehouse_core::Result;
use tokio::time::{Instant, sleep};

use super::super::client::deadline;
use super::super::versions::present;
use super::ground::Ground;
use super::view::View;
use crate::DocumentId;

/// What was read of both while others wrote.
pub(super) struct Compared {
    /// What differed.
    differed: Vec<DocumentId>,
    /// As far as the operations of each had been done before, shard by shard.
    since: [BTreeMap<String, i64>; 2],
}

/// What is different while nobody writes.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// What was written since, and is not the same yet.
    pub(super) since: Vec<DocumentId>,
    /// Whether there is more.
    pub(super) more: bool,
}

impl Rest {
    pub(super) const fn is_none(&self) -> bool {
        self.since.is_empty() && !self.more
    }
}

/// How often it is looked whether writers have ended.
const TURN: Duration = Duration::from_millis(50);

/// More than this that differs, or was written since, is not looked at while nobody writes.
const MOST: usize = 5_000;

impl Ground {
    /// Reads all ids and versions of both, while others write.
    pub(super) async fn compare(&self, view: &View) -> Result<Compared> {
        let since = [self.marks_of(view, 0).await?, self.marks_of(view, 1).await?];
        Ok(Compared { differed: self.different(view, MOST).await?, since })
    }

    async fn marks_of(&self, view: &View, nth: usize) -> Result<BTreeMap<String, i64>> {
        match view.all().nth(nth) {
            Some(known) => self.checkpoints(&view.address(self.alias.as_str(), known)).await,
            None => Ok(BTreeMap::new()),
        }
    }

    /// What is different now. Nobody writes any more, but for who tells one what the other one took before: that is waited for.
    pub(super) async fn rest(&self, view: &View, compared: &Compared, until: Instant) -> Result<Rest> {
        loop {
            let rest = self.rest_now(view, compared).await?;
            if rest.is_none() || Instant::now() >= until {
                return Ok(rest);
            }
            sleep(TURN).await;
        }
    }

    async fn rest_now(&self, view: &View, compared: &Compared) -> Result<Rest> {
        let Some(beside) = &view.beside else { return Ok(Rest { more: true, ..Rest::default() }) };
        let addresses = [&view.live, beside].map(|known| view.address(self.alias.as_str(), known));
        let mut since = HashSet::new();
        for (address, since_then) in addresses.iter().zip(&compared.since) {
            self.show(address).await?;
            since.extend(self.changed(address, since_then, MOST).await?);
        }
        if compared.differed.len() > MOST || since.len() >= MOST {
            return Ok(Rest { more: true, ..Rest::default() });
        }
        let mut looked: Vec<_> = since.iter().chain(&compared.differed).cloned().collect();
        looked.sort();
        looked.dedup();
        let until = deadline(self.client.timing.total);
        let live = present(&self.client, &addresses[0], looked.clone(), until).await?;
        let there = present(&self.client, &addresses[1], looked.clone(), until).await?;
        let mut rest = Rest::default();
        for (id, _) in looked.into_iter().zip(live.into_iter().zip(there)).filter(|(_, (live, there))| live != there) {
            if since.contains(&id) {
                rest.since.push(id);
            } else {
                rest.more = true;
            }
        }
        // A delete leaves nothing to be found by, so that they are counted.
        let counts = [self.counted(&addresses[0]).await?, self.counted(&addresses[1]).await?];
        rest.more |= rest.since.is_empty() && counts[0] != counts[1];
        Ok(rest)
    }
}

/// The ids that are not in both with the same version.
pub(super) fn different(live: Vec<(DocumentId, u64)>, there: Vec<(DocumentId, u64)>) -> Vec<DocumentId> {
    let mut differing: BTreeMap<DocumentId, u64> = live.into_iter().collect();
    for (id, version) in there {
        if differing.get(&id) == Some(&version) {
            differing.remove(&id);
        } else {
            differing.insert(id, version);
        }
    }
    differing.into_keys().collect()
}
