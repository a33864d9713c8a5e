use std::error::Error as _;

use statehouse_core::{ErrorKind as K, Retry};

use super::*;

fn exception(kind: &str) -> String {
    format!(r#"{{"error":{{"root_cause":[{{"type":"{kind}","reason":"secret"}}],"type":"{kind}","reason":"secret"}}}}"#)
}

/// As OpenSearch 3.8 says it when every shard failed for the same reason.
fn phase(cause: &str) -> String {
    format!(
        r#"{{"error":{{"root_cause":[{{"type":"{cause}","reason":"secret"}}],"type":"search_phase_execution_exception",
        "reason":"all shards failed","phase":"query","grouped":true,"failed_shards":[]}},"status":400}}"#
    )
}

#[test]
fn every_answer_has_its_kind_and_advice() {
    let later = BACK_OFF;
    let table = [
        (409, exception("version_conflict_engine_exception"), K::Conflict, Retry::Never),
        (404, exception("index_not_found_exception"), K::Unavailable, Retry::Never),
        (404, phase("search_context_missing_exception"), K::Conflict, Retry::Never),
        (400, exception("resource_already_exists_exception"), K::AlreadyExists, Retry::Never),
        (400, exception("strict_dynamic_mapping_exception"), K::InvalidInput, Retry::Never),
        (400, exception("mapper_parsing_exception"), K::InvalidInput, Retry::Never),
        (400, exception("parsing_exception"), K::InvalidInput, Retry::Never),
        (400, phase("illegal_argument_exception"), K::InvalidInput, Retry::Never),
        (400, phase("too_many_nested_clauses"), K::InvalidInput, Retry::Never),
        (400, exception("index_closed_exception"), K::Unavailable, Retry::Never),
        (403, exception("cluster_block_exception"), K::Unavailable, Retry::FULL),
        (429, exception("cluster_block_exception"), K::Unavailable, Retry::FULL),
        (403, exception("index_create_block_exception"), K::Unavailable, Retry::FULL),
        (503, exception("cluster_block_exception"), K::Unavailable, later),
        (401, "Unauthorized".to_owned(), K::Unauthenticated, Retry::Never),
        (401, exception("security_exception"), K::Unauthenticated, Retry::Never),
        (403, exception("security_exception"), K::PermissionDenied, Retry::Never),
        (403, "<html>".to_owned(), K::PermissionDenied, Retry::Never),
        (429, exception("rejected_execution_exception"), K::RateLimited, later),
        (429, phase("rejected_execution_exception"), K::RateLimited, later),
        (429, exception("circuit_breaking_exception"), K::RateLimited, later),
        (413, String::new(), K::TooLarge, Retry::Never),
        (408, String::new(), K::Timeout, Retry::Now),
        (404, r#"{"error":"no such alias","status":404}"#.to_owned(), K::NotFound, Retry::Never),
        (400, r#"{"error":"no handler found for uri [/x] and method [GET]"}"#.to_owned(), K::Unexpected, Retry::Never),
        (
            406,
            r#"{"error":"Content-Type header is not supported","status":406}"#.to_owned(),
            K::InvalidConfig,
            Retry::Never,
        ),
        (500, exception("null_pointer_exception"), K::Unexpected, Retry::Never),
        (502, "<html>".to_owned(), K::Unavailable, later),
        (503, exception("cluster_manager_not_discovered_exception"), K::Unavailable, later),
        (503, phase("no_shard_available_action_exception"), K::Unavailable, later),
        (504, String::new(), K::Unavailable, later),
        (302, String::new(), K::Unexpected, Retry::Never),
    ];
    for (status, body, kind, retry) in table {
        let error = of_answer(status, body.as_bytes(), &"h:9200");
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{status} {body}");
        assert_eq!(error.backend(), Some("opensearch"));
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn the_message_names_the_cause_and_not_the_phase_around_it() {
    let error = of_answer(400, phase("illegal_argument_exception").as_bytes(), &"h:9200");
    assert_eq!(
        error.to_string(),
        "OpenSearch does not accept a value (status 400, illegal_argument_exception, from h:9200)"
    );
    let bare = br#"{"error":{"type":"search_phase_execution_exception","reason":"x"}}"#;
    assert!(of_answer(503, bare, &"h:9200").to_string().contains("search_phase_execution_exception"));
}

/// What a cluster says while a shard, a node or its manager is not there: with whatever status it comes, in an answer, an
/// item of a bulk, a document of a `get`, or wrapped by the transport.
#[test]
fn what_is_not_there_now_is_unavailable_after_a_pause_on_every_way() {
    for name in [
        "no_shard_available_action_exception",
        "node_not_connected_exception",
        "node_disconnected_exception",
        "node_closed_exception",
        "primary_missing_action_exception",
        "unavailable_shards_exception",
        "shard_not_found_exception",
        "index_shard_not_started_exception",
        "index_shard_recovering_exception",
        "index_shard_closed_exception",
        "illegal_index_shard_state_exception",
        "connect_transport_exception",
        "receive_timeout_transport_exception",
        "send_request_transport_exception",
        "cluster_manager_not_discovered_exception",
        "master_not_discovered_exception",
        "process_cluster_event_timeout_exception",
        "no_longer_primary_shard_exception",
        "task_cancelled_exception",
    ] {
        let wrapped = format!(
            r#"{{"error":{{"root_cause":[{{"type":"remote_transport_exception"}}],"type":"remote_transport_exception",
            "caused_by":{{"type":"{name}","reason":"secret"}}}}}}"#
        );
        for status in [400, 404, 500, 503] {
            for body in [exception(name), phase(name), wrapped.clone()] {
                let error = of_answer(status, body.as_bytes(), &"h:9200");
                assert_eq!((error.kind(), error.retry()), (K::Unavailable, BACK_OFF), "{status} {body}");
                assert_ne!(Verdict::of(status, body.as_bytes()), Verdict::Final, "{status} {body}");
            }
        }
        let alone: Exception = serde_json::from_str(&format!(r#"{{"type":"{name}","reason":"secret"}}"#)).unwrap();
        let error = of_exception(500, Some(&alone));
        assert_eq!((error.kind(), error.retry()), (K::Unavailable, BACK_OFF), "{name}");
    }
}

#[test]
fn only_what_may_go_better_is_tried_again() {
    for (status, body, verdict) in [
        (200, String::new(), Verdict::Final),
        (429, exception("rejected_execution_exception"), Verdict::Refused),
        (429, exception("circuit_breaking_exception"), Verdict::Refused),
        (429, exception("cluster_block_exception"), Verdict::Final),
        (403, exception("cluster_block_exception"), Verdict::Final),
        (503, exception("cluster_block_exception"), Verdict::Refused),
        (503, String::new(), Verdict::Refused),
        (502, "<html>".to_owned(), Verdict::Failed),
        (504, String::new(), Verdict::Failed),
        (500, exception("node_disconnected_exception"), Verdict::Failed),
        (500, exception("null_pointer_exception"), Verdict::Final),
        (400, exception("parsing_exception"), Verdict::Final),
        (404, exception("index_not_found_exception"), Verdict::Final),
    ] {
        assert_eq!(Verdict::of(status, body.as_bytes()), verdict, "{status} {body}");
    }
}

#[test]
fn an_item_that_a_node_may_have_sent_before_may_have_been_done() {
    for (status, kind, verdict) in [
        (503, Some("unavailable_shards_exception"), Verdict::Failed),
        (503, Some("no_longer_primary_shard_exception"), Verdict::Failed),
        (503, Some("process_cluster_event_timeout_exception"), Verdict::Failed),
        (503, None, Verdict::Failed),
        (503, Some("cluster_block_exception"), Verdict::Refused),
        (429, Some("rejected_execution_exception"), Verdict::Refused),
        (429, None, Verdict::Refused),
        (429, Some("cluster_block_exception"), Verdict::Final),
        (400, Some("mapper_parsing_exception"), Verdict::Final),
    ] {
        let exception = kind.map(|kind| serde_json::from_str(&format!(r#"{{"type":"{kind}"}}"#)).unwrap());
        assert_eq!(Verdict::of_item(status, exception.as_ref()), verdict, "{status} {kind:?}");
    }
}

#[test]
fn a_block_says_its_name_and_not_that_of_the_index() {
    let body = r#"{"error":{"type":"cluster_block_exception","reason":"index [secret] blocked by: [TOO_MANY_REQUESTS/12/disk
        usage exceeded flood-stage watermark, index has read-only-allow-delete block];"}}"#;
    let body = body.replace("\n        ", " ");
    let error = of_answer(429, body.as_bytes(), &"h:9200");
    let named =
        "blocked for this: disk usage exceeded flood-stage watermark, index has read-only-allow-delete block (status";
    assert!(error.to_string().contains(named), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_lost_answer_is_in_doubt_only_for_writes() {
    let lost = |lost, effect| {
        let cause = reqwest::Client::builder().tls_backend_preconfigured(0).build().unwrap_err();
        let error = of_lost(lost, effect, &"h:9200", &cause);
        assert!(error.to_string().contains("h:9200"), "{error}");
        (error.kind(), error.retry())
    };
    use Effect::{Once, Reads, Repeatable};
    for effect in [Reads, Repeatable, Once] {
        assert_eq!(lost(Lost::Unreached, effect), (K::Unavailable, Retry::Now));
    }
    assert_eq!(lost(Lost::Broken, Reads), (K::Unavailable, Retry::Now));
    assert_eq!(lost(Lost::TimedOut, Reads), (K::Timeout, Retry::Now));
    for how in [Lost::Broken, Lost::TimedOut] {
        assert_eq!(lost(how, Repeatable), (K::OutcomeUnknown, Retry::Now));
        assert_eq!(lost(how, Once), (K::OutcomeUnknown, Retry::Never));
    }
}

#[test]
fn a_write_that_may_have_been_applied_stays_in_doubt_whatever_failed_last() {
    let last = || of_exception(503, None).with_retry(Retry::Exhausted);
    let error = of_doubt(Effect::Repeatable, last());
    assert_eq!((error.kind(), error.retry()), (K::OutcomeUnknown, Retry::Exhausted));
    assert!(error.source().unwrap().to_string().contains("503"));
    assert_eq!(of_doubt(Effect::Once, last()).retry(), Retry::Never);
}

#[test]
fn a_broken_body_says_where_and_not_what() {
    let cause = serde_json::from_str::<u32>(r#"{"patient":"Jane"#).unwrap_err();
    let error = of_broken_body(cause);
    assert_eq!(error.kind(), K::Unexpected);
    assert!(error.source().unwrap().to_string().contains("line 1"), "{error:?}");
    assert!(!format!("{error:?}{}", error.source().unwrap()).contains("Jane"));
}
