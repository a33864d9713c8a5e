//! One replica among others: what it tells them, what it learns of them, and what follows.

mod differences;
#[cfg(feature = "coord-redis")]
mod elsewhere;
mod places;
mod quorum;
mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_coord::{Behind, Joined, Member, MemberInfo, MemberState, MemberWatch, Membership};
use statehouse_core::SystemClock;
use statehouse_core::policy::Backoff;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use self::differences::{Differences, Own, differences, lines_beyond};
use self::places::Places;
use self::quorum::{Loss, Me, decide};
use self::telling::Telling;
use super::readiness::{Lost, Readiness};
use crate::description::{ServiceDescription, ServiceState};
use crate::services::Services;
use crate::standing::{Standing, Verdict};

/// How often a replica looks at itself.
const TURN: Duration = Duration::from_secs(1);

/// How often it looks at the others while it has lost something, however slow the store.
const IN_TROUBLE: Duration = Duration::from_secs(1);

/// How often its clock is held against the store's.
const CLOCK: Duration = Duration::from_secs(60);

/// For how long what was seen of the others counts when they cannot be seen any more.
const REMEMBERED: Duration = Duration::from_secs(6);

/// The pauses of who does not get in.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// How long leaving may take. Less than a second, which is what a stop that is forced leaves.
const LEAVE: Duration = Duration::from_millis(900);

/// What it knows of itself and of the others.
struct Replica {
    services: Services,
    readiness: Arc<Readiness>,
    joined: Joined,
    telling: Telling,
    membership: Membership,
    watch: MemberWatch,
    places: Places,
    /// As they were when they were seen last, and when that was.
    members: Option<(Instant, Vec<Member>)>,
    clock: Option<i64>,
    clock_read: Option<Instant>,
    /// Since when the others are told what is lost.
    told: Option<Instant>,
    differences: Differences,
    /// What is said of replicas that have another namespace.
    elsewhere: watch::Receiver<Differences>,
}

/// Joins the others in the background, and keeps `/ready` informed, until the services are shut down.
pub(super) fn begin(services: &Services, readiness: Arc<Readiness>, info: MemberInfo) {
    let Some(membership) = services.inner().membership() else { return };
    let lifecycle = &services.inner().lifecycle;
    if !lifecycle.stands(Standing::default()) {
        return;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let elsewhere = look_elsewhere(services, &info);
    let services = services.clone();
    let living = tokio::spawn(async move {
        let mut stopped = stopped;
        let mut replica = tokio::select! {
            replica = join(services, readiness, (membership, elsewhere), info) => replica,
            _ = &mut stopped => return,
        };
        tokio::select! {
            () = replica.live() => {}
            _ = stopped => {}
        }
        replica.joined.leave().await;
    });
    lifecycle.at_shutdown(async move {
        drop(stop);
        let _late = timeout(LEAVE, living).await;
    });
}

/// What is found of replicas that have another namespace, for as long as somebody wants to know.
fn look_elsewhere(services: &Services, info: &MemberInfo) -> watch::Receiver<Differences> {
    let (found, told) = watch::channel(Differences::new());
    #[cfg(feature = "coord-redis")]
    if let Some(neighbours) = services.inner().neighbours.clone() {
        drop(tokio::spawn(elsewhere::look(
            neighbours,
            services.namespace().as_str().to_owned(),
            info.build.clone(),
            found,
        )));
        return told;
    }
    let _nobody = (services, info, found);
    told
}

/// Tries until it is in.
async fn join(
    services: Services,
    readiness: Arc<Readiness>,
    (membership, elsewhere): (Membership, watch::Receiver<Differences>),
    info: MemberInfo,
) -> Replica {
    let (mut backoff, mut is_told) = (Backoff::new(PAUSES[0], PAUSES[1]), false);
    loop {
        match membership.join(info.clone()).await {
            Ok(joined) => {
                let watch = joined.watch();
                let id = joined.id();
                tracing::info!(name: "fleet.joined", %id, "this replica is known to the others");
                return Replica {
                    services,
                    readiness,
                    joined,
                    telling: Telling::new(info),
                    membership,
                    watch,
                    places: Places::default(),
                    members: None,
                    clock: None,
                    clock_read: None,
                    told: None,
                    differences: Differences::new(),
                    elsewhere,
                };
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(name: "fleet.not_joined", %error, "this replica is not known to the others");
                }
                let behind = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Behind>());
                let behind = behind.map(ToString::to_string);
                services.inner().lifecycle.now_stands(Standing { behind, ..Standing::default() });
                sleep(backoff.pause()).await;
            }
        }
    }
}

