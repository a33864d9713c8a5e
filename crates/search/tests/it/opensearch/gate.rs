//! A server behind a gate: requests wait before it, or their answers behind it, until a test lets them through.

use std::sync::{Arc, Mutex};

use statehouse_testkit::OpenSearchNode;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::stub::{Received, read};

/// What waits, and where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wait {
    Requests,
    Answers,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    wait: Wait,
    part: &'static str,
}

#[derive(Debug)]
pub(super) struct Gate {
    pub(super) address: String,
    held: watch::Sender<Option<Held>>,
    waiting: watch::Sender<usize>,
    received: Mutex<Vec<Received>>,
    node: &'static OpenSearchNode,
}

impl Gate {
    pub(super) async fn before(node: &'static OpenSearchNode) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (held, waiting) = (watch::Sender::new(None), watch::Sender::new(0));
        let gate = Arc::new(Self { address, held, waiting, received: Mutex::default(), node });
        let shared = Arc::clone(&gate);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).serve(stream));
            }
        });
        gate
    }

    /// Has requests wait whose target has this in it.
    pub(super) fn hold(&self, wait: Wait, part: &'static str) {
        self.held.send_replace(Some(Held { wait, part }));
    }

    /// Until so many wait.
    pub(super) async fn waiting(&self, count: usize) {
        self.waiting.subscribe().wait_for(|waiting| *waiting == count).await.unwrap();
    }

    /// Those that come from now on need not wait; those that do wait on.
    pub(super) fn hold_no_more(&self) {
        self.held.send_if_modified(|held| {
            *held = None;
            false
        });
    }

    /// Lets all through.
    pub(super) fn open(&self) {
        self.held.send_replace(None);
    }

    /// How many requests there were so far whose target has this in it.
    pub(super) fn received(&self, part: &str) -> usize {
        self.received.lock().unwrap().iter().filter(|request| request.target.contains(part)).count()
    }

    async fn pass(&self, wait: Wait, target: &str) {
        let is_held = |held: &Option<Held>| held.is_some_and(|held| held.wait == wait && target.contains(held.part));
        let mut held = self.held.subscribe();
        if is_held(&held.borrow_and_update()) {
            self.waiting.send_modify(|waiting| *waiting += 1);
            held.changed().await.unwrap();
            self.waiting.send_modify(|waiting| *waiting -= 1);
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read(&mut stream).await {
            self.received.lock().unwrap().push(request.clone());
            self.pass(Wait::Requests, &request.target).await;
            let answer = self.node.request(&request.method, &request.target, &request.body).await.unwrap();
            self.pass(Wait::Answers, &request.target).await;
            let body = answer.text();
            let head = format!(
                "HTTP/1.1 {} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                answer.status,
                body.len()
            );
            if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(body.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
