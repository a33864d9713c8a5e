//! What is sent as one unit, and how to send it to one server.

mod command;
mod dated;
mod script;
mod send;

use redis::{Arg, Cmd, Pipeline};

use crate::connection::flow::length;
use crate::failure::{Failure, Sent};
use crate::idempotence::Idempotence;
use crate::node::value::get;
use crate::topology::Target;
use crate::topology::slot::{slot_of, slot_of_command};

pub use self::script::{ENVELOPE_STAMP, REFUSE_LATE, RedisScript, ScriptCall};

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

    /// How many bytes are sent, where that may be many.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Command(command) => length(command),
            Self::Pipeline(pipeline) => pipeline.cmd_iter().map(length).sum(),
            Self::Script(call) => call.size(),
            Self::Dated(_) | Self::Get(_) => 0,
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
}
