//! What all handles of an index share, and the steps by which its generations change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Namespace, Result, Retry};
use tokio::time::{Instant, sleep};

use super::super::client::{Call, Client};
use super::super::config::OpenSearchConfig;
use super::super::found::Known;
use super::super::handle::{check_open, search_path};
use super::super::{error, found};
use super::filler::Fillers;
use super::set::{self, Set, readable, told};
use super::view::View;

/// How long another process may take to make a generation live. Behind that it has died, and writes go on.
const STUCK: Duration = Duration::from_secs(10);

/// Behind a change, requests that a node took in before it have ended after this time, or whoever sent them looks again: see
/// [`SLOW`].
pub(crate) const SETTLE: Duration = Duration::from_millis(500);

/// A write that took longer than this may have been taken in before a change of the generations, and come behind it. Who sent it
/// looks again before it is acknowledged.
pub(crate) const SLOW: Duration = Duration::from_millis(250);

/// How often a look is tried that comes in the middle of a change.
const LOOKS: usize = 6;

/// An index, as all handles of it know it.
pub(crate) struct Ground {
    pub(crate) client: Arc<Client>,
    pub(crate) config: OpenSearchConfig,
    pub(crate) alias: Namespace,
    /// All handles of it are closed at once.
    pub(crate) closed: Arc<AtomicBool>,
    pub(crate) fillers: Fillers,
    /// Since when nobody writes.
    frozen: Mutex<Option<(Set, Instant)>>,
}

/// The generation of a handle.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) number: u32,
    /// Which there were when it was found.
    pub(crate) set: Set,
    /// What its index is called.
    pub(crate) index: String,
    /// By what it is read.
    pub(crate) address: String,
    pub(crate) search_path: String,
    /// Whether there is more than one shard.
    pub(crate) several: bool,
}

impl Home {
    pub(crate) fn of(view: &View, known: &Known, alias: &str, preference: &str) -> Self {
        let (address, several) = (view.address(alias, known), known.shards > 1);
        let search_path = search_path(&address, preference, several);
        Self { number: known.number, set: view.set, index: known.index.clone(), address, search_path, several }
    }
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground").field("alias", &self.alias).finish_non_exhaustive()
    }
}

