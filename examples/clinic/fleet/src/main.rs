//! Measures a build of the clinic: `cargo xtask bench clinic` builds both in the release profile and runs this.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let (clinic, seconds) = match &args[..] {
        [clinic] => (clinic, 5),
        [clinic, quick] if quick == "--quick" => (clinic, 1),
        _ => {
            eprintln!("usage: clinic-fleet CLINIC [--quick]");
            return ExitCode::FAILURE;
        }
    };
    match clinic_fleet::measure(Path::new(clinic), Duration::from_secs(seconds), |line| println!("{line}")).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
