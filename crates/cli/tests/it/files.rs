//! `statehouse files` on what an application has stored.

use std::path::Path;

use statehouse::{Config, Services};
use statehouse_testkit::S3Server;

use crate::{namespace, run, run_in, s3_url};

async fn services(url: &str, namespace: &str) -> Services {
    Services::open(Config::in_memory().with_namespace(namespace).with_files(url)).await.unwrap()
}

fn file_url(folder: &Path) -> String {
    format!("file:{}", folder.display())
}

/// What an application has in a folder: two names, and beside them what is another application's.
async fn fill(url: &str, namespace: &str) {
    let application = services(url, namespace).await;
    let (letters, scans) = (application.files("letters").unwrap(), application.files("scans").unwrap());
    letters.put("7", "Dear colleague").content_type("text/plain").await.unwrap();
    for name in ["p42/chest", "p42/knee", "p43/hip"] {
        scans.put(name, "DICM").await.unwrap();
    }
    application.shutdown().await.unwrap();
    let another = services(url, &format!("{namespace}.test")).await;
    another.files("scans").unwrap().put("x", "not meant").await.unwrap();
    another.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applications_files_go_from_a_folder_to_s3_with_all_that_belongs_to_them() {
    let (folder, server, namespace) = (tempfile::tempdir().unwrap(), S3Server::shared().await, namespace());
    let (from, to) = (file_url(&folder.path().join("uploads")), s3_url(server, server.secret_key()));
    fill(&from, &namespace).await;
    let environment = [("STATEHOUSE_NAMESPACE", namespace.as_str()), ("STATEHOUSE_FILES_URL", &to)];
    let some =
        run(&format!("files mirror {from} {to} --prefix scans/p42/ --after scans/p42/chest"), &environment).await;
    some.says(0, &["scans: 1 files, 1 copied, 4 bytes"]);
    let all = run(&format!("files mirror {from} {to}"), &environment).await;
    all.says(0, &["letters: 1 files, 1 copied, 14 bytes", "scans: 3 files, 2 copied, 8 bytes, 1 same"]);
    assert!(!all.all().contains(server.secret_key()), "{}", all.all());
    let application = services(&to, &namespace).await;
    let letters = application.files("letters").unwrap();
    assert_eq!(letters.head("7").await.unwrap().content_type.as_deref(), Some("text/plain"));
    assert_eq!(letters.get("7").bytes().await.unwrap(), "Dear colleague");

    letters.put("8", "only there").await.unwrap();
    let again = run(&format!("files mirror {from} {to}"), &environment).await;
    again.says(
        0,
        &["letters: 2 files, 1 same, 1 others", "1 are only in TO and were left; --remove-others deletes them"],
    );
    let mistyped = file_url(&folder.path().join("uplaods"));
    let empty = run(&format!("files mirror {mistyped} {to} --remove-others"), &environment).await;
    empty.says(1, &["letters: is only in TO, and nothing of it was deleted", "scans: is only in TO"]);
    let json = run(&format!("files mirror {from} {to} --remove-others --json"), &environment).await;
    json.says(0, &[]);
    let json = json.json();
    assert_eq!((&json["good"], &json["names"][0]["removed"]), (&true.into(), &1.into()), "{json}");
    assert_eq!((&json["names"][1]["name"], &json["names"][1]["same"]), (&"scans".into(), &3.into()), "{json}");
    run("files check", &environment).await.says(0, &["letters: 1 files, 14 bytes", "scans: 3 files, 12 bytes"]);
    application.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_told_by_name_and_is_exit_code_1() {
    let (folder, namespace) = (tempfile::tempdir().unwrap(), namespace());
    let (root, to) = (folder.path().join("uploads"), file_url(&folder.path().join("to")));
    let from = file_url(&root);
    fill(&from, &namespace).await;
    let path = root.join(format!("{namespace}.scans+/p42+/knee"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let environment = [("STATEHOUSE_NAMESPACE", namespace.as_str())];
    let checked = run(&format!("files check {from}"), &environment).await;
    checked.says(1, &["scans: 3 files, 8 bytes, 1 damaged", "  scans/p42/knee: "]);
    let mirrored = run(&format!("files mirror {from} {to}"), &environment).await;
    mirrored.says(1, &["letters: 1 files", "scans: 3 files, 2 copied, 8 bytes, 1 failed", "  scans/p42/knee: "]);
    // So that nobody can tell what it was.
    let hip = std::fs::OpenOptions::new().write(true).open(root.join(format!("{namespace}.scans+/p43+/hip"))).unwrap();
    hip.set_len(3).unwrap();
    for command in [format!("files check {from}"), format!("files mirror {from} {to}")] {
        run(&command, &environment)
            .await
            .says(1, &["1 skipped", "scans: what was skipped is nobody's file, or a damaged one"]);
    }
    let json = run(&format!("files check {from} --json"), &environment).await;
    json.says(1, &[]);
    let failure = &json.json()["names"][1]["failures"][0];
    assert_eq!((&failure["file"], &failure["kind"]), (&"scans/p42/knee".into(), &"corrupt".into()), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_removes_what_has_no_time_left_and_a_store_that_is_away_or_unread_is_said() {
    let (folder, namespace) = (tempfile::tempdir().unwrap(), namespace());
    let url = file_url(&folder.path().join("uploads"));
    let application = services(&url, &namespace).await;
    let exports = application.files("exports").unwrap();
    exports.put("kept", "content").await.unwrap();
    exports.put("over", "content").time_to_live(std::time::Duration::from_secs(1)).await.unwrap();
    application.shutdown().await.unwrap();
    let environment = [("STATEHOUSE_NAMESPACE", namespace.as_str()), ("STATEHOUSE_FILES_URL", &url)];
    // Its time is a second, by the clock of the disk.
    let swept = loop {
        let ran = run("files sweep", &environment).await;
        if !ran.out.contains("exports: 0 expired") {
            break ran;
        }
    };
    swept.says(0, &["exports: 1 expired"]);
    run(&format!("files sweep {url} --json"), &environment).await.says(0, &["\"expired\": 0"]);
    run("files check", &environment).await.says(0, &["exports: 1 files, 7 bytes"]);
    // In a listing this one comes first: its folder's name has a character before a slash.
    let application = services(url.as_str(), &namespace).await;
    application.files("exports-old").unwrap().put("x", "content").await.unwrap();
    application.shutdown().await.unwrap();
    let checked = run("files check --after exports-old/ --json", &environment).await.json();
    assert_eq!(checked["names"].as_array().map(Vec::len), Some(1), "{checked}");
    let checked = run("files check --json", &environment).await.json();
    let names: Vec<_> = checked["names"].as_array().unwrap().iter().map(|name| &name["name"]).collect();
    assert_eq!(names, ["exports", "exports-old"]);
    let empty = file_url(&folder.path().join("empty"));
    run(&format!("files check {empty}"), &environment).await.says(1, &["there are no such files"]);
    run("files check --prefix export/", &environment).await.says(1, &["there are no such files"]);

    run("files mirror gopher://app:hunter2@h memory:", &environment).await.says(2, &["FROM", "gopher"]);
    let ran = run_in(
        folder.path(),
        "files mirror memory: s3://k:hunter2@b?endpoint=http://127.0.0.1:1&allow_http=true&region=x",
        &environment,
    )
    .await;
    ran.says(1, &[]);
    assert!(!ran.all().contains("hunter2"), "{}", ran.all());
}
