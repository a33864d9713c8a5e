//! Replicas come and go while people work.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::row::{Bound, Figure, number};
use super::stage::{Stage, Work, at_work, balanced, until};
use crate::soak::people::PEOPLE;
use crate::{Balancer, Failure};

fn figures(work: &Work, time: Duration, unanswered: u64) -> Vec<Figure> {
    let unanswered = usize::try_from(unanswered).unwrap_or(usize::MAX);
    vec![
        Figure::told("requests", work.requests),
        Figure::new("requests a second", number(work.requests) / time.as_secs_f64(), Bound::Told),
        Figure::told("requests on the sockets of those killed", unanswered),
        Figure::is("other requests that failed", work.failed.saturating_sub(unanswered), 0).because(&work.failures),
        Figure::is("acknowledged writes lost, and people logged out", work.broken.len(), 0).because(&work.broken),
    ]
}

/// All that the replicas have to do beside, they do on a machine that may be busy with other tests.
const fn people(stage: &Stage<'_>) -> usize {
    if stage.full { PEOPLE } else { 3 }
}

fn lost_on_sockets(balancer: &Balancer) -> u64 {
    balancer.states().iter().map(|state| state.failed).sum()
}

pub(super) async fn killed(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let (every, time) = (stage.seconds(6, 10), stage.seconds(30, 120));
    let fleet = stage.fleet(3, &[]).await?;
    let balancer = balanced(&fleet).await?;
    let mut kills = 0;
    let killing = async {
        let until = Instant::now() + time;
        // However long a restart takes on a machine that is busy with other tests.
        while if stage.full { Instant::now() + every < until } else { kills < 3 } {
            sleep(every).await;
            let replica = &fleet.replicas()[kills % 3];
            replica.kill();
            kills += 1;
            sleep(Duration::from_secs(1)).await;
            replica.restart().await;
        }
        Ok(())
    };
    let work = at_work(people(stage), &balancer, time, killing).await?;
    let mut figures = figures(&work, time, lost_on_sockets(&balancer));
    figures.push(Figure::at_least("replicas killed", kills, if stage.full { 8 } else { 3 }));
    Ok(figures)
}

pub(super) async fn rolling(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let (rounds, time) = (if stage.full { 4 } else { 1 }, stage.seconds(30, 120));
    let fleet = stage.fleet(3, &[]).await?;
    let balancer = balanced(&fleet).await?;
    let (mut good, mut slowest) = (0, Duration::ZERO);
    let restarting = async {
        for _ in 0..rounds {
            for (index, replica) in fleet.replicas().iter().enumerate() {
                let asked = Instant::now();
                good += usize::from(replica.terminate(Duration::from_secs(30)).await?.success());
                slowest = slowest.max(asked.elapsed());
                replica.restart().await;
                until("it is ready again", || balancer.states()[index].ready.then_some(())).await?;
            }
        }
        Ok(())
    };
    let work = at_work(people(stage), &balancer, time, restarting).await?;
    let mut figures = figures(&work, time, 0);
    figures.push(Figure::is("restarts that ended well", good, 3 * rounds));
    figures.push(Figure::new("seconds of the slowest stop", slowest.as_secs_f64(), Bound::Told));
    Ok(figures)
}

pub(super) async fn scaled(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let (most, time) = (if stage.full { 10 } else { 5 }, stage.seconds(40, 90));
    let fleet = stage.fleet(most, &[]).await?;
    let balancer = balanced(&fleet).await?;
    let (first, others) = fleet.replicas().split_first().ok_or("there are no replicas")?;
    let end = async |index: usize| others[index].terminate(Duration::from_secs(30)).await;
    let ready = || balancer.states().iter().filter(|state| state.ready).count();
    try_join_all((0..others.len()).map(&end)).await?;
    until("one is left", || (ready() == 1).then_some(())).await?;
    let (mut seen, mut left) = (0, 0);
    let scaling = async {
        sleep(Duration::from_secs(2)).await;
        for other in others {
            other.restart().await;
        }
        until("all take part", || (ready() == most).then_some(())).await?;
        seen = ready();
        sleep(Duration::from_secs(3)).await;
        try_join_all((1..others.len()).map(&end)).await?;
        until("two are left", || (ready() == 2).then_some(())).await?;
        left = ready();
        Ok(())
    };
    let work = at_work(people(stage), &balancer, time, scaling).await?;
    let mut figures = figures(&work, time, 0);
    figures.push(Figure::is("replicas that took part at most", seen, most));
    figures.push(Figure::is("replicas that are left", left, 2));
    figures.push(Figure::is("the first one still runs", usize::from(first.is_running()), 1));
    Ok(figures)
}
