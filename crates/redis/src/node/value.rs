//! Reading one value so that it can be read together with others.

use redis::{Cmd, Value, cmd};

use crate::failure::{Failure, connection_lost};

/// The command that reads one value, and answers with a list of one: unlike `GET` it takes a key of another type for
/// absent, as where many are read.
pub(crate) fn get(key: &[u8]) -> Cmd {
    let mut command = cmd("MGET");
    command.arg(key);
    command
}

/// The value in the answer to [`get`]. Any other answer than a list of one is as good as none.
pub(crate) fn sole(answer: Value) -> Result<Value, Failure> {
    match answer {
        Value::Array(mut values) if values.len() == 1 => Ok(values.remove(0)),
        _ => Err(Failure::unanswered(connection_lost())),
    }
}
