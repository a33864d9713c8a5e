//! A server that answers what a test tells it to: what a real one says only when it is in trouble.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) target: String,
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

type Answers = dyn Fn(&Received, usize) -> (u16, String) + Send + Sync;

#[derive(Debug)]
pub(super) struct Stub {
    pub(super) address: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Stub {
    /// Answers each request by this function, which also gets how many requests there were before to the same path.
    pub(super) async fn start(answer: impl Fn(&Received, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Arc<Answers>, _) = (Arc::new(answer), Arc::clone(&received));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&log)));
            }
        });
        Self { address, received }
    }

    /// The requests whose target has this in it.
    pub(super) fn received(&self, part: &str) -> Vec<Received> {
        self.received.lock().unwrap().iter().filter(|request| request.target.contains(part)).cloned().collect()
    }
}

async fn serve(stream: TcpStream, answer: Arc<Answers>, log: Arc<Mutex<Vec<Received>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let path = |target: &str| target.split('?').next().map(str::to_owned);
        let (status, body) = {
            let mut log = log.lock().unwrap();
            let before = log.iter().filter(|earlier| path(&earlier.target) == path(&request.target)).count();
            log.push(request.clone());
            answer(&request, before)
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(body.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let length = lines.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let target = lines.first()?.split(' ').nth(1)?.to_owned();
    Some(Received { target, headers: lines.split_off(1), body: String::from_utf8(body).ok()? })
}
