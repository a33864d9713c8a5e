//! What is to be said of what was found out, and what to do about it.

use statehouse_core::{ErrorKind, Health, HealthStatus};
#[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
use statehouse_redis::{Persistence, ServerReport};

use crate::config::DEFAULT_NAMESPACE;
use crate::description::ServiceDescription;
use crate::diagnosis::{Finding, Severity};
#[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
use crate::service::Service;

/// The most by which clocks may differ before somebody is told.
#[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
const CLOCKS_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

impl Finding {
    pub(crate) fn problem(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn note(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::problem(what, remedy) }
    }
}

/// Of one service that was examined. `mixed` says that another one is shared.
pub(crate) fn of_service(described: &ServiceDescription, health: &Health, mixed: bool) -> Vec<Finding> {
    let lacks = described.missing.iter().map(|missing| of_missing(missing));
    let lacks: Vec<_> = lacks
        .map(|finding| match described.shared || mixed {
            true => finding,
            // One replica needs nothing that is shared.
            false => Finding { severity: Severity::Note, ..finding },
        })
        .collect();
    let is_problem = |finding: &Finding| finding.severity == Severity::Problem;
    of_health(described, health, lacks.iter().any(is_problem)).into_iter().chain(lacks).collect()
}

/// The words of a description begin with what is missing, and end with what to do.
fn of_missing(missing: &str) -> Finding {
    let (what, remedy) = missing.rsplit_once("; ").or_else(|| missing.split_once(": ")).unwrap_or((missing, ""));
    Finding::problem(what, remedy)
}

fn of_health(described: &ServiceDescription, health: &Health, is_told: bool) -> Option<Finding> {
    let error = health.error.as_ref()?;
    let is_setting = error.kind() == ErrorKind::InvalidConfig;
    if is_told && is_setting && health.status == HealthStatus::Degraded {
        return None;
    }
    Some(Finding::problem(error.to_string(), remedy(described, error.kind())))
}

fn remedy(described: &ServiceDescription, kind: ErrorKind) -> String {
    let (setting, on_disk) = (&described.setting, described.backend == "local disk");
    match kind {
        ErrorKind::Unauthenticated => {
            let password = setting.strip_suffix("_URL").map_or_else(String::new, |service| {
                format!(", or the password in {service}_PASSWORD or {service}_PASSWORD_FILE")
            });
            format!("mend the user and password in {setting}{password}")
        }
        ErrorKind::PermissionDenied if on_disk => "let the user that the process runs as write there".to_owned(),
        ErrorKind::PermissionDenied => "give the user on the server the right that is named".to_owned(),
        ErrorKind::Unavailable | ErrorKind::Timeout if described.shared => {
            format!("see whether the server of {setting} runs, and whether address, port and TLS are right")
        }
        ErrorKind::InvalidConfig | ErrorKind::Unsupported => format!("mend {setting}"),
        ErrorKind::Unavailable if on_disk => {
            "if another process has it, end that one, or use a store that replicas share".to_owned()
        }
        _ => "see what the server or the system says of it in its log".to_owned(),
    }
}

/// Of a Redis that keeps what is of this service.
#[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
pub(crate) fn of_redis(report: &ServerReport, service: Service, health: &Health) -> Vec<Finding> {
    let place = report.address.as_deref().unwrap_or("Redis");
    // What coordination needs of its server, its description says.
    let loses = match report.persistence {
        Persistence::Failing if service.must_stay() && health.is_up() => {
            Some(Finding::problem(format!("{place} cannot write to its disk what it keeps"), "see its log"))
        }
        Persistence::Nothing if service == Service::Sessions => {
            let what = format!("{place} keeps nothing when it stops: everybody is logged out then");
            Some(Finding::note(what, "set its appendonly to yes"))
        }
        _ => None,
    };
    let clock = report.clock.filter(|clock| clock.exceeds(CLOCKS_WITHIN)).map(|clock| {
        let seconds = clock.ahead_millis() / 1e3;
        let side = if seconds > 0.0 { "ahead of" } else { "behind" };
        let what = format!("the clock of {place} is {:.1} s {side} this machine's", seconds.abs());
        Finding::problem(what, "have both set by NTP")
    });
    loses.into_iter().chain(clock).collect()
}

/// Of the namespace of who has set none, on servers that others may use too.
pub(crate) fn of_namespace(namespace: &str, any_shared: bool) -> Option<Finding> {
    let what = format!("{DEFAULT_NAMESPACE:?} is the namespace of every application that has set none");
    let remedy = "set STATEHOUSE_NAMESPACE, so that no other application reads and writes the same entries";
    (any_shared && namespace == DEFAULT_NAMESPACE).then(|| Finding::note(what, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_apart_from_what_to_do() {
        for (missing, what, remedy) in [
            (
                "each replica has its own: set S_URL to a URL that begins with s3:",
                "each replica has its own",
                "set S_URL to a URL that begins with s3:",
            ),
            (
                "on one Redis with cache: if that evicts, x; give each one",
                "on one Redis with cache: if that evicts, x",
                "give each one",
            ),
        ] {
            let found = of_missing(missing);
            assert_eq!((&found.what[..], &found.remedy[..]), (what, remedy));
            assert_eq!(found.to_string(), format!("problem: {what}; {remedy}"));
        }
    }
}
