//! `cargo xtask demo`: the fleet in a browser, with a page to break it.

mod told;
mod ways;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use statehouse_testkit::{OpenSearchNode, PostgresServer, Program, RedisServer, S3Server};

use self::told::Told;
use self::ways::Ways;
use crate::balancer::{Body, text};
use crate::{Balancer, Failure, Fleet, Servers, own_namespace};

/// How often the replicas are asked how they are.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Starts the servers, `replicas` of the program at `clinic` and the balancer at `listen`; runs until Ctrl-C.
///
/// # Errors
/// If something is not installed or does not start.
pub async fn demo(clinic: &Path, replicas: usize, listen: &str, say: impl Fn(&str)) -> Result<(), Failure> {
    say("starting Redis, S3, OpenSearch and PostgreSQL …");
    let servers = Servers::start().await?;
    say("starting the replicas …");
    let ways: Vec<_> = (0..replicas).map(|_| Ways::to(&servers)).collect();
    let env = ways.iter().map(|ways| ways.env(&servers)).collect();
    let fleet = Fleet::start_each(clinic, &servers, &own_namespace(), env).await?;
    let addresses = fleet.addresses();
    let stage = Arc::new(Stage::new(servers, fleet, ways));
    let listening = tokio::spawn(Arc::clone(&stage).listen());
    let actors = Arc::clone(&stage);
    let control = Arc::new(move |request: Request<Incoming>| {
        let stage = Arc::clone(&actors);
        let answer: futures_util::future::BoxFuture<'static, Response<Body>> =
            Box::pin(async move { answer(&stage, &request) });
        answer
    });
    let balancer = Balancer::with_control(listen, &addresses, Some(control)).await?;
    *stage.balancer() = Some(balancer);
    let address = stage.balancer().as_ref().map(Balancer::address).ok_or("the balancer is gone")?;
    say(&format!("the clinic, through the load balancer: http://{address}"));
    say(&format!("break it while you watch:               http://{address}/_demo"));
    tokio::signal::ctrl_c().await?;
    say("stopping everything …");
    listening.abort();
    // It holds the stage, as the stage holds it.
    drop(stage.balancer().take());
    Ok(())
}

/// Everything that can be broken.
struct Stage {
    servers: Servers,
    fleet: Fleet,
    ways: Vec<Ways>,
    conditions: Mutex<Vec<Condition>>,
    told: Mutex<Vec<Told>>,
    balancer: Mutex<Option<Balancer>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Running,
    Paused,
    Killed,
    Starting,
}

#[derive(Clone, Copy, Debug)]
enum Action<'a> {
    Kill,
    Pause,
    Start,
    /// Cuts a replica off from the server of this name, or mends that.
    Cut(&'a str),
}

