//! What is asked for, and settings that cannot be read.

use crate::run;

#[tokio::test]
async fn what_is_no_command_is_refused_and_help_says_what_there_is() {
    let help = run("--help", &[]).await;
    help.says(0, &["Usage: statehouse COMMAND", "run-once reset NAME --yes", "Exit code: 0"]);
    assert_eq!(run("", &[]).await.out, help.out);
    run("--version", &[]).await.says(0, &[concat!("statehouse ", env!("CARGO_PKG_VERSION"))]);
    let refused = run("doktor", &[]).await;
    refused.says(2, &["statehouse: there is no command \"doktor\""]);
    assert_eq!(refused.out, "", "it is said on the error stream");
    run("doctor databases", &[]).await.says(2, &["there is no service \"databases\"", "cache, sessions, files"]);
}

#[tokio::test]
async fn a_setting_that_cannot_be_read_is_named_and_its_secret_is_not() {
    for (name, value, said) in [
        ("STATEHOUSE_CACHE_URL", "redis://app:hunter2@h?timeuot=1s", "timeuot"),
        ("STATEHOUSE_CACHE_URL", "gopher://app:hunter2@h", "gopher"),
        ("STATEHOUSE_CACHE_ULR", "redis://app:hunter2@h", "STATEHOUSE_CACHE_URL"),
        ("STATEHOUSE_SESSIONS_PASSWORD_FILE", "/nowhere/hunter2-is-no-secret-here", "/nowhere"),
    ] {
        let ran = run("doctor", &[(name, value)]).await;
        ran.says(2, &[name, said]);
        assert!(ran.out.is_empty() && !ran.err.contains("app:hunter2"), "{}", ran.all());
        let json = run("doctor --json", &[(name, value)]).await;
        json.says(2, &[]);
        assert_eq!(json.json()["error"]["kind"], "invalid_config", "{}", json.out);
        assert_eq!(json.json()["error"]["setting"], name);
        assert!(json.err.is_empty() && !json.out.contains("app:hunter2"), "{}", json.all());
    }
}
