//! The services that the environment names.

use statehouse::{Config, Service, ServiceDescription, Services};

use crate::outcome::Failure;

/// Nothing is opened yet.
pub(crate) async fn open() -> Result<Services, Failure> {
    let config = Config::from_env().map_err(|error| Failure::setting(&error))?;
    Services::open(config).await.map_err(|error| Failure::setting(&error))
}

/// Those of which a variable says where they are, and coordination where it lies in files that are shared.
pub(crate) fn named_by_environment(known: &[ServiceDescription]) -> Vec<Service> {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let is_named = |one: &&ServiceDescription| {
        let prefix = format!("STATEHOUSE_{}", one.service.as_str().to_ascii_uppercase());
        let is_said = is_set(&format!("{prefix}_URL")) || is_set(&format!("{prefix}_URL_FILE"));
        // Below that folder lies what is said nowhere else to be, save what is in memory.
        let is_below = is_set("STATEHOUSE_DATA") && one.place.is_some();
        is_said || is_below || one.service == Service::Coordination && one.shared
    };
    known.iter().filter(is_named).map(|one| one.service).collect()
}
