//! How to send a request to one server.

use std::borrow::Cow;
use std::sync::Arc;

use redis::Value;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::node::Node;
use crate::node::value::{get, sole};
use crate::request::Request;
use crate::request::command::{NOSCRIPT, send_call, send_command};
use crate::request::dated::{send_dated, send_dated_first};
use crate::topology::Target;

impl Request<'_> {
    /// The first try, to the server that the request belongs to as far as is known: it may go out with those of others.
    pub(crate) async fn send_first(&self, node: &Arc<Node>, until: Instant) -> Result<Value, Failure> {
        match self {
            Self::Command(command) => node.send_with_others(Cow::Borrowed(command), false, until).await,
            Self::Dated(command) => send_dated_first(node, command, until).await,
            Self::Get(key) if node.large.has(key) => Box::pin(self.send(&Target::of(node), until)).await,
            Self::Get(key) => {
                let answer = node.get_with_others(key, until).await;
                answer.inspect(|value| node.large.note(key, value))
            }
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
            Self::Get(key) => {
                let answer = match !target.asking && target.node.large.has(key) {
                    true => target.node.send_for_much(&get(key), until).await,
                    false => send_command(target, &get(key), until).await,
                };
                answer.and_then(sole).inspect(|value| target.node.large.note(key, value))
            }
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
