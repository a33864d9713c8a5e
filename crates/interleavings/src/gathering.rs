//! A model of the commands that go out together.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::time::Instant;

use crate::failure::Sent;
use crate::node::Node;
use crate::sync::{AtomicU64, Ordering, any_of, block_on};
use crate::together;

/// Each has the answer to its own command, or is told that there is none: also where the task that was to send it never ran.
pub fn each_has_its_own_answer_or_is_told() {
    let node = Node::crowded();
    let (asked, names) = (Arc::clone(&node), AtomicU64::new(0));
    together(4, move || {
        let name = names.fetch_add(1, Ordering::SeqCst).to_string();
        let until = Instant::now() + Duration::from_secs(60);
        let own = Value::BulkString(name.clone().into_bytes());
        let (answer, own) = if any_of(2) == 0 {
            (block_on(asked.get_with_others(name.as_bytes(), until)), own)
        } else {
            let mut command = cmd("GET");
            command.arg(&name);
            let answer = asked.send_with_others(std::borrow::Cow::Owned(command), false, until);
            (block_on(answer), Value::Array(vec![own]))
        };
        match answer {
            Ok(answer) => assert_eq!(answer, own, "it is somebody else's"),
            Err(failure) => assert!(matches!(failure.sent, Sent::No | Sent::Unanswered), "{failure:?}"),
        }
    });
    assert!(node.is_empty(), "somebody is left in the queue");
}
