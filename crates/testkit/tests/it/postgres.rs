use std::process::Command;

use statehouse_testkit::{PostgresServer, find_program};

use crate::leftovers::{eventually, processes_with};

/// Runs `sql` with the server's own client.
fn psql(url: &str, sql: &str) -> Result<String, String> {
    let program = find_program("psql", &[]).unwrap();
    let output = Command::new(program)
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "-c", sql, url])
        .env("PGCONNECT_TIMEOUT", "2")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn it_is_paused_killed_and_started_again_with_its_rows() {
    let server = PostgresServer::start().await;
    let url = server.url().to_owned();
    psql(&url, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
    server.pause();
    assert!(psql(&url, "SELECT n FROM t").unwrap_err().contains("timeout"));
    server.resume();
    assert_eq!(psql(&url, "SELECT n FROM t").unwrap(), "7");
    server.kill();
    assert!(psql(&url, "SELECT n FROM t").unwrap_err().contains("refused"));
    server.restart().await;
    assert_eq!(psql(server.url(), "SELECT n FROM t").unwrap(), "7");

    let folder = psql(server.url(), "SHOW data_directory").unwrap();
    let folder = folder.strip_suffix("/data").unwrap();
    assert!(processes_with(folder).len() > 2, "the postmaster, its children and the watchdog");
    drop(server);
    assert_eq!(processes_with(folder), [""; 0]);
    assert!(!std::path::Path::new(folder).exists());
}

#[tokio::test]
async fn a_backend_in_the_middle_of_a_query_is_killed_too() {
    let server = PostgresServer::start().await;
    let url = server.url().to_owned();
    let data = psql(&url, "SHOW data_directory").unwrap();
    let query = std::thread::spawn(move || psql(&url, "SELECT pg_sleep(60)"));
    let command = |id: &String| std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
    eventually("the query does not run", || processes_with(&data).iter().any(|id| command(id).contains("SELECT")));
    drop(server);
    assert_eq!(processes_with(&data), [""; 0]);
    assert!(query.join().unwrap().is_err());
}
