use std::io;

use redis::make_extension_error;

use super::*;
use crate::failure::{no_such_master, not_the_master};

/// The error of redis-rs for a line that the server answered.
fn answer(line: &str) -> RedisError {
    let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
    value.extract_error().unwrap_err()
}

fn io_error(kind: io::ErrorKind) -> RedisError {
    io::Error::from(kind).into()
}

#[test]
fn what_the_server_answers_has_a_kind_and_an_advice() {
    use ErrorKind::{InvalidConfig, PermissionDenied, Unauthenticated, Unavailable, Unexpected, Unsupported};
    let table = [
        ("NOAUTH Authentication required.", Unauthenticated, Retry::Never),
        ("WRONGPASS invalid username-password pair or user is disabled.", Unauthenticated, Retry::Never),
        ("NOPERM this user has no permissions to run the 'get' command", PermissionDenied, Retry::Never),
        ("READONLY You can't write against a read only replica.", Unavailable, SOON),
        ("LOADING Redis is loading the dataset in memory", Unavailable, SOON),
        ("MASTERDOWN Link with MASTER is down", Unavailable, SOON),
        ("CLUSTERDOWN Hash slot not served", Unavailable, SOON),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable, SOON),
        ("MOVED 3999 127.0.0.1:6381", Unavailable, SOON),
        ("ASK 3999 127.0.0.1:6381", Unavailable, SOON),
        ("BUSY Redis is busy running a script.", Unavailable, SOON),
        ("OOM command not allowed when used memory > 'maxmemory'.", Unavailable, Retry::FULL),
        ("MISCONF Redis is configured to save RDB snapshots", Unavailable, Retry::FULL),
        ("FENCED the mark is higher", ErrorKind::Fenced, Retry::Never),
        ("UNREPLICATED only 0 of 1 replicas had it within 200ms", ErrorKind::OutcomeUnknown, Retry::Never),
        ("NOREPLICAS Not enough good replicas to write.", Unavailable, LATER),
        ("ERR max number of clients reached", Unavailable, LATER),
        ("ERR DB index is out of range", InvalidConfig, Retry::Never),
        ("ERR unknown command 'GETEX', with args beginning with: 'hunter2'", Unsupported, Retry::Never),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", ErrorKind::Corrupt, Retry::Never),
        ("CROSSSLOT Keys in request don't hash to the same slot", Unexpected, Retry::Never),
        ("EXECABORT Transaction discarded because of previous errors.", Unexpected, Retry::Never),
        ("ERR syntax error", Unexpected, Retry::Never),
        (
            "NOPERM this user has no permissions to access one of the keys used as arguments",
            PermissionDenied,
            Retry::Never,
        ),
        (
            "ERR The user executing the script can't run this command or subcommand script: 0f2c, on @user_script:1.",
            PermissionDenied,
            Retry::Never,
        ),
        (
            "ERR The user executing the script can't access at least one of the keys mentioned in the command",
            PermissionDenied,
            Retry::Never,
        ),
        (
            "ERR ACL failure in script: User app has no permissions to run the 'time' command",
            PermissionDenied,
            Retry::Never,
        ),
        ("ERR Error running script (call to f_0f2c): @user_script:1: Script killed by user", Unavailable, SOON),
        (
            "ERR Error running script (call to f_0f2c): @user_script:7: @user_script: 7: -OOM command not allowed when \
             used memory > 'maxmemory'.",
            Unavailable,
            Retry::FULL,
        ),
        (
            "ERR Error running script (call to f_0f2c): @user_script:7: @user_script: 7: -READONLY You can't write \
             against a read only replica.",
            Unavailable,
            SOON,
        ),
        ("@user_script: 7: -NOREPLICAS Not enough good replicas to write.", Unavailable, LATER),
        ("ERR Error running script (call to f_0f2c): @user_script:7: -HUNTER2 not a code", Unexpected, Retry::Never),
        ("SOMETHING new", Unexpected, Retry::Never),
    ];
    for (line, kind, retry) in table {
        let error = map_error(&Failure::answered(answer(line)), Idempotence::NotIdempotent, "Redis at h:1", false);
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{line}");
        assert_eq!(error.backend(), Some("redis"));
        assert!(error.to_string().starts_with("Redis at h:1 "), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn what_happens_on_the_way_depends_on_whether_it_was_sent() {
    use Idempotence::{Idempotent, NotIdempotent};
    let timeout = || io_error(io::ErrorKind::TimedOut);
    let reset = || io_error(io::ErrorKind::ConnectionReset);
    let refused = || io_error(io::ErrorKind::ConnectionRefused);
    let table = [
        (Failure::not_sent(timeout()), NotIdempotent, ErrorKind::Timeout, Retry::Now),
        (Failure::not_sent(refused()), NotIdempotent, ErrorKind::Unavailable, SOON),
        (Failure::unanswered(timeout()), Idempotent, ErrorKind::Timeout, Retry::Now),
        (Failure::unanswered(reset()), Idempotent, ErrorKind::Unavailable, Retry::Now),
        (Failure::unanswered(timeout()), NotIdempotent, ErrorKind::OutcomeUnknown, Retry::Never),
        (Failure::unanswered(reset()), NotIdempotent, ErrorKind::OutcomeUnknown, Retry::Never),
    ];
    for (failure, idempotence, kind, retry) in table {
        let error = map_error(&failure, idempotence, "Redis", false);
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{failure:?} {idempotence:?}");
        let error = map_error(&failure, idempotence, "Redis", true);
        let expected = if retry == Retry::Never { Retry::Never } else { Retry::Exhausted };
        assert_eq!(error.retry(), expected, "{failure:?} {idempotence:?}");
    }
}

#[test]
fn a_server_that_is_away_is_unavailable_whatever_was_seen_of_it_last() {
    let lasting = answer("WRONGPASS invalid username-password pair or user is disabled.");
    let table = [
        (io_error(io::ErrorKind::TimedOut), ErrorKind::Unavailable, NEXT_PROBE),
        (io_error(io::ErrorKind::ConnectionRefused), ErrorKind::Unavailable, NEXT_PROBE),
        (io_error(io::ErrorKind::ConnectionReset), ErrorKind::Unavailable, NEXT_PROBE),
        (answer("LOADING Redis is loading the dataset in memory"), ErrorKind::Unavailable, NEXT_PROBE),
        (lasting, ErrorKind::Unauthenticated, Retry::Never),
    ];
    for (seen, kind, retry) in table {
        let failure = Failure::away(seen);
        for idempotence in [Idempotence::Idempotent, Idempotence::NotIdempotent] {
            let error = map_error(&failure, idempotence, "Redis at h:1", false);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{failure:?}");
            assert!(!may_retry(&failure, idempotence), "{failure:?}");
        }
    }
}

#[test]
fn only_what_is_safe_to_repeat_is_repeated() {
    use Idempotence::{Idempotent, NotIdempotent};
    let reset = || io_error(io::ErrorKind::ConnectionReset);
    let table = [
        (Failure::not_sent(reset()), NotIdempotent, true),
        (Failure::unanswered(reset()), NotIdempotent, false),
        (Failure::unanswered(reset()), Idempotent, true),
        (Failure::answered(answer("READONLY x")), NotIdempotent, true),
        (Failure::answered(answer("LOADING x")), NotIdempotent, true),
        (Failure::answered(answer("TRYAGAIN x")), NotIdempotent, true),
        (Failure::answered(answer("OOM x")), Idempotent, false),
        (Failure::answered(answer("WRONGTYPE x")), Idempotent, false),
        (Failure::answered(answer("NOAUTH x")), Idempotent, false),
        (Failure::not_sent(answer("NOAUTH x")), Idempotent, false),
        (Failure::not_sent(answer("LOADING x")), NotIdempotent, true),
        (Failure::not_sent((RedisKind::AuthenticationFailed, "no").into()), Idempotent, false),
        (Failure::not_sent(no_such_master()), Idempotent, false),
        (Failure::not_sent(not_the_master()), NotIdempotent, true),
    ];
    for (failure, idempotence, expected) in table {
        assert_eq!(may_retry(&failure, idempotence), expected, "{failure:?} {idempotence:?}");
    }
}

#[test]
fn garbage_is_no_server_answer() {
    let parse = redis::parse_redis_value(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err();
    let error = map_error(&Failure::unanswered(parse), Idempotence::Idempotent, "Redis", false);
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(error.message().contains("not the Redis protocol"), "{error}");
}

#[test]
fn what_an_unknown_error_details_never_appears() {
    let extension = make_extension_error("CUSTOM".into(), Some("hunter2".into()));
    let error = map_error(&Failure::answered(extension), Idempotence::Idempotent, "Redis", false);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}
