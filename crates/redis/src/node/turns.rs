//! Writes that wait for replicas, in turns: see [`replicated`](super::replicated).

use std::mem::take;
use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::Instant;

use crate::connection::flow::{LARGE, length};
use crate::failure::Failure;
use crate::node::Node;
use crate::node::gather::heard;
use crate::node::queue::{Batch, Outgoing};

impl Node {
    /// Sends a write that says until when it may run, with those of others that come while an earlier one waits.
    pub(super) async fn send_replicated(self: &Arc<Self>, command: Cmd, until: Instant) -> Result<Value, Failure> {
        if length(&command) >= LARGE {
            return self.send_stamped(command, false, until).await;
        }
        heard(self.join_replicated(command, until)).await
    }

    fn join_replicated(self: &Arc<Self>, command: Cmd, until: Instant) -> Receiver<Result<Value, Failure>> {
        let (caller, answer) = oneshot::channel();
        let Some(replicated) = self.replicated() else { return answer };
        let is_first = {
            let mut queue = replicated.gathering.queue();
            queue.until = queue.until.filter(|earlier| *earlier < until).or(Some(until));
            queue.commands.push(Outgoing { command, stamped: true, caller });
            queue.commands.len() == 1
        };
        if is_first {
            let waiting = Waiting(Some(Arc::clone(self)));
            tokio::spawn(waiting.go());
        }
        answer
    }

    async fn send_gathered(&self, mut batch: Batch) {
        let Some(until) = batch.until else { return };
        batch.commands.retain(|outgoing| !outgoing.caller.is_closed());
        if batch.commands.is_empty() {
            return;
        }
        match self.send_all(batch.take_commands(), until).await {
            Ok(answers) => batch.answer(answers),
            Err(failure) => batch.fail(&failure),
        }
    }
}

/// The first of a batch, which waits for its turn to take all that have come by then. If it never comes, because its runtime
/// ends, the batch is emptied all the same, and who waits in it learns of it.
struct Waiting(Option<Arc<Node>>);

impl Waiting {
    async fn go(mut self) {
        let Some(node) = self.0.clone() else { return };
        let Some(replicated) = node.replicated() else { return };
        let _turn = replicated.turn.lock().await;
        self.0 = None;
        let batch = take(&mut *replicated.gathering.queue());
        node.send_gathered(batch).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(replicated) = self.0.as_deref().and_then(Node::replicated) {
            take(&mut *replicated.gathering.queue());
        }
    }
}
