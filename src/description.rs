//! What an operator is told of the services.

use std::fmt;

use serde::Serialize;
use statehouse_core::{Capabilities, capability};

use crate::place::Place;
use crate::service::Service;

/// What the services are, where, and what they lack for several replicas: made by
/// [`Services::describe`](crate::Services::describe). It holds no secret. `Display` prints one line for each service.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// The namespace of everything that they store.
    pub namespace: String,
    /// Each service, whether it is used or not.
    pub services: Vec<ServiceDescription>,
}

/// What is known of one service.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServiceDescription {
    /// Which.
    pub service: Service,
    /// Whether the program uses it.
    pub state: ServiceState,
    /// What decides where it is: `STATEHOUSE_CACHE_URL` and the like, or what of
    /// [`ServicesBuilder`](crate::ServicesBuilder) brought it along.
    pub setting: String,
    /// What keeps it, for example `redis` or `local disk`.
    pub backend: String,
    /// Where that is: a URL without user, password and parameters, or a folder.
    pub place: Option<String>,
    /// Whether every replica sees the same.
    pub shared: bool,
    /// Whether what was acknowledged survives the end of the process. A cache never promises that.
    pub durable: bool,
    /// What is missing before several replicas can use it well, each with what to do.
    pub missing: Vec<String>,
}

/// Whether a service is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServiceState {
    /// No part of the program has asked for it.
    NotUsed,
    /// It is asked for, and not open yet.
    NotOpen,
    /// It is open.
    Open,
    /// It was closed by [`Services::shutdown`](crate::Services::shutdown).
    Closed,
}

impl ServiceDescription {
    pub(crate) fn of(service: Service, state: ServiceState, place: &Place, can: &Capabilities) -> Self {
        let mut described = Self {
            service,
            state,
            setting: place.setting().to_owned(),
            backend: place.backend().to_owned(),
            place: place.address().map(ToOwned::to_owned),
            shared: can.has(capability::SHARED),
            durable: can.has(capability::DURABLE),
            missing: Vec::new(),
        };
        if !described.shared {
            described.missing.push(described.what_would_share());
        }
        // Before it is open nobody knows.
        let unevicted = can.has(statehouse_session::capability::UNEVICTED);
        if service == Service::Sessions && state == ServiceState::Open && !unevicted {
            let evicted = "the server may evict sessions: set its maxmemory-policy to noeviction";
            described.missing.push(evicted.to_owned());
        }
        #[cfg(feature = "coord")]
        if service == Service::Coordination && state == ServiceState::Open && described.shared && !described.durable {
            let forgets = "the server may forget who has a lock, so that none is given: set its appendonly to yes and its \
                           maxmemory-policy to noeviction";
            described.missing.push(forgets.to_owned());
        }
        described
    }

    fn what_would_share(&self) -> String {
        let (scheme, feature, compiled_in) = self.service.shared_by();
        let feature = if compiled_in { String::new() } else { format!(" (feature {feature})") };
        let setting = &self.setting;
        match setting.starts_with("STATEHOUSE_") {
            true => format!("each replica has its own: set {setting} to a URL that begins with {scheme}{feature}"),
            false => format!("each replica has its own: give {setting} one that all replicas see"),
        }
    }
}

impl ServiceDescription {
    /// What it is, without what is missing.
    pub(crate) fn fmt_what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.service, self.backend)?;
        if let Some(place) = &self.place {
            write!(f, " {place}")?;
        }
        f.write_str(if self.shared { ", shared" } else { ", not shared" })?;
        f.write_str(if self.durable { ", durable" } else { ", not durable" })
    }
}

impl fmt::Display for ServiceDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_what(f)?;
        if self.state == ServiceState::NotUsed {
            f.write_str(", not used")?;
        }
        if !self.missing.is_empty() {
            write!(f, "; {}", self.missing.join("; "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, service) in self.services.iter().enumerate() {
            let end = if line == 0 { "" } else { "\n" };
            write!(f, "{end}{service}")?;
        }
        Ok(())
    }
}
