use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statehouse_testkit::{Effect, NetworkFault, NetworkSubject, RedisTopology, network_table};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For how long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// A client that asks for a `PING`.
struct Pinging {
    address: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    /// Says what there was.
    Honest,
    /// Says that all was well, whatever there was.
    Claims,
    /// Does its work, and says that it did not.
    Denies,
}

impl Pinging {
    async fn ping(&self, limit: Duration) -> Result<(), &'static str> {
        let asked = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).await
        };
        match timeout(limit, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err("unavailable"),
            Err(_) => Err("timeout"),
        }
    }
}

impl NetworkSubject for Pinging {
    type Verb = Verb;
    type Scene = AtomicBool;

    const VERBS: &'static [Verb] = &[Verb::Honest, Verb::Claims, Verb::Denies];

    fn effect(verb: Verb) -> Effect {
        if verb == Verb::Denies { Effect::Writes } else { Effect::Reads }
    }

    fn deadline(_: Verb) -> u64 {
        LIMIT.as_secs()
    }

    async fn open(url: &str, _: &str) -> Result<Self, String> {
        let address = url.trim_start_matches("redis://").split('?').next().unwrap();
        Ok(Self { address: address.rsplit('@').next().unwrap().to_owned() })
    }

    async fn scene(&self, _: Verb) -> AtomicBool {
        AtomicBool::new(false)
    }

    async fn run(&self, verb: Verb, scene: &AtomicBool) -> Result<(), &'static str> {
        scene.store(true, Ordering::Relaxed);
        let answer = self.ping(LIMIT).await;
        if verb == Verb::Claims { Ok(()) } else { answer }
    }

    async fn is_done(&self, verb: Verb, scene: &AtomicBool) -> Option<bool> {
        (verb == Verb::Denies).then(|| scene.load(Ordering::Relaxed))
    }

    async fn is_up(&self) -> bool {
        self.ping(Duration::from_millis(900)).await.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_names_the_cells_of_verbs_that_say_what_is_not_so() {
    let failed = tokio::spawn(network_table::<Pinging>(RedisTopology::Single)).await.unwrap_err().into_panic();
    let told = failed.downcast_ref::<String>().unwrap();
    let lines: Vec<_> = told.lines().skip(1).collect();
    assert!(told.starts_with("14 cells are wrong"), "{told}");
    assert!(lines.iter().all(|line| !line.contains("Honest")), "{told}");
    let of = |fault: NetworkFault| {
        let named: Vec<_> = lines.iter().filter(|line| line.starts_with(&format!("{fault:?} "))).collect();
        (named.len() == 2).then_some(named)
    };
    for fault in NetworkFault::ALL {
        let passes = [NetworkFault::AnswersLate, NetworkFault::Slow, NetworkFault::Throttled].contains(&fault);
        assert_eq!(of(fault).is_none(), passes, "{fault:?}: {told}");
    }
    assert!(lines.iter().filter(|line| line.ends_with("was not done, and is")).count() == 7, "{told}");
}
