//! Leaders that are stopped in the middle of their work, on a Redis that is failed over under them.

use std::path::PathBuf;
use std::time::Duration;

use statehouse_testkit::{Program, RedisSentinel, RedisServer};
use tokio::time::{Instant, sleep};

use super::row::{Bound, Figure};
use super::stage::{Stage, log, numbers, until};
use crate::{Failure, own_namespace, s3_url};

/// That of `leader.rs`.
const LEASE: Duration = Duration::from_secs(1);
/// After how long three sentinels that miss a primary have another, in seconds, and what a leader may take beyond.
const TAKEOVER: f64 = 1.0 + 10.0 + 3.0;
const LATE: &str = "a late write was refused";

/// What was counted over all rounds.
#[derive(Default)]
struct Count {
    tokens: Vec<i64>,
    led: usize,
    failovers: usize,
    heard: usize,
    made: usize,
    refused: usize,
    slowest: Duration,
}

pub(super) async fn stopped(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let rounds = if stage.full { 100 } else { 6 };
    let group = RedisSentinel::try_start(RedisServer::builder().arg("--appendonly", "yes")).await?;
    let namespace = own_namespace();
    let leaders = start(stage, &namespace, &group.url()).await?;
    let mut count = Count::default();
    let mut leader = leading(&leaders, &count).await?;
    let mut round = 0;
    // Not each time it is stopped before it writes: on a busy machine seldom.
    while round < rounds || (count.refused < rounds / 3 && round < 10 * rounds) {
        leader = take_turns(&leaders, leader, (round % 2 == 1).then_some(&group), &mut count).await?;
        round += 1;
    }
    note_token(&leaders, &mut count)?;
    let primary = group.primary().await?.ok_or("there is no primary")?;
    let _flushed = primary.command(&["FLUSHALL"]).await?;
    leading(&leaders, &count).await?;
    note_token(&leaders, &mut count)?;
    for leader in &leaders {
        leader.terminate(Duration::from_secs(30)).await?;
    }
    let elsewhere = start(stage, &namespace, &s3_url(&stage.servers.s3)).await?;
    leading(&elsewhere, &count).await?;
    note_token(&elsewhere, &mut count)?;
    let logs: Vec<_> = leaders.iter().chain(&elsewhere).map(log).collect();
    Ok(figures(rounds, round, &count, &logs))
}

/// At least so many rounds were asked for, and so many made.
fn figures(asked: usize, rounds: usize, count: &Count, logs: &[String]) -> Vec<Figure> {
    let found: Vec<_> = logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains("ERROR")).collect();
    let fell = count.tokens.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    vec![
        Figure::is("rounds in which the other one led", count.led, rounds),
        Figure::is("failovers among them", count.failovers, rounds / 2),
        Figure::new("seconds of the slowest takeover", count.slowest.as_secs_f64(), Bound::AtMost(TAKEOVER)),
        Figure::is("rounds in which the stopped one saw that it leads no more", count.heard, rounds),
        Figure::at_least("late writes refused", count.refused, asked / 3),
        Figure::is("late writes made", count.made, 0),
        Figure::is("stale writes found, histories out of order, and other errors", found.len(), 0).because(&found),
        Figure::is("tokens, with those after a flush and a change of store", count.tokens.len(), rounds + 3),
        Figure::is("tokens that did not rise", fell, 0),
    ]
}

async fn start(stage: &Stage<'_>, namespace: &str, coordination: &str) -> Result<[Program; 2], Failure> {
    let program: PathBuf = stage.clinic.with_file_name("clinic-leader");
    let (redis, files) = (stage.servers.redis.url(), s3_url(&stage.servers.s3));
    let one = || {
        Program::builder("leader", &program)
            .arg("{address}")
            .env("STATEHOUSE_NAMESPACE", namespace)
            .env("STATEHOUSE_CACHE_URL", &redis)
            .env("STATEHOUSE_SESSIONS_URL", &redis)
            .env("STATEHOUSE_FILES_URL", &files)
            .env("STATEHOUSE_COORDINATION_URL", coordination)
            .ready_at("/live")
            .try_start()
    };
    Ok(tokio::try_join!(one(), one())?.into())
}

/// Which of them leads, with a token after all that there were, and has written under it.
async fn leading(leaders: &[Program], count: &Count) -> Result<usize, Failure> {
    let last = count.tokens.last().copied().unwrap_or_default();
    let leads = |index: &usize| written(&leaders[*index]).is_some_and(|(token, writes)| token > last && writes > 0);
    let newest = || (0..leaders.len()).filter(leads).max_by_key(|index| written(&leaders[*index]));
    until("one of them leads", newest).await
}

/// The token of its last term in which it said how much it had written, and that.
fn written(leader: &Program) -> Option<(i64, i64)> {
    let log = log(leader);
    let last = |name| numbers(&log, "has written", name).pop();
    Some((last("token")?, last("least")?))
}

fn note_token(leaders: &[Program], count: &mut Count) -> Result<(), Failure> {
    let token = leaders.iter().filter_map(written).map(|(token, _)| token).max();
    count.tokens.push(token.ok_or("nobody leads")?);
    Ok(())
}

/// Stops the one that leads until the other one has led and written for a while. Says who leads then.
async fn take_turns(
    leaders: &[Program],
    leader: usize,
    failed_over: Option<&RedisSentinel>,
    count: &mut Count,
) -> Result<usize, Failure> {
    let (stopped, other) = (&leaders[leader], &leaders[1 - leader]);
    let before = log(stopped);
    let token = numbers(&before, "leads", "token").pop().ok_or("it has never led")?;
    count.tokens.push(token);
    stopped.pause();
    let paused = Instant::now();
    if let Some(group) = failed_over {
        fail_over(group).await?;
        count.failovers += 1;
    }
    let has_led = || written(other).filter(|(theirs, writes)| *theirs > token && *writes > 0);
    until("the other one leads", has_led).await?;
    count.slowest = count.slowest.max(paused.elapsed());
    count.led += 1;
    sleep((LEASE * 2).saturating_sub(paused.elapsed())).await;
    stopped.resume();
    let no_more = format!("leads no more token={token}");
    let heard = until("the stopped one sees it", || {
        let log = log(stopped);
        log.contains(&no_more).then(|| log[before.len().min(log.len())..].to_owned())
    });
    let heard = heard.await?;
    count.heard += 1;
    let own = format!("token={token} ");
    let late = |what: &str| heard.lines().filter(|line| line.contains(what) && line.contains(&own)).count();
    count.made += late("a late write was made");
    count.refused += late(LATE);
    leading(leaders, count).await
}

/// Has the sentinels put the replica in the primary's place, which loses what the primary had not passed on.
async fn fail_over(group: &RedisSentinel) -> Result<(), Failure> {
    let before = primary(group).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        // It is refused while the sentinels are at the one before.
        let _told = group.sentinels()[0].command(&["SENTINEL", "FAILOVER", group.service()]).await?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            let now = primary(group).await;
            if now.is_some() && now != before {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        if Instant::now() > deadline {
            return Err("the sentinels put nobody in the primary's place".into());
        }
    }
}

async fn primary(group: &RedisSentinel) -> Option<String> {
    Some(group.primary().await.ok()??.address().to_owned())
}
