//! A Redis client in the test, the proxy, and a plain TCP server that echoes lines.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use statehouse_testkit::{Direction, FaultProxy, RedisServer};

/// Sends back what it receives, and at the end of a stream says "end".
fn echo_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = client.read(&mut bytes) {
                    client.write_all(&bytes[..length])?;
                }
                client.write_all(b"end")
            });
        }
    });
    address
}

fn connect(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn rest(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn echoes(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    assert_eq!(read(stream, text.len()), text);
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let silent = stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    silent
}

#[test]
fn without_faults_bytes_and_ends_pass_both_ways() {
    let proxy = FaultProxy::start(echo_server());
    let mut stream = connect(&proxy);
    echoes(&mut stream, "hello");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&stream), "end");

    let mut large = connect(&proxy);
    let sent = vec![7; 8 << 20];
    let mut writer = large.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&copy));
    let mut received = vec![0; sent.len()];
    large.read_exact(&mut received).unwrap();
    writing.join().unwrap().unwrap();
    assert!(received == sent);
}

#[test]
fn cut_resets_what_is_there_and_refuses_what_comes_until_healed() {
    let proxy = FaultProxy::start(echo_server());
    let mut stream = connect(&proxy);
    echoes(&mut stream, "hello");
    proxy.cut();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.heal();
    echoes(&mut connect(&proxy), "again");
}

#[test]
fn reset_connections_spares_new_ones() {
    let proxy = FaultProxy::start(echo_server());
    let mut stream = connect(&proxy);
    echoes(&mut stream, "hello");
    proxy.reset_connections();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    echoes(&mut connect(&proxy), "again");
}

/// One that nothing has been done about yet, too: the order would wait for it until somebody else ends it.
#[test]
fn a_reset_reaches_connections_that_have_just_come() {
    let (done, reached) = mpsc::channel();
    std::thread::spawn(move || {
        let proxy = FaultProxy::start(echo_server());
        for _ in 0..300 {
            let _client = connect(&proxy);
            proxy.reset_connections();
        }
        done.send(())
    });
    reached.recv_timeout(Duration::from_secs(60)).expect("all are reset");
}

#[test]
fn a_black_hole_holds_bytes_and_ends_back_until_healed() {
    let proxy = FaultProxy::start(echo_server());
    let mut stream = connect(&proxy);
    echoes(&mut stream, "hello");
    proxy.black_hole();
    stream.write_all(b"held").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut new = connect(&proxy);
    new.write_all(b"new").unwrap();
    assert!(is_silent(&mut stream) && is_silent(&mut new));
    proxy.heal();
    assert_eq!(rest(&stream), "heldend");
    assert_eq!(read(&mut new, 3), "new");
}

#[tokio::test]
async fn a_black_hole_towards_the_client_lets_commands_run() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address());
    let client = RedisServer::at(&proxy.url(&redis.url()));
    proxy.black_hole_way(Direction::ToClient);
    let set = tokio::spawn(async move { client.command(&["SET", "k", "v"]).await });
    let start = Instant::now();
    while redis.command(&["GET", "k"]).await.unwrap().text() != Some("v") {
        assert!(start.elapsed() < Duration::from_secs(30), "it has not arrived");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!set.is_finished(), "its answer was lost");
    set.abort();
}

#[test]
fn a_delay_is_latency_and_not_bandwidth() {
    let proxy = FaultProxy::start(echo_server());
    let mut stream = connect(&proxy);
    echoes(&mut stream, "hello");
    proxy.delay(Direction::ToClient, Duration::from_millis(200));
    let start = Instant::now();
    // Fifty pieces that are on their way together; one after the other they would take 10 s.
    for _ in 0..50 {
        stream.write_all(b"piece").unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(read(&mut stream, 250), "piece".repeat(50));
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(690) && taken < Duration::from_secs(8), "{taken:?}");

    proxy.delay(Direction::ToClient, Duration::from_secs(60));
    stream.write_all(b"late").unwrap();
    assert!(is_silent(&mut stream));
    proxy.heal();
    assert_eq!(read(&mut stream, 4), "late");
}

