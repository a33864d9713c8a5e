//! A server that answers what a test tells it to: what a real one says only when it is in trouble.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A body that never ends, as fast as it is read.
pub(super) const ENDLESS: &str = "\u{0}endless";
/// A body that never ends, a byte now and then.
pub(super) const DRIP: &str = "\u{0}drip";

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

type Answers = dyn Fn(&Received, usize) -> (u16, String) + Send + Sync;

#[derive(Debug)]
pub(super) struct Stub {
    pub(super) address: String,
    received: Arc<Mutex<Vec<Received>>>,
    sent: Arc<AtomicU64>,
}

impl Stub {
    /// Answers each request by this function, which also gets how many requests there were before to the same path.
    pub(super) async fn start(answer: impl Fn(&Received, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::new(AtomicU64::new(0));
        let (answer, log): (Arc<Answers>, _) = (Arc::new(answer), Arc::clone(&received));
        let count = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&log), Arc::clone(&count)));
            }
        });
        Self { address, received, sent }
    }

    /// The requests whose target has this in it.
    pub(super) fn received(&self, part: &str) -> Vec<Received> {
        self.received.lock().unwrap().iter().filter(|request| request.target.contains(part)).cloned().collect()
    }

    /// How many bytes of endless bodies were taken from it.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn serve(stream: TcpStream, answer: Arc<Answers>, log: Arc<Mutex<Vec<Received>>>, sent: Arc<AtomicU64>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let path = |target: &str| target.split('?').next().map(str::to_owned);
        let (status, body) = {
            let mut log = log.lock().unwrap();
            let before = log.iter().filter(|earlier| path(&earlier.target) == path(&request.target)).count();
            log.push(request.clone());
            answer(&request, before)
        };
        if [ENDLESS, DRIP].contains(&&*body) {
            return pour(stream, status, body == DRIP, &sent).await;
        }
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(body.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Until nobody reads it any more.
async fn pour(mut stream: BufReader<TcpStream>, status: u16, drip: bool, sent: &AtomicU64) {
    let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut piece = b"1\r\n \r\n".to_vec();
    if !drip {
        piece = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16)).into_bytes();
    }
    let mut open = stream.write_all(head.as_bytes()).await.is_ok();
    while open {
        open = stream.write_all(&piece).await.is_ok();
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if drip {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(super) async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
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
    let mut words = lines.first()?.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    Some(Received { method, target, headers: lines.split_off(1), body: String::from_utf8(body).ok()? })
}
