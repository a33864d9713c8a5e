//! What is sent as one unit, and how to send it to one server.

use std::borrow::Cow;
use std::sync::Arc;

use redis::{Arg, Cmd, Pipeline, Value, cmd, pipe};
use tokio::time::Instant;

use crate::client::Idempotence;
use crate::dated::{send_dated, send_dated_first};
use crate::gather::{get, sole};
use crate::node::Node;
use crate::pending::{Failure, Sent};
use crate::script::ScriptCall;
use crate::slot::{slot_of, slot_of_command};
use crate::topology::Target;

pub(crate) enum Request<'a> {
    Command(&'a Cmd),
    /// A read whose answer comes with the server's time.
    Dated(&'a Cmd),
    /// The value of a key.
    Get(&'a [u8]),
    Pipeline(&'a Pipeline),
    Script(&'a ScriptCall<'a>),
}

impl Request<'_> {
    /// The command's name, for spans.
    pub(crate) fn name(&self) -> String {
        let command = match self {
            Self::Command(command) | Self::Dated(command) => command,
            Self::Get(_) => return "MGET".to_owned(),
            Self::Pipeline(_) => return "PIPELINE".to_owned(),
            Self::Script(_) => return "EVALSHA".to_owned(),
        };
        match command.args_iter().next() {
            Some(Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
            _ => String::new(),
        }
    }

    pub(crate) fn slot(&self) -> Option<u16> {
        match self {
            Self::Command(command) | Self::Dated(command) => slot_of_command(command),
            Self::Get(key) => Some(slot_of(key)),
            Self::Pipeline(pipeline) => pipeline.cmd_iter().find_map(slot_of_command),
            Self::Script(call) => call.first_key().map(slot_of),
        }
    }

    /// What to put into a pipeline with others.
    pub(crate) fn command(&self) -> Cmd {
        match self {
            Self::Command(command) | Self::Dated(command) => (*command).clone(),
            Self::Get(key) => get(key),
            Self::Script(call) => call.by_hash(),
            Self::Pipeline(_) => Cmd::new(),
        }
    }

    /// Whether it says until when it may run.
    pub(crate) const fn is_stamped(&self) -> bool {
        matches!(self, Self::Script(call) if call.is_stamped())
    }

    /// Whether it is executed as a whole or not at all.
    fn is_whole(&self) -> bool {
        match self {
            Self::Command(_) | Self::Dated(_) | Self::Get(_) | Self::Script(_) => true,
            Self::Pipeline(pipeline) => pipeline.is_transaction(),
        }
    }

    /// Whether an answer that says "not now" leaves nothing executed. Parts of a plain pipeline may have been.
    pub(crate) fn may_repeat(&self, failure: &Failure, idempotence: Idempotence) -> bool {
        failure.sent != Sent::Answered || self.is_whole() || idempotence == Idempotence::Idempotent
    }

    /// Whether it can be redirected. `ASKING` holds for one command only, so that a pipeline waits until its slot has
    /// moved.
    pub(crate) fn may_follow(&self, target: &Target<'_>, idempotence: Idempotence) -> bool {
        match self {
            Self::Command(_) | Self::Dated(_) | Self::Get(_) | Self::Script(_) => true,
            Self::Pipeline(_) => !target.asking && (self.is_whole() || idempotence == Idempotence::Idempotent),
        }
    }

    /// The first try, to the server that the request belongs to as far as is known: it may go out with those of others.
    pub(crate) async fn send_first(&self, node: &Arc<Node>, until: Instant) -> Result<Value, Failure> {
        match self {
            Self::Command(command) => node.send_with_others(Cow::Borrowed(command), false, until).await,
            Self::Dated(command) => send_dated_first(node, command, until).await,
            Self::Get(key) => node.get_with_others(key, until).await,
            Self::Pipeline(pipeline) => Box::pin(node.send_pipeline(pipeline, until)).await,
            Self::Script(call) => {
                match node.send_with_others(Cow::Owned(call.by_hash()), call.is_stamped(), until).await {
                    Err(failure) if failure.code() == Some(NOSCRIPT) => {
                        Box::pin(send_call(&Target::of(node), call, call.by_source(), until)).await
                    }
                    answer => answer,
                }
            }
        }
    }

    pub(crate) async fn send(&self, target: &Target<'_>, until: Instant) -> Result<Value, Failure> {
        match self {
            Self::Command(command) => send_command(target, command, until).await,
            Self::Dated(command) => send_dated(target, command, until).await,
            Self::Get(key) => send_command(target, &get(key), until).await.and_then(sole),
            Self::Pipeline(pipeline) => target.node.send_pipeline(pipeline, until).await,
            Self::Script(call) => match send_call(target, call, call.by_hash(), until).await {
                Err(failure) if failure.code() == Some(NOSCRIPT) => {
                    send_call(target, call, call.by_source(), until).await
                }
                answer => answer,
            },
        }
    }
}

/// The server was restarted, failed over, or never saw the script: it is sent whole, which stores it.
const NOSCRIPT: &str = "NOSCRIPT";

async fn send_call(target: &Target<'_>, call: &ScriptCall<'_>, command: Cmd, until: Instant) -> Result<Value, Failure> {
    if call.is_stamped() {
        target.node.send_stamped(command, target.asking, until).await
    } else {
        send_command(target, &command, until).await
    }
}

pub(crate) async fn send_command(target: &Target<'_>, command: &Cmd, until: Instant) -> Result<Value, Failure> {
    if !target.asking {
        return target.node.send(command, until).await;
    }
    let both = pipe().add_command(cmd("ASKING")).add_command(command.clone()).clone();
    let mut answers = target.node.send_each(&both, until).await?;
    answers.pop().unwrap_or(Value::Nil).extract_error().map_err(Failure::answered)
}
