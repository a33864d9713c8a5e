//! A TCP proxy whose network can be broken.

mod connection;
mod count;
mod http;
mod lane;
mod settings;
mod shared;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::port::Port;
use settings::{Settings, Strip, Truncation};
use shared::Shared;

pub use count::Counts;
pub use settings::Direction;

/// How long the thread may take to do what it is told, on a machine that is busy.
const OBEYS_WITHIN: Duration = Duration::from_secs(60);

/// A TCP proxy in front of a server: put its address where the server's was, then break the network.
///
/// Every fault applies at once, to live connections and to those that come, until [`heal`](Self::heal); faults add up.
/// The proxy runs on a thread of its own, so it goes on when the test's runtime is busy or gone.
#[derive(Debug)]
pub struct FaultProxy {
    port: Port,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// What only the thread can do; it answers when it is done.
#[derive(Debug)]
struct Order {
    /// Whether new connections are accepted from now on.
    listen: bool,
    /// Whether live connections are reset.
    reset: bool,
    done: blocking::SyncSender<()>,
}

impl FaultProxy {
    /// Starts a proxy on a free port of 127.0.0.1 in front of `target`, a `host:port`. All is well until told otherwise.
    ///
    /// # Panics
    /// If no port can be had.
    #[must_use]
    pub fn start(target: impl Into<String>) -> Self {
        let settings = watch::Sender::new(Settings::new(target.into()));
        let shared = Arc::new(Shared::new(settings));
        let port = Port::reserve().expect("no free port");
        let (orders, inbox) = mpsc::unbounded_channel();
        let (address, state) = (port.address(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("no runtime");
            runtime.block_on(serve(address, &state, inbox));
        });
        let proxy = Self { port, shared, orders, thread: Some(thread) };
        proxy.order(true, false);
        proxy
    }

    /// Where the proxy listens: `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address().to_string()
    }

    /// `server_url` with the proxy's host and port in place of the server's.
    #[must_use]
    pub fn url(&self, server_url: &str) -> String {
        let hosts = crate::url::Authority::of(server_url).hosts;
        server_url.replacen(&hosts, &self.address(), 1)
    }

    /// New connections go to `target` from now on; live ones stay where they are.
    pub fn retarget(&self, target: impl Into<String>) {
        let target = target.into();
        self.change(|settings| settings.target = target);
    }

    /// Resets live connections and refuses new ones, as a server that crashed. Returns when it is so.
    pub fn cut(&self) {
        self.order(false, true);
    }

    /// Resets live connections; new ones are welcome, as after a fail-over.
    pub fn reset_connections(&self) {
        self.order(true, true);
    }

    /// Accepts everything and passes nothing on, in both directions, as a network that drops packets: bytes, and the end
    /// of a connection, are held back and delivered on [`heal`](Self::heal), because TCP sends them again.
    pub fn black_hole(&self) {
        self.black_hole_way(Direction::ToServer);
        self.black_hole_way(Direction::ToClient);
    }

    /// [`black_hole`](Self::black_hole) in one direction: `ToClient` lets commands run whose answers never come.
    pub fn black_hole_way(&self, direction: Direction) {
        self.change(|settings| settings.lane_mut(direction).hold = true);
    }

    /// Each byte arrives `by` later than it otherwise would; bandwidth stays as it is.
    pub fn delay(&self, direction: Direction, by: Duration) {
        self.change(|settings| settings.lane_mut(direction).delay = by);
    }

    /// Lets at most so many bytes per second pass on each connection in `direction`, as a slow link or peer. What is too
    /// much waits, and its sender feels back pressure. Zero lets nothing pass.
    pub fn limit(&self, direction: Direction, bytes_per_second: u64) {
        self.change(|settings| {
            let lane = settings.lane_mut(direction);
            lane.rate = NonZeroU64::new(bytes_per_second);
            lane.hold |= bytes_per_second == 0;
        });
    }

    /// Ends `direction` only: its receiver sees the end of the stream, the other direction goes on.
    pub fn half_close(&self, direction: Direction) {
        self.truncate(direction, 0);
    }

    /// On each connection lets `bytes` more bytes pass, then ends that direction as [`half_close`](Self::half_close)
    /// does and throws the rest away.
    pub fn truncate(&self, direction: Direction, bytes: u64) {
        self.change(|settings| {
            let lane = settings.lane_mut(direction);
            let id = lane.truncation.map_or(0, |before| before.id) + 1;
            lane.truncation = Some(Truncation { id, bytes });
        });
    }

    /// Removes the headers called `names` from HTTP/1.1 requests: the server behaves as one that does not know them.
    ///
    /// A signature that covers such a header becomes wrong; see [`strip_s3_headers`](Self::strip_s3_headers).
    pub fn strip_request_headers(&self, names: &[&str]) {
        self.strip(names, None);
    }

    /// [`strip_request_headers`](Self::strip_request_headers) before an S3 server: signs what is left of each request
    /// again with `secret_key`, because clients sign all headers. Requests signed in their query are left alone.
    pub fn strip_s3_headers(&self, names: &[&str], secret_key: &str) {
        self.strip(names, Some(secret_key.to_owned()));
    }

    fn strip(&self, names: &[&str], secret_key: Option<String>) {
        let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        self.change(|settings| settings.strip = Strip { names, secret_key });
    }

    /// Ends every fault. What was held back arrives; a direction that has ended stays so on its connection.
    pub fn heal(&self) {
        self.change(Settings::heal);
        self.order(true, false);
    }

    /// What has reached the proxy since it started.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// No lane writes by the old settings once this returns: each holds a read guard of them during its (non-blocking)
    /// write.
    fn change(&self, change: impl FnOnce(&mut Settings)) {
        self.shared.settings.send_modify(change);
    }

    fn order(&self, listen: bool, reset: bool) {
        let (done, wait) = blocking::sync_channel(1);
        let sent = self.orders.send(Order { listen, reset, done });
        let done = sent.is_ok().then(|| wait.recv_timeout(OBEYS_WITHIN));
        assert!(
            matches!(done, Some(Ok(()))),
            "the fault proxy's thread has ended, or not done in {OBEYS_WITHIN:?} what it was told"
        );
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // The thread ends when its inbox is closed.
        self.orders = mpsc::unbounded_channel().0;
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + OBEYS_WITHIN;
        while !thread.is_finished() {
            if Instant::now() > deadline {
                assert!(std::thread::panicking(), "the fault proxy's thread has not ended after {OBEYS_WITHIN:?}");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _panicked = thread.join();
    }
}

/// The thread: accepts connections and follows orders until the handle is dropped.
async fn serve(address: SocketAddr, shared: &Arc<Shared>, mut inbox: mpsc::UnboundedReceiver<Order>) {
    let mut listener = None;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = inbox.recv() => {
                let Some(Order { listen, reset, done }) = order else { return };
                if !listen {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(listen_on(address).expect("the reserved port is ours"));
                }
                if reset {
                    shared.settings.send_modify(|settings| settings.resets += 1);
                    while connections.join_next().await.is_some() {}
                }
                let _gone = done.send(());
            }
            accepted = accept(listener.as_ref()) => {
                if let Ok((client, _)) = accepted {
                    shared.count(|counts| counts.connections += 1);
                    let resets = shared.settings.borrow().resets;
                    let (shared, settings) = (Arc::clone(shared), shared.settings.subscribe());
                    connections.spawn(connection::run(client, shared, settings, resets));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

pub(crate) fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(tokio::net::TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}
