use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The answer of a stub to the words of a command; none for what all stubs answer alike.
pub(crate) type Answers = dyn Fn(&[String]) -> Option<String> + Send + Sync;

/// As much of a server as opening asks for, and what `answers` says. The URL of it.
pub(crate) async fn stub(answers: impl Fn(&[String]) -> Option<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Arc<Answers> = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move { serve(client, &*answers).await });
        }
    });
    format!("redis://{address}")
}

pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

async fn serve(client: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let mut words = Vec::new();
        for _ in 0..number(&mut client).await? {
            let mut word = vec![0; number(&mut client).await? + 2];
            client.read_exact(&mut word).await?;
            word.truncate(word.len() - 2);
            words.push(String::from_utf8_lossy(&word).into_owned());
        }
        words[0].make_ascii_uppercase();
        let answer = answers(&words).unwrap_or_else(|| match words[0].as_str() {
            "HELLO" => "%1\r\n+proto\r\n:3\r\n".to_owned(),
            "PING" => "+PONG\r\n".to_owned(),
            "INFO" => bulk("redis_version:7.0.0\r\n"),
            _ => "+OK\r\n".to_owned(),
        });
        client.write_all(answer.as_bytes()).await?;
    }
}

async fn number(client: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut line = String::new();
    if client.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    line[1..].trim_end().parse().map_err(std::io::Error::other)
}