enum Part<'a> {
    Redis(&'a RedisServer),
    S3(&'a S3Server),
    OpenSearch(&'a OpenSearchNode),
    Postgres(&'a PostgresServer),
    Replica(&'a Program),
}

macro_rules! part {
    ($part:expr, $process:ident => $do:expr) => {
        match $part {
            Part::Redis($process) => $do,
            Part::S3($process) => $do,
            Part::OpenSearch($process) => $do,
            Part::Postgres($process) => $do,
            Part::Replica($process) => $do,
        }
    };
}

const SERVERS: [&str; 4] = ["Redis", "S3", "OpenSearch", "PostgreSQL"];

impl Stage {
    fn new(servers: Servers, fleet: Fleet, ways: Vec<Ways>) -> Self {
        let conditions = Mutex::new(vec![Condition::Running; SERVERS.len() + fleet.replicas().len()]);
        let told = Mutex::new(vec![Told::default(); ways.len()]);
        Self { servers, fleet, ways, conditions, told, balancer: Mutex::new(None) }
    }

    /// Asks the replicas again and again how they are.
    async fn listen(self: Arc<Self>) {
        loop {
            let conditions = self.conditions()[SERVERS.len()..].to_vec();
            let runs = conditions.iter().map(|condition| *condition == Condition::Running);
            let told = told::ask(&self.fleet.replicas().iter().zip(runs).collect::<Vec<_>>()).await;
            *self.told() = told;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn conditions(&self) -> MutexGuard<'_, Vec<Condition>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn balancer(&self) -> MutexGuard<'_, Option<Balancer>> {
        self.balancer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, index: usize) -> Option<Part<'_>> {
        Some(match index {
            0 => Part::Redis(&self.servers.redis),
            1 => Part::S3(&self.servers.s3),
            2 => Part::OpenSearch(&self.servers.opensearch),
            3 => Part::Postgres(self.fleet.postgres()),
            _ => Part::Replica(self.fleet.replicas().get(index - SERVERS.len())?),
        })
    }

    /// What the page shows.
    fn state(&self) -> serde_json::Value {
        let states = self.balancer().as_ref().map(Balancer::states).unwrap_or_default();
        let (conditions, told) = (self.conditions().clone(), self.told().clone());
        let parts = conditions.iter().enumerate().map(|(index, condition)| {
            let condition = format!("{condition:?}").to_lowercase();
            let Some(replica) = index.checked_sub(SERVERS.len()) else {
                return json!({ "name": SERVERS[index], "condition": condition });
            };
            let state = states.get(replica);
            json!({
                "name": format!("replica {}", crate::NAMES[replica]),
                "condition": condition,
                "ready": state.map(|state| state.ready),
                "answered": state.map(|state| state.answered),
                "passed_on": state.map(|state| state.passed_on),
                "failed": state.map(|state| state.failed),
                "reasons": told[replica].reasons,
                "members": told[replica].members,
                "ways": ways::TO,
                "cut": self.ways[replica].cut(),
            })
        });
        parts.collect()
    }

    /// Does what is possible in the part's present condition, and nothing else.
    fn act(self: &Arc<Self>, index: usize, action: Action<'_>) -> Result<(), &'static str> {
        let part = self.part(index).ok_or("no such part")?;
        if let Action::Cut(server) = action {
            let ways = index.checked_sub(SERVERS.len()).and_then(|replica| self.ways.get(replica));
            return ways.and_then(|ways| ways.turn(server)).ok_or("there is no such way");
        }
        let mut conditions = self.conditions();
        let next = match (action, conditions[index]) {
            (Action::Kill, Condition::Running | Condition::Paused) => {
                part!(part, process => process.kill());
                Condition::Killed
            }
            (Action::Pause, Condition::Running) => {
                part!(part, process => process.pause());
                Condition::Paused
            }
            (Action::Start, Condition::Paused) => {
                part!(part, process => process.resume());
                Condition::Running
            }
            (Action::Start, Condition::Killed) => {
                tokio::spawn(Arc::clone(self).start(index));
                Condition::Starting
            }
            _ => return Err("not in this condition"),
        };
        conditions[index] = next;
        Ok(())
    }

    async fn start(self: Arc<Self>, index: usize) {
        let stage = Arc::clone(&self);
        let started = tokio::spawn(async move {
            if let Some(part) = stage.part(index) {
                part!(part, process => process.restart().await);
            }
        });
        // A start that fails says so on standard error, by its panic.
        let condition = if started.await.is_ok() { Condition::Running } else { Condition::Killed };
        self.conditions()[index] = condition;
    }
}

fn answer(stage: &Arc<Stage>, request: &Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/_demo") => content("text/html", include_str!("../../assets/demo.html")),
        (&Method::GET, "/_demo/demo.js") => content("text/javascript", include_str!("../../assets/demo.js")),
        (&Method::GET, "/_demo/demo.css") => content("text/css", include_str!("../../assets/demo.css")),
        (&Method::GET, "/_demo/state") => content("application/json", stage.state().to_string()),
        // No other site's page can set this header.
        (&Method::POST, path) if request.headers().contains_key("x-demo") => match asked(path) {
            Some((index, action)) => match stage.act(index, action) {
                Ok(()) => text(StatusCode::OK, "done"),
                Err(why) => text(StatusCode::CONFLICT, why),
            },
            None => text(StatusCode::NOT_FOUND, "there is no such action"),
        },
        _ => text(StatusCode::NOT_FOUND, "there is no such page"),
    }
}

/// `/_demo/4/kill`, `/_demo/4/cut/Redis`
fn asked(path: &str) -> Option<(usize, Action<'_>)> {
    let (index, action) = path.strip_prefix("/_demo/")?.split_once('/')?;
    let action = match action {
        "kill" => Action::Kill,
        "pause" => Action::Pause,
        "start" => Action::Start,
        _ => Action::Cut(action.strip_prefix("cut/")?),
    };
    Some((index.parse().ok()?, action))
}

fn content(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}
