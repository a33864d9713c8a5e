//! Where a service is, and what an operator is told of it.

use std::path::Path;

use statehouse_core::{Error, Result, ServiceUrl};

use crate::service::Service;

/// What errors and descriptions say of where a service is. It holds no secret.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    setting: String,
    folder: Option<String>,
    backend: &'static str,
    address: Option<String>,
    /// The servers alone, as far as others may be on them too.
    server: Option<String>,
}

impl Place {
    /// Refuses a folder that is a file, or lies below one.
    pub(crate) fn of(service: Service, url: &ServiceUrl) -> Result<Self> {
        let folder = matches!(url.scheme(), "file" | "tantivy").then(|| url.path().to_owned());
        let place = Self {
            setting: url.setting().to_owned(),
            backend: backend(service, url.scheme()),
            address: address(url, folder.as_deref()),
            server: url.scheme().starts_with("redis").then(|| all_of(url.scheme(), &hosts(url))),
            folder,
        };
        let Some(folder) = &place.folder else { return Ok(place) };
        match Path::new(folder).ancestors().find(|path| path.exists()) {
            Some(path) if !path.is_dir() => {
                let message = format!("{} is a file, and a folder is needed there", path.display());
                Err(Error::invalid_config(&place.setting, message))
            }
            _ => Ok(place),
        }
    }

    /// What the application has opened itself.
    pub(crate) fn brought(service: Service) -> Self {
        let setting = service.brought_by().to_owned();
        Self { setting, folder: None, backend: "of the application's own", address: None, server: None }
    }

    /// What lies in no place of its own, unless this setting says otherwise.
    #[cfg(feature = "coord")]
    pub(crate) fn nowhere(setting: &str, backend: &'static str) -> Self {
        Self { setting: setting.to_owned(), folder: None, backend, address: None, server: None }
    }

    /// The same place for what lies there unless this setting says otherwise.
    #[cfg(feature = "coord")]
    pub(crate) fn unless(self, setting: &str) -> Self {
        Self { setting: setting.to_owned(), ..self }
    }

    /// The setting that says where it is.
    pub(crate) fn setting(&self) -> &str {
        &self.setting
    }

    /// What keeps it.
    pub(crate) const fn backend(&self) -> &'static str {
        self.backend
    }

    /// The URL without user, password and parameters, or the folder; nothing of what is in memory.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Whether both are in one Redis.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.server.is_some() && self.server == other.server
    }

    /// The error of opening it, with the setting and the folder.
    pub(crate) fn name(&self, error: Error) -> Error {
        let error = match &self.folder {
            Some(folder) if !error.message().contains(folder.as_str()) => error.within(&format!("folder {folder:?}")),
            _ => error,
        };
        error.with_setting(&self.setting)
    }
}

fn backend(service: Service, scheme: &str) -> &'static str {
    match scheme {
        #[cfg(feature = "_search")]
        "memory" if service == Service::Search => "tantivy in memory",
        "memory" => "memory",
        "file" => "local disk",
        "tantivy" => "tantivy",
        "s3" => "s3",
        "az" => "azure",
        _ if scheme.starts_with("redis") => "redis",
        _ if scheme.starts_with("opensearch") => "opensearch",
        // Another one would have been refused by its service.
        _ => service.as_str(),
    }
}

fn address(url: &ServiceUrl, folder: Option<&str>) -> Option<String> {
    if let Some(folder) = folder {
        let whole = std::path::absolute(folder).map(|path| path.display().to_string());
        return Some(whole.unwrap_or_else(|_| folder.to_owned()));
    }
    if url.hosts().is_empty() {
        return None;
    }
    let slash = if url.path().is_empty() { "" } else { "/" };
    let place = format!("{}://{}{slash}{}", url.scheme(), hosts(url), url.path());
    // Which server has the bucket or container. A user name has no business there, and is not shown.
    let endpoint = matches!(url.scheme(), "s3" | "az").then(|| url.clone().take("endpoint")).flatten();
    let endpoint = endpoint.filter(|endpoint| !endpoint.expose().contains('@'));
    Some(endpoint.map_or_else(|| place.clone(), |endpoint| format!("{place} at {}", endpoint.expose())))
}