#[test]
fn a_limit_is_bandwidth_of_each_connection_and_direction() {
    let proxy = FaultProxy::start(echo_server());
    let (mut slow, mut other) = (connect(&proxy), connect(&proxy));
    proxy.limit(Direction::ToClient, 1 << 20);
    let text = "x".repeat(300 << 10);
    let start = Instant::now();
    for stream in [&mut slow, &mut other] {
        let (mut writer, text) = (stream.try_clone().unwrap(), text.clone());
        std::thread::spawn(move || writer.write_all(text.as_bytes()));
    }
    let reading = std::thread::spawn(move || read(&mut other, 300 << 10).len());
    assert_eq!(read(&mut slow, text.len()), text);
    assert_eq!(reading.join().unwrap(), text.len());
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(250), "faster than the limit: {taken:?}");

    proxy.limit(Direction::ToClient, 0);
    slow.write_all(b"held").unwrap();
    assert!(is_silent(&mut slow));
    proxy.heal();
    assert_eq!(read(&mut slow, 4), "held");
    echoes(&mut slow, &text);
}

#[test]
fn half_close_ends_one_direction_only() {
    let proxy = FaultProxy::start(echo_server());
    let mut stream = connect(&proxy);
    echoes(&mut stream, "hello");
    proxy.half_close(Direction::ToServer);
    assert_eq!(rest(&stream), "end");

    proxy.heal();
    let mut stream = connect(&proxy);
    echoes(&mut stream, "hello");
    proxy.half_close(Direction::ToClient);
    assert_eq!(rest(&stream), "");
    stream.write_all(b"still open").unwrap();
}

#[test]
fn truncate_lets_so_many_bytes_pass_on_each_connection() {
    let proxy = FaultProxy::start(echo_server());
    let mut old = connect(&proxy);
    echoes(&mut old, "before");
    proxy.truncate(Direction::ToClient, 4);
    for stream in [&mut old, &mut connect(&proxy)] {
        stream.write_all(b"12345678").unwrap();
        assert_eq!(rest(stream), "1234");
    }
    proxy.heal();
    echoes(&mut connect(&proxy), "12345678");
}

#[tokio::test]
async fn commands_and_bytes_are_counted() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address());
    let client = RedisServer::at(&proxy.url(&redis.url()));
    client.command(&["SET", "k", "v"]).await.unwrap();
    client.command(&["get", "k"]).await.unwrap();
    client.command(&["GET", "k"]).await.unwrap();
    let counts = proxy.counts();
    assert_eq!((counts.connections, counts.commands(), counts.command("GET"), counts.command("SET")), (3, 3, 2, 1));
    let (set, get) = ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    assert_eq!(counts.bytes_to_server, (set.len() + 2 * get.len()) as u64);
    assert_eq!(counts.bytes_to_client, ("+OK\r\n".len() + 2 * "$1\r\nv\r\n".len()) as u64);
}

#[tokio::test]
async fn a_proxy_is_moved_to_another_server() {
    let (one, two) = tokio::join!(RedisServer::start(), RedisServer::start());
    two.command(&["SET", "name", "two"]).await.unwrap();
    let proxy = FaultProxy::start(one.address());
    let client = RedisServer::at(&proxy.url(&one.url()));
    assert_eq!(client.command(&["GET", "name"]).await.unwrap().text(), None);
    proxy.retarget(two.address());
    assert_eq!(client.command(&["GET", "name"]).await.unwrap().text(), Some("two"));
}

#[tokio::test]
async fn a_server_that_is_down_looks_down_through_the_proxy() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address());
    let client = RedisServer::at(&proxy.url(&redis.url()));
    redis.kill();
    assert!(client.command(&["PING"]).await.is_err());
    redis.restart().await;
    assert_eq!(client.command(&["PING"]).await.unwrap().text(), Some("PONG"));
}
