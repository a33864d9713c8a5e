//! `statehouse run-once`.

use std::time::Duration;

use serde_json::json;
use statehouse::ErrorKind;
use statehouse::coord::{RunList, RunPhase, RunReport, Runs};

use crate::args::RunOnce;
use crate::environment::open;
use crate::outcome::{Failure, Outcome};

pub(crate) async fn administer(what: RunOnce) -> Result<Outcome, Failure> {
    let services = open().await?;
    // What whoever wants to run it meanwhile is told.
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "somewhere".to_owned());
    let coord = services.coordination().with_label(format!("statehouse run-once on {host}"));
    let runs = coord.runs();
    let outcome = match what {
        RunOnce::List => runs.list().await.map_err(Failure::from).and_then(|list| listed(&list)),
        RunOnce::Show { name } => show(&runs, &name).await,
        RunOnce::Reset { name, is_meant: false, .. } => would_reset(&runs, &name).await,
        RunOnce::Reset { name, wait, .. } => reset(runs, &name, wait).await,
    };
    let closed = services.shutdown().await;
    let outcome = outcome?;
    closed?;
    Ok(outcome)
}

fn listed(list: &RunList) -> Result<Outcome, Failure> {
    let mut lines: Vec<_> = list.runs.iter().map(line).collect();
    if list.skipped > 0 {
        lines.push(format!("{} names have something else than a record", list.skipped));
    }
    if lines.is_empty() {
        lines.push("nothing was run once in this namespace".to_owned());
    }
    Outcome::of(lines.join("\n"), &json!({ "runs": list.runs, "skipped": list.skipped }))
}

async fn show(runs: &Runs, name: &str) -> Result<Outcome, Failure> {
    match runs.get(name).await? {
        Some(run) => Outcome::of(line(&run), &run),
        None => Err(absent(name)),
    }
}

async fn would_reset(runs: &Runs, name: &str) -> Result<Outcome, Failure> {
    let run = match runs.get(name).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let text = format!(
                "{name}: what is stored there is damaged\nnothing was done: say --yes to have it run from the beginning"
            );
            return Ok(Outcome::of(text, &json!({ "reset": false, "run": null }))?.not_meant());
        }
        run => run?.ok_or_else(|| absent(name))?,
    };
    let text = format!("{}\nnothing was done: say --yes to have it run from the beginning", line(&run));
    Ok(Outcome::of(text, &json!({ "reset": false, "run": run }))?.not_meant())
}

async fn reset(runs: Runs, name: &str, wait: Duration) -> Result<Outcome, Failure> {
    if !runs.wait(wait).reset(name).await? {
        return Err(absent(name));
    }
    let text = format!("{name}: reset; whoever comes next runs it from the beginning");
    Outcome::of(text, &json!({ "reset": true, "name": name }))
}

fn absent(name: &str) -> Failure {
    Failure::not_found(format!("{name:?} was never begun in this namespace, or was reset"))
}

fn line(run: &RunReport) -> String {
    let Some(status) = &run.status else {
        return format!("{}: written by another version of statehouse; record {}", run.name, run.version);
    };
    let phase = match (status.phase, &run.held_by) {
        (RunPhase::Done, _) => "done".to_owned(),
        (_, Some(holder)) => format!("run by {holder:?}"),
        (RunPhase::Failed, None) => "failed".to_owned(),
        _ => "cut short".to_owned(),
    };
    let mut words = vec![format!("{}: {phase}", run.name)];
    words.push(format!("revision {} {:?}", status.revision.number(), status.revision.digest()));
    words.push(format!("attempt {} by {:?}", status.attempt, status.holder));
    if status.total > 0 {
        words.push(format!("{} of {} done", status.done, status.total));
    }
    words.extend(run.checkpoint.map(|bytes| format!("checkpoint of {bytes} bytes")));
    words.push(format!("record {}", run.version));
    words.extend(status.error.as_ref().map(|error| format!("because {error:?}")));
    words.join(", ")
}
