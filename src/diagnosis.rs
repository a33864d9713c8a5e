//! What an operator is told who asks what is wrong.

use std::fmt;

use serde::Serialize;
use statehouse_core::Health;

use crate::description::ServiceDescription;

/// How the services are, what their servers say of themselves, and what to do: made by
/// [`Services::diagnose`](crate::Services::diagnose). It holds no secret. `Display` prints a line for each service, and below
/// it one for each finding.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The namespace of everything that they store.
    pub namespace: String,
    /// Each service, whether it was examined or not.
    pub services: Vec<ServiceDiagnosis>,
    /// What is to be said of all together.
    pub findings: Vec<Finding>,
}

/// What was found out about one service.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ServiceDiagnosis {
    /// Which it is, and where.
    #[serde(flatten)]
    pub description: ServiceDescription,
    /// How it is; none if it was not examined.
    pub health: Option<Health>,
    /// Its servers, as far as they tell.
    pub servers: Vec<ServerDiagnosis>,
    /// What is to be said of it.
    pub findings: Vec<Finding>,
}

/// What a server says of itself. What is none, it does not tell, or is nothing that it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerDiagnosis {
    /// `host:port`.
    pub address: Option<String>,
    /// What it is, for example `Redis 7.2.4`.
    pub version: Option<String>,
    /// What it does when its memory is full: `evicts nothing`, `evicts keys with a time to live` or `evicts any key`.
    pub eviction: Option<&'static str>,
    /// What it keeps when it is stopped: `appends to a file`, `keeps snapshots`, `keeps nothing` or `cannot write to its disk`.
    pub persistence: Option<&'static str>,
    /// By how many milliseconds its clock is ahead of this machine's; negative if it is behind.
    pub clock_ahead_ms: Option<f64>,
}

/// Something that is to be known, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// To be known. It may be as it should be.
    Note,
    /// Something does not work, or will not for several replicas.
    Problem,
}

impl Diagnosis {
    /// Everything that was found, of each service and of all together.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        self.services.iter().flat_map(|service| &service.findings).chain(&self.findings)
    }

    /// Whether there is no [problem](Severity::Problem).
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.all_findings().all(|finding| finding.severity != Severity::Problem)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {}", self.namespace)?;
        for service in &self.services {
            write!(f, "\n{service}")?;
        }
        self.findings.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl fmt::Display for ServiceDiagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.description.fmt_what(f)?;
        match &self.health {
            None => f.write_str(": not examined")?,
            Some(health) => write!(f, ": {} after {:.1} ms", health.status, health.latency.as_secs_f64() * 1e3)?,
        }
        self.servers.iter().try_for_each(|server| write!(f, "; {server}"))?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

impl fmt::Display for ServerDiagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version.as_deref().unwrap_or("a server of unknown version"))?;
        if let Some(address) = &self.address {
            write!(f, " at {address}")?;
        }
        for said in [self.eviction, self.persistence].into_iter().flatten() {
            write!(f, ", {said}")?;
        }
        match self.clock_ahead_ms {
            Some(ahead) => write!(f, ", clock {ahead:+.1} ms"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Problem => "problem",
            Severity::Note => "note",
        };
        write!(f, "{severity}: {}; {}", self.what, self.remedy)
    }
}
