//! The program as an operator runs it, on real servers.

mod coordination;
mod doctor;
mod files;
mod fleet;
mod run_once;
mod skewed;
mod usage;

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use statehouse_testkit::S3Server;
use tokio::process::Command;

/// What the program printed, and its exit code.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// Everything printed, for what must not stand anywhere.
    fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.all()))
    }

    /// With this exit code, and these texts in what it printed.
    #[track_caller]
    fn says(&self, code: i32, texts: &[&str]) {
        let all = self.all();
        assert_eq!(self.code, code, "{all}");
        for text in texts {
            assert!(all.contains(text), "{text:?} is not in:\n{all}");
        }
    }
}

type Environment<'a> = &'a [(&'a str, &'a str)];

/// Runs the program in a folder, with these words as arguments and no other environment than this.
async fn run_in(folder: &Path, arguments: &str, environment: Environment<'_>) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_statehouse"))
        .args(arguments.split_whitespace())
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap_or(-1);
    Ran { code, out: text(&output.stdout), err: text(&output.stderr) }
}

async fn run(arguments: &str, environment: Environment<'_>) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_in(folder.path(), arguments, environment).await;
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "it left something behind");
    ran
}

/// A namespace that no other test uses.
fn namespace() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    format!("cli-{:x}", RandomState::new().build_hasher().finish())
}

/// The server's bucket as a file store's URL, with this secret key.
fn s3_url(server: &S3Server, secret_key: &str) -> String {
    let (access_key, endpoint, region, bucket) =
        (server.access_key(), server.endpoint(), server.region(), server.bucket());
    format!("s3://{access_key}:{secret_key}@{bucket}?endpoint={endpoint}&region={region}&allow_http=true")
}
