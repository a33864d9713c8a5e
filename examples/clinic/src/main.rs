//! A small clinic: staff log in, patients have charts, diagnoses are coded from a terminology, documents are attached.
//!
//! The same program runs alone, with everything in one folder, and as several replicas that share a Redis, a bucket, an
//! OpenSearch and a PostgreSQL. Only its settings differ; [`wiring`] is all that knows of statehouse's backends.

mod app;
mod attempts;
mod build;
mod db;
mod error;
mod id;
mod links;
mod metrics;
mod outages;
mod private;
mod problem_sets;
mod reports;
mod server;
mod settings;
mod sweep;
mod terminology;
mod time;
mod turnstile;
mod variables;
mod web;
mod wiring;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use statehouse::Service;
use statehouse::coord::MemberInfo;
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::reports::Reporting;
use crate::settings::{HELP, Settings};
use crate::terminology::Loading;
use crate::web::Site;

/// How long a stop may take in all.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// After a flood of requests the system's own allocator keeps three times as much memory, and it takes a tenth more time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colors = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).with_writer(std::io::stderr).init();
    let read = || {
        variables::check(std::env::vars_os())?;
        Settings::read(std::env::args_os().skip(1), env)
    };
    let outcome = match read() {
        Ok(None) => std::io::stdout().write_all(HELP.as_bytes()).map_err(Failure::from),
        Ok(Some(settings)) => run(settings).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _nobody_reads = writeln!(std::io::stderr(), "clinic: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what it came from, on one line.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn run(settings: Settings) -> Result<(), Failure> {
    // Taken first and listened at last: a wrong address makes no folder, and nobody waits for one that is not open yet.
    let socket = server::take(&settings.listen)
        .await
        .map_err(|error| format!("cannot listen at {}: {error}", settings.listen))?;
    make_folder(&settings.data)?;
    // Before anything is recorded.
    let _ = metrics::recorded();
    let app = Arc::new(App::open(&settings).await?);
    let (https, forwarded) = (settings.https, settings.forwarded);
    let (replica, metrics_token) = (settings.replica, settings.metrics_token);
    let router = web::router(&app, Site { replica, https, forwarded, metrics_token });
    if https {
        tracing::info!("people come over HTTPS: over plain HTTP nobody can log in, unless CLINIC_HTTPS is false");
    }
    let loading = Loading::start(Arc::clone(&app));
    let reporting = Reporting::start(Arc::clone(&app), settings.report_every);
    let sweeping = tokio::spawn(sweep::run(Arc::clone(&app)));
    let watching = tokio::spawn(async { tokio::join!(outages::watch(), metrics::keep_up()) });
    let following = tokio::spawn(app.problem_sets.clone().follow());
    let info = MemberInfo::new(concat!("clinic ", env!("CARGO_PKG_VERSION")));
    let info = info.with_fingerprint("edition", app.concepts.edition().name());
    let info = info.with_address(socket.local_addr()?.to_string());
    // Without sessions nobody is logged in: who has lost them leaves the requests to the others.
    let operations = app.services.operations().member(info).hard(Service::Sessions).soft(app.database_dependency());
    let operations = operations.at_stop(loading.stop());
    let operations = operations.at_stop(reporting.stop());
    // Before anybody is told that it listens, and after what may take long: until here Ctrl-C ends it, which loses nothing.
    let operations = operations.delay(settings.drain).drain_within(STOP_WITHIN).catch_signals()?;
    let listener = socket.listen(1024).map_err(|error| format!("cannot listen at {}: {error}", settings.listen))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    operations.serve(listener, router).await?;
    sweeping.abort();
    watching.abort();
    following.abort();
    app.close().await?;
    Ok(())
}

fn make_folder(data: &Path) -> Result<(), Failure> {
    private::make_folder(data).map_err(|error| format!("cannot make the folder {}: {error}", data.display()))?;
    tracing::info!(folder = %std::path::absolute(data)?.display(), "what this clinic keeps itself is in this folder");
    Ok(())
}