impl Ground {
    pub(crate) fn new(config: &OpenSearchConfig, name: &Namespace) -> Result<Self> {
        Ok(Self {
            client: Arc::new(Client::new(config)?),
            config: config.clone(),
            alias: config.alias(name)?,
            closed: Arc::default(),
            fillers: Fillers::default(),
            frozen: Mutex::default(),
        })
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        check_open(&self.closed)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// What there is of the index now; `None` if there is none.
    pub(crate) async fn view(&self, timeout: Option<Duration>) -> Result<Option<View>> {
        let alias = self.alias.as_str();
        for tries in 0..LOOKS {
            let Some(found) = found::found(&self.client, alias, timeout).await? else { return Ok(None) };
            let (name, live) = found::only(found, alias)?;
            let said = sets(alias, live.aliases()).max_by_key(|set| (set.last, set.beside.is_some()));
            if said.is_none() && tries == 0 {
                self.adopt(&name, timeout).await?;
                continue;
            }
            let set = said.unwrap_or_else(|| Set::alone(set::number(alias, &name).unwrap_or(1)));
            self.note_frozen(set).await?;
            let live = live.known(set.live, name)?;
            let Some((number, _)) = set.beside else { return Ok(Some(View { set, live, beside: None })) };
            match found::found(&self.client, &told(alias, number), timeout).await? {
                Some(found) => {
                    let (name, beside) = found::only(found, &told(alias, number))?;
                    return Ok(Some(View { set, live, beside: Some(beside.known(number, name)?) }));
                }
                // It became live in between, or somebody has deleted its index.
                None => sleep(SOON).await,
            }
            if found::found(&self.client, &set::index(alias, number), timeout).await?.is_none() {
                tracing::warn!(name: "search.generation_gone", generation = number, "somebody has deleted a generation of the index");
                self.change(set, set.with_beside(None).thawed(), &live.index, Vec::new()).await?;
            }
        }
        let message = "the generations of the index change all the time";
        Err(Error::new(ErrorKind::Unavailable, message).with_backend(error::BACKEND).with_retry(Retry::Now))
    }

    /// What there is, of an index that was there.
    pub(crate) async fn present(&self) -> Result<View> {
        self.view(None).await?.ok_or_else(error::of_gone)
    }

    /// What was read by what was seen. Nothing if there are others by now, so that it is to be read again by what is so.
    pub(crate) async fn settle<T>(&self, view: &mut View, done: Result<T>) -> Result<Option<T>> {
        let gone = match done {
            Err(error) if error::is_gone(&error) => error,
            done => return done.map(Some),
        };
        let now = self.present().await?;
        if now.set == view.set {
            return Err(gone);
        }
        *view = now;
        Ok(None)
    }

    /// The same once nobody is about to make a generation live.
    pub(crate) async fn settled(&self) -> Result<View> {
        let mut pauses = Backoff::new(Duration::from_millis(50), Duration::from_millis(400));
        loop {
            let view = self.present().await?;
            if !view.set.frozen {
                return Ok(view);
            }
            sleep(pauses.pause()).await;
        }
    }

    /// Gives an index of a release before the aliases that say which generations there are.
    async fn adopt(&self, index: &str, timeout: Option<Duration>) -> Result<()> {
        let alias = self.alias.as_str();
        let number = set::number(alias, index).unwrap_or(1);
        let adds = [Set::alone(number).name(alias), readable(alias, number)].map(|name| add(index, &name));
        self.client.send(&Call::change("/_aliases", &json!({ "actions": adds })).within(timeout)).await.map(drop)
    }

    /// Lets writes go on where whoever stopped them has died.
    async fn note_frozen(&self, set: Set) -> Result<()> {
        let stuck = {
            let mut known = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
            let since = known.filter(|(known, _)| *known == set).map_or_else(Instant::now, |(_, since)| since);
            *known = set.frozen.then_some((set, since));
            set.frozen && since.elapsed() > STUCK
        };
        if !stuck {
            return Ok(());
        }
        tracing::warn!(name: "search.generation_thawed", "who made another generation live has ended before it was");
        let (index, live) = self.live().await?;
        if live == set {
            self.change(set, set.thawed(), &index, Vec::new()).await?;
        }
        Ok(())
    }

    /// The index of the live generation, and which generations there are.
    async fn live(&self) -> Result<(String, Set)> {
        let alias = self.alias.as_str();
        let found = found::found(&self.client, alias, None).await?.ok_or_else(error::of_gone)?;
        let (index, found) = found::only(found, alias)?;
        let set = sets(alias, found.aliases()).max_by_key(|set| set.last).ok_or_else(error::of_gone)?;
        Ok((index, set))
    }

    /// Says in one step that there are other generations than before, and makes these changes of aliases. `false` if others were
    /// faster: then nothing is done. `index` is that of the live one before; another one that becomes live says so in its changes.
    pub(super) async fn change(&self, from: Set, to: Set, index: &str, more: Vec<Json>) -> Result<bool> {
        let alias = self.alias.as_str();
        let mut actions = vec![json!({ "remove": { "index": index, "alias": from.name(alias), "must_exist": true } })];
        if from.live == to.live {
            actions.push(add(index, &to.name(alias)));
        }
        actions.extend(more);
        let answer = self.client.exchange(&Call::change("/_aliases", &json!({ "actions": actions }))).await?;
        if answer.status == 404 {
            // Perhaps it was done, and the answer was lost.
            return Ok(answer.in_doubt && self.live().await?.1 == to);
        }
        let Acknowledged { acknowledged } =
            serde_json::from_slice(&answer.into_body()?).map_err(error::of_broken_body)?;
        if acknowledged {
            return Ok(true);
        }
        let message = "not every node of OpenSearch knows of a change of the generations yet";
        Err(Error::new(ErrorKind::Unavailable, message).with_backend(error::BACKEND).with_retry(error::BACK_OFF))
    }
}

#[derive(Deserialize)]
struct Acknowledged {
    acknowledged: bool,
}

/// What aliases say.
fn sets<'a>(alias: &str, names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = Set> {
    names.filter_map(move |name| Set::parse(alias, name))
}

/// How long a change takes to be seen.
const SOON: Duration = Duration::from_millis(50);

pub(super) fn add(index: &str, alias: &str) -> Json {
    json!({ "add": { "index": index, "alias": alias } })
}

pub(super) fn remove(index: &str, alias: &str) -> Json {
    json!({ "remove": { "index": index, "alias": alias } })
}
