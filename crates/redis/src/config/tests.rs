use statehouse_core::ErrorKind;

use super::*;

fn parse(text: &str) -> Result<RedisConfig> {
    let mut url = ServiceUrl::parse("STATEHOUSE_CACHE_URL", text)?;
    let config = RedisConfig::from_url(&mut url)?;
    url.finish()?;
    config.check()?;
    Ok(config)
}

#[test]
fn each_documented_url_is_understood() {
    let config = parse("redis://app:pw@h:7000/2?timeout=250ms&deadline=2s&connect_timeout=3s&connections=2").unwrap();
    assert_eq!(config.describe(), "Redis at h:7000");
    assert_eq!((config.database, config.connections), (2, 2));
    assert_eq!(config.credentials.username.as_deref(), Some("app"));
    assert_eq!(config.timing.operation, Duration::from_millis(250));
    assert_eq!((config.timing.total, config.timing.connect), (Duration::from_secs(2), Duration::from_secs(3)));

    for (text, count, millis) in [
        ("redis://h?wait_replicas=2", 2, 200),
        ("redis://h?wait_replicas=1&timeout=400ms", 1, 100),
        ("redis://h?wait_replicas=15&wait_timeout=250ms", 15, 250),
    ] {
        let replicas = parse(text).unwrap().replicas.unwrap();
        assert_eq!((replicas.count, replicas.time), (count, Duration::from_millis(millis)), "{text}");
    }
    assert!(parse("redis://h").unwrap().replicas.is_none());

    let config = parse("redis+sentinel://s1,[::1]:5/mymaster/3?sentinel_password=x").unwrap();
    assert_eq!(config.describe(), "Redis master \"mymaster\" of the sentinels s1:26379,[::1]:5");
    assert_eq!(config.database, 3);
    assert_eq!(parse("redis+cluster://a,b:1").unwrap().describe(), "Redis cluster of a:6379,b:1");
    assert_eq!(parse("redis://h?timeout=9s").unwrap().timing.total, Duration::from_secs(9));
}

#[test]
fn wrong_urls_name_the_setting_and_what_is_accepted() {
    let cases = [
        ("memory:", "accepted: redis, redis+sentinel"),
        ("redis+foo://h", "\"redis+foo\" is not a scheme"),
        ("redis://a,b", "redis+cluster:"),
        ("redis:", "name one host"),
        ("redis://h/two", "must be a number from 0 to 4294967295"),
        ("redis://h/99999999999", "must be a number from 0 to 4294967295"),
        ("redis+sentinel://s1", "mymaster"),
        ("redis+cluster://a/1", "database 0 only"),
        ("redis://h?timeout=5s&deadline=1s", "at least as long"),
        ("redis://h?connections=0", "1 to 16"),
        ("redis://h?max_answer=1KiB", "at least 64KiB"),
        ("redis://h?wait_replicas=0", "1 to 15"),
        ("redis://h?wait_replicas=16", "1 to 15"),
        ("redis://h?wait_replicas=1&wait_timeout=251ms", "a quarter of \"timeout\""),
        ("redis://h?timeout=3s&wait_replicas=1&wait_timeout=401ms", "at most 400ms"),
        ("redis://h?wait_replicas=1&wait_timeout=0s", "above zero"),
        ("redis://h?wait_timeout=1ms", "unknown parameter \"wait_timeout\""),
        ("redis://h?tls=yes", "unknown parameter \"tls\""),
        ("redis://h?ca=/x.pem", "unknown parameter \"ca\""),
        ("redis://user@h", "without a password"),
        ("redis+sentinel://s/m?sentinel_username=u", "without a password"),
    ];
    for (text, expected) in cases {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
        assert_eq!(error.setting(), Some("STATEHOUSE_CACHE_URL"), "{text}");
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
}

#[test]
fn what_waits_for_no_replica_or_for_too_long_is_refused() {
    for (count, millis) in [(0, 100), (16, 100), (1, 0), (1, 251)] {
        let config = RedisConfig::single("h", 1).with_wait_replicas(count, Duration::from_millis(millis));
        assert_eq!(config.check().unwrap_err().kind(), ErrorKind::InvalidConfig, "{count} {millis}");
    }
    assert!(RedisConfig::single("h", 1).with_wait_replicas(15, Duration::from_millis(250)).check().is_ok());
}

#[test]
fn debug_shows_no_secret() {
    let config = parse("redis+sentinel://app:hunter2@s/m?sentinel_password=hunter3").unwrap();
    assert!(!format!("{config:?}").contains("hunter"));
    for text in
        ["redis+sentinel://u:1/hunter2@s/m", "redis://u:1/hunter2@h", "redis:user:hunter2@h", "redis://u?hunter2@h"]
    {
        let error = parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter"), "{text}: {error}");
    }
}
