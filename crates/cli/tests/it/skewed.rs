//! A Redis whose clock is wrong.

use statehouse_testkit::RedisServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

/// What stands before the seconds in an answer to `TIME`.
const BEFORE: &[u8] = b"*2\r\n$10\r\n";

/// Passes everything on, and adds to each time that the server tells.
async fn skew(client: TcpStream, server: TcpStream, seconds: i64) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from_server.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        let answer = &mut buffer[..length];
        let found: Vec<_> =
            answer.windows(BEFORE.len()).enumerate().filter(|(_, w)| *w == BEFORE).map(|(at, _)| at).collect();
        for at in found {
            let digits = &mut answer[at + BEFORE.len()..at + BEFORE.len() + 10];
            if let Ok(told) = std::str::from_utf8(digits).unwrap_or_default().parse::<i64>() {
                digits.copy_from_slice(format!("{:010}", told + seconds).as_bytes());
            }
        }
        to_client.write_all(answer).await?;
    }
    asking.abort();
    Ok(())
}

/// The address of a server whose clock is off by so many seconds.
async fn skewed(server: &RedisServer, seconds: i64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, to) = (listener.local_addr().unwrap(), server.address().to_owned());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move { skew(client, TcpStream::connect(to).await?, seconds).await });
        }
    });
    address.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_is_off_is_named_with_by_how_much() {
    let server = RedisServer::start().await;
    for (seconds, side) in [(30, "ahead of"), (-30, "behind")] {
        let address = skewed(&server, seconds).await;
        let url = format!("redis://{address}");
        let ran = crate::run("doctor", &[("STATEHOUSE_CACHE_URL", &url), ("STATEHOUSE_NAMESPACE", "cli")]).await;
        ran.says(1, &[&format!("problem: the clock of {address} is "), side, "have both set by NTP", "1 problem"]);
        let json = crate::run("doctor --json", &[("STATEHOUSE_CACHE_URL", &url)]).await.json();
        let ahead = json["services"][0]["servers"][0]["clock_ahead_ms"].as_f64().unwrap();
        assert!((ahead - 1e3 * seconds as f64).abs() < 5e3, "{ahead}");
    }
}
