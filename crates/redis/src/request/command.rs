//! How to send one command to a server, be it the one that owns the slot or one that is about to.

use redis::{Cmd, Value, cmd, pipe};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::request::script::ScriptCall;
use crate::topology::Target;

/// The server was restarted, failed over, or never saw the script: it is sent whole, which stores it.
pub(crate) const NOSCRIPT: &str = "NOSCRIPT";

pub(crate) async fn send_call(
    target: &Target<'_>,
    call: &ScriptCall<'_>,
    command: Cmd,
    until: Instant,
) -> Result<Value, Failure> {
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
