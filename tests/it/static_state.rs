//! What the guide gives to applications to find their static state by.

use std::process::Command;

/// Each of these is one per process, and each stands on a line of its own.
const PROGRAM: &str = r#"
//! A program that keeps its state where no other replica finds it.
use std::collections::HashMap;
static RATES: std::sync::LazyLock<HashMap<String, f64>> = std::sync::LazyLock::new(HashMap::new);
static SEEDED: std::sync::OnceLock<u8> = std::sync::OnceLock::new();
static BUSY: std::sync::Mutex<()> = std::sync::Mutex::new(());
static TABLE: std::sync::RwLock<Vec<u8>> = std::sync::RwLock::new(Vec::new());
static VISITS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
static UNDER_WAY: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
std::thread_local! { static MINE: u8 = const { 0 }; }
fn main() {
    std::fs::create_dir_all("uploads").ok();
    std::fs::write("uploads/a", "").ok();
    std::fs::File::create("uploads/b").ok();
    println!("{RATES:?} {SEEDED:?} {BUSY:?} {TABLE:?} {VISITS:?} {UNDER_WAY:?} {}", MINE.with(|mine| *mine));
}
"#;

#[test]
fn what_the_page_of_static_state_disallows_is_found_in_a_program() {
    let page = include_str!("../../docs/guide/static-state.md");
    let lint = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a clippy.toml");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("clippy.toml", lint);
    write("Cargo.toml", "[package]\nname = \"found\"\nedition = \"2024\"\n[workspace]\n");
    std::fs::create_dir(folder.path().join("src")).unwrap();
    write("src/main.rs", PROGRAM);
    let mut clippy = Command::new(env!("CARGO"));
    clippy.args(["clippy", "--offline", "--quiet", "--target-dir", "target"]).current_dir(folder.path());
    let output = clippy.env_remove("CLIPPY_CONF_DIR").env_remove("RUSTFLAGS").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let is_static = |text: &str| text.contains("std::") && !text.starts_with("use ");
    for (line, text) in PROGRAM.lines().enumerate().filter(|(_, text)| is_static(text)) {
        assert!(told.contains(&format!("src/main.rs:{}:", line + 1)), "{text}: {told}");
    }
    // Of the crates that it has not it says nothing.
    assert_eq!(told.matches("warning: use of a disallowed").count(), told.matches("warning:").count(), "{told}");
}
