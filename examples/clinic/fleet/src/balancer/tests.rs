use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A replica that is ready, and does to every other request what it is told.
async fn replica(behave: fn(usize) -> Behavior) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let length = stream.read(&mut buffer).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let answer: &[u8] = if request.starts_with("GET /ready") {
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            } else {
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request);
                    log.len()
                };
                match behave(number) {
                    Behavior::Answer => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
                    Behavior::Cut => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe",
                    Behavior::Die => b"",
                }
            };
            let _gone = stream.write_all(answer).await;
        }
    });
    (address, seen)
}

#[derive(Clone, Copy)]
enum Behavior {
    Answer,
    Cut,
    Die,
}

async fn ask(balancer: &Balancer, head: &str) -> String {
    let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
    stream.write_all(format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await;
    read.unwrap_or_else(|_| panic!("no answer to {head}")).unwrap();
    answer
}

async fn before(replicas: &[SocketAddr]) -> Balancer {
    let balancer = Balancer::start("127.0.0.1:0", replicas).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !balancer.states().iter().all(|state| state.ready) {
        assert!(std::time::Instant::now() < deadline, "a replica is never ready: {:?}", balancer.states());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    balancer
}

#[tokio::test]
async fn requests_go_round() {
    let (one, at_one) = replica(|_| Behavior::Answer).await;
    let (two, at_two) = replica(|_| Behavior::Answer).await;
    let balancer = before(&[one, two]).await;
    for _ in 0..10 {
        assert!(ask(&balancer, "GET / HTTP/1.1").await.ends_with("hello"));
    }
    assert_eq!((at_one.lock().unwrap().len(), at_two.lock().unwrap().len()), (5, 5));
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_again_and_a_post_is_not_sent_twice() {
    for (behavior, head, expected) in [
        (Behavior::Cut, "GET / HTTP/1.1", "200"),
        (Behavior::Die, "PUT / HTTP/1.1", "200"),
        (Behavior::Die, "POST / HTTP/1.1", "502"),
    ] {
        let (bad, _) = replica(match behavior {
            Behavior::Cut => |_| Behavior::Cut,
            _ => |_| Behavior::Die,
        })
        .await;
        let (good, at_good) = replica(|_| Behavior::Answer).await;
        let balancer = before(&[bad, good]).await;
        let answer = ask(&balancer, head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{head}: {answer}");
        let passed_on = u64::from(expected == "200");
        assert_eq!(at_good.lock().unwrap().len() as u64, passed_on, "{head}");
        let state = balancer.states()[0];
        assert_eq!((state.passed_on, state.failed), (passed_on, 1 - passed_on), "{head}");
    }
}

#[tokio::test]
async fn a_replica_that_is_not_there_costs_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (good, at_good) = replica(|_| Behavior::Answer).await;
    let balancer = Balancer::start("127.0.0.1:0", &[gone, good]).await.unwrap();
    for method in ["GET", "POST", "POST"] {
        assert!(ask(&balancer, &format!("{method} / HTTP/1.1")).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(at_good.lock().unwrap().len(), 3);
}