impl Replica {
    async fn live(&mut self) {
        let services = self.services.clone();
        loop {
            self.turn(&services).await;
            sleep(TURN).await;
        }
    }

    async fn turn(&mut self, services: &Services) {
        self.readiness.look().await;
        self.places.look(services).await;
        let (lost, lifecycle) = (self.readiness.lost(), &services.inner().lifecycle);
        // The others are told as soon as it is down, so that it need not wait for that once it is lost.
        let (down, used) = (self.readiness.down(), used(services));
        let reaches = self.readiness.reaches();
        self.telling.tell(&self.joined, |info| {
            info.reaches = reaches;
            info.lost.clone_from(&down);
            self.places.tell(&used, info);
        });
        self.told = match (down.is_empty(), self.told) {
            (true, _) => None,
            (false, None) => self.joined.is_told().then(Instant::now),
            (false, told) => told,
        };
        self.see(!down.is_empty()).await;
        self.compare(&used);
        lifecycle.now_stands(self.standing(&lost));
        let (state, reasons) = (self.readiness.state(), self.readiness.why_not());
        self.telling.tell(&self.joined, |info| (info.state, info.reasons) = (state, reasons));
    }

    /// Looks at the others when it is time.
    async fn see(&mut self, in_trouble: bool) {
        let seen = self.members.as_ref().map(|(at, _)| at.elapsed());
        let is_due = self.watch.rest().is_zero() || in_trouble && seen.is_none_or(|ago| ago >= IN_TROUBLE);
        if is_due {
            self.look().await;
        }
        if self.members.is_some() && self.clock_read.is_none_or(|at| at.elapsed() >= CLOCK) {
            self.clock_read = Some(Instant::now());
            // It is looked at again.
            self.clock = self.membership.clock_offset(&SystemClock::default()).await.unwrap_or(self.clock);
        }
    }

    async fn look(&mut self) {
        // Beats may have told since the last look that nothing has changed.
        let known = self.watch.as_of().map(|at| at.elapsed());
        match self.watch.look().await {
            Ok(members) => self.members = Some((Instant::now(), members)),
            Err(error) => {
                tracing::debug!(name: "fleet.unseen", %error, "the other replicas cannot be seen");
                if known.is_some_and(|ago| ago >= REMEMBERED) {
                    self.members = None;
                }
            }
        }
    }

    /// A line for each difference that comes, and one for each that goes.
    fn compare(&mut self, used: &[ServiceDescription]) {
        let Some((_, members)) = &self.members else { return };
        let alone: Vec<_> = used.iter().filter(|described| !described.shared).collect();
        let alone: Vec<_> = alone.iter().map(|alone| (alone.service.as_str(), alone.backend.clone())).collect();
        let info = self.joined.info();
        let own = Own { id: self.joined.id(), info: &info, alone: &alone, clock: self.clock };
        let mut now = differences(&own, members);
        now.extend(self.elsewhere.borrow().clone());
        for difference in lines_beyond(&self.differences, &now) {
            tracing::warn!(name: "fleet.differs", "{difference}");
        }
        for difference in lines_beyond(&now, &self.differences) {
            tracing::info!(name: "fleet.agrees", "no longer so: {difference}");
        }
        self.differences = now;
    }

    fn standing(&self, lost: &[Lost]) -> Standing {
        let members = self.members.as_ref().map(|(_, members)| &members[..]);
        let is_ready = self.joined.info().state == MemberState::Ready;
        let (me, now) = (Me { id: self.joined.id(), is_ready, told: self.told }, Instant::now());
        let verdicts: BTreeMap<String, Verdict> = lost
            .iter()
            .map(|lost| (lost.name.clone(), decide(me, Loss { name: &lost.name, since: lost.since }, members, now)))
            .collect();
        Standing {
            members: members.map(<[Member]>::len),
            verdicts,
            differences: self.differences.values().cloned().collect(),
            behind: self.joined.behind().map(|behind| behind.to_string()),
        }
    }
}

fn used(services: &Services) -> Vec<ServiceDescription> {
    let all = services.describe().services.into_iter();
    all.filter(|described| described.state != ServiceState::NotUsed).collect()
}