fn hosts(url: &ServiceUrl) -> String {
    url.hosts().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// One and the same for all ways to write a place in Redis, whether it says what is so by default and in whatever order it has
/// its hosts. Everything else is left as it is.
#[cfg(feature = "coord")]
pub(crate) fn one_name(place: &str) -> std::borrow::Cow<'_, str> {
    use std::borrow::Cow;

    let Some((scheme, rest)) = place.split_once("://").filter(|(scheme, _)| scheme.starts_with("redis")) else {
        return Cow::Borrowed(place);
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let within = match path.rsplit_once('/') {
        // Of the master that Sentinel calls so.
        Some((master, "0")) => master,
        None if path == "0" => "",
        _ => path,
    };
    Cow::Owned(format!("{scheme}://{}/{within}", all_of(scheme, hosts)))
}

/// The hosts of a Redis, each with its port, in order.
fn all_of(scheme: &str, hosts: &str) -> String {
    let port = if scheme.ends_with("+sentinel") { 26379 } else { 6379 };
    let has_port = |host: &str| host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let whole =
        |host: &str| if has_port(host) { host.to_lowercase() } else { format!("{}:{port}", host.to_lowercase()) };
    let mut hosts: Vec<_> = hosts.split(',').map(whole).collect();
    hosts.sort_unstable();
    hosts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(service: Service, url: &str) -> (&'static str, Option<String>) {
        let place = Place::of(service, &ServiceUrl::parse("S", url).unwrap()).unwrap();
        (place.backend(), place.address().map(ToOwned::to_owned))
    }

    #[test]
    fn a_place_is_shown_without_users_passwords_and_parameters() {
        for (service, url, backend, address) in [
            (Service::Cache, "memory:?capacity=1MiB", "memory", None),
            (Service::Cache, "redis://ada:hunter2@h:6380/2?timeout=1s", "redis", Some("redis://h:6380/2")),
            (
                Service::Sessions,
                "rediss+sentinel://:hunter2@a:1,b:2/main/0",
                "redis",
                Some("rediss+sentinel://a:1,b:2/main/0"),
            ),
            (Service::Files, "file:///srv/scans?durability=relaxed", "local disk", Some("/srv/scans")),
            (
                Service::Files,
                "s3://KEY:hunter2@scans/p?region=r&endpoint=http%3A%2F%2F10.0.0.5%3A9000",
                "s3",
                Some("s3://scans/p at http://10.0.0.5:9000"),
            ),
            (Service::Files, "s3://scans?endpoint=http%3A%2F%2Fada%3Ahunter2%40h", "s3", Some("s3://scans")),
        ] {
            let (found, place) = shown(service, url);
            assert_eq!((found, place.as_deref()), (backend, address), "{url}");
        }
        let relative = shown(Service::Files, "file:data/files").1.unwrap();
        assert!(Path::new(&relative).is_absolute() && relative.ends_with("data/files"), "{relative}");
    }

    #[test]
    fn two_services_are_beside_each_other_if_they_are_on_one_redis() {
        let place = |url: &str| Place::of(Service::Cache, &ServiceUrl::parse("S", url).unwrap()).unwrap();
        assert!(place("redis://h:1/0?timeout=1s").is_beside(&place("redis://u:p@h:1/1")));
        assert!(place("redis://h").is_beside(&place("redis://H:6379/1")));
        assert!(!place("redis://h:1").is_beside(&place("redis://h:2")));
        assert!(!place("memory:").is_beside(&place("memory:")));
    }

    #[test]
    #[cfg(feature = "coord")]
    fn a_place_in_redis_is_the_same_however_it_is_written() {
        for (one, other) in [
            ("redis://h", "redis://h:6379/0"),
            ("redis://h/", "redis://H:6379"),
            ("rediss://[::1]", "rediss://[::1]:6379/0"),
            ("redis+sentinel://a,b:26380,c/main", "redis+sentinel://c:26379,a,b:26380/main/0"),
            ("redis+cluster://a,b", "redis+cluster://b,a:6379/0"),
        ] {
            assert_eq!(one_name(one), one_name(other));
        }
        for (one, other) in [
            ("redis://h", "redis://h/1"),
            ("redis://h", "redis://h:6380"),
            ("redis://h/1", "redis://h/10"),
            ("redis://h", "redis+sentinel://h/0"),
            ("redis+sentinel://a/main/1", "redis+sentinel://a/main"),
            ("redis+sentinel://a/main", "redis+sentinel://a/other"),
            ("s3://a/0", "s3://a"),
        ] {
            assert_ne!(one_name(one), one_name(other));
        }
    }
}
