//! What a server says about itself.

use std::collections::HashMap;
use std::sync::LazyLock;

use redis::{Cmd, Pipeline, Value, cmd, from_redis_value};
use statehouse_core::Retry;
use tokio::time::Instant;

use crate::failure::{Failure, Sent};
use crate::node::Node;
use crate::node::info::{Memory, Persistence, Refusal, field, refusal, version};

/// What a server says about itself in one round trip. What it does not tell, because it is of another kind or the user
/// may not ask, is left open: that alone is no reason to complain.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) is_replica: bool,
    pub(crate) memory: Option<Memory>,
    /// How many replicas are connected.
    pub(crate) replicas: Option<u32>,
    /// Why it refuses writes, if it does for another reason.
    pub(crate) refusal: Option<Refusal>,
    /// What it said to a script that does what all of ours do, if it did not run it.
    pub(crate) scripts: Option<Failure>,
}

/// How a server was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Or it does not say.
    Single,
    OfACluster,
    Sentinel,
}

/// What [`refusal`] looks at.
const SETTINGS: [&str; 3] = ["min-replicas-to-write", "save", "stop-writes-on-bgsave-error"];

/// Every write of ours is a script, by its source or by its hash, and asks for the time.
const SCRIPT: &str = "return redis.call('TIME')[1]";

static HASH: LazyLock<String> = LazyLock::new(|| redis::Script::new(SCRIPT).get_hash().to_owned());

/// The script's two commands, whose answers are the last.
fn run_script(questions: &mut Pipeline) -> usize {
    questions.cmd("EVAL").arg(SCRIPT).arg(0).cmd("EVALSHA").arg(&*HASH).arg(0);
    2
}

impl Node {
    /// Asks whether it is there, what it is, how full it is, and whether it takes writes.
    pub(crate) async fn inspect(&self, until: Instant) -> Result<Facts, Failure> {
        let mut questions = Pipeline::with_capacity(10);
        questions.cmd("PING").cmd("ROLE");
        for section in ["memory", "replication", "persistence"] {
            questions.cmd("INFO").arg(section);
        }
        for setting in SETTINGS {
            questions.cmd("CONFIG").arg("GET").arg(setting);
        }
        let scripts = run_script(&mut questions);
        let mut answers = self.send_each(&questions, until).await?;
        let scripts = answers.split_off(answers.len().saturating_sub(scripts));
        let mut answers = answers.into_iter();
        let mut next = || told(answers.next().unwrap_or(Value::Nil).extract_error().map_err(Failure::answered));
        // One that cannot save refuses even this, and answers all else that reads.
        let cannot_save = match next() {
            Err(failure) if failure.code() == Some("MISCONF") => Some(("it cannot save to its disk", Retry::FULL)),
            answer => answer.map(|_| None)?,
        };
        let role = next()?;
        let mut info = String::new();
        for _ in 0..3 {
            info.push_str(&next()?.and_then(|info| from_redis_value::<String>(info).ok()).unwrap_or_default());
        }
        let mut settings: HashMap<String, String> = HashMap::new();
        for _ in SETTINGS {
            let answer = next()?.and_then(|answer| from_redis_value::<HashMap<_, _>>(answer).ok());
            settings.extend(answer.into_iter().flatten());
        }
        Ok(Facts {
            is_replica: role.is_some_and(|role| is_replica(&role)),
            memory: Memory::of(&info),
            replicas: field(&info, "connected_slaves").and_then(|count| count.parse().ok()),
            refusal: refusal(&info, |name| settings.get(name).cloned()).or(cannot_save),
            scripts: scripts.into_iter().find_map(|answer| answer.extract_error().err()).map(Failure::answered),
        })
    }

    /// What is there again after it was stopped.
    pub(crate) async fn persistence(&self, until: Instant) -> Result<Persistence, Failure> {
        let mut questions = Pipeline::with_capacity(2);
        questions.cmd("INFO").arg("persistence").cmd("CONFIG").arg("GET").arg("save");
        let mut answers = self.send_each(&questions, until).await?.into_iter();
        let mut next = || told(answers.next().unwrap_or(Value::Nil).extract_error().map_err(Failure::answered));
        let info = next()?.and_then(|info| from_redis_value::<String>(info).ok()).unwrap_or_default();
        let settings: Option<HashMap<String, String>> = next()?.and_then(|answer| from_redis_value(answer).ok());
        let save = settings.as_ref().and_then(|settings| settings.get("save"));
        Ok(Persistence::of(&info, save.map(String::as_str)))
    }

    /// Major and minor number of the Redis that it is, or says that it is compatible with, and what else it is for.
    pub(crate) async fn version(&self, until: Instant) -> Result<(Option<(u32, u32)>, Mode), Failure> {
        let info = self.ask(cmd("INFO").arg("server"), until).await?;
        let info: String = info.and_then(|info| from_redis_value(info).ok()).unwrap_or_default();
        let mode = match field(&info, "redis_mode") {
            Some("cluster") => Mode::OfACluster,
            Some("sentinel") => Mode::Sentinel,
            _ => Mode::Single,
        };
        Ok((field(&info, "redis_version").and_then(version), mode))
    }

    /// The answer, or `None` if the server refuses to answer.
    pub(crate) async fn ask(&self, question: &Cmd, until: Instant) -> Result<Option<Value>, Failure> {
        match self.send(question, until).await {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if failure.sent == Sent::Answered => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// That this user may not ask, or that there is no such question, says nothing about the server.
fn told(answer: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if matches!(failure.code(), Some("NOPERM" | "ERR")) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn is_replica(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    matches!(parts.first(), Some(Value::BulkString(role)) if role == b"slave")
}
