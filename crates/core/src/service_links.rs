//! The variables that container platforms set for services whose name begins like our settings.

/// Whether `name` and `value` have the shape of a
/// [service link](https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables): Kubernetes
/// tells every container of a namespace about each service in it, so that one called `statehouse` or
/// `statehouse-redis` sets `STATEHOUSE_PORT`, `STATEHOUSE_REDIS_SERVICE_HOST` and the like for applications that have
/// nothing to do with it. No setting of ours ends like one.
///
/// ```
/// use statehouse_core::is_service_link;
///
/// assert!(is_service_link("STATEHOUSE_REDIS_PORT", "tcp://10.0.171.239:6379"));
/// assert!(!is_service_link("STATEHOUSE_CACHE_URL", "redis://10.0.171.239:6379"));
/// ```
#[must_use]
pub fn is_service_link(name: &str, value: &str) -> bool {
    if let Some((_, port)) = name.rsplit_once("_SERVICE_PORT") {
        // A port may have a name: `…_SERVICE_PORT_HTTPS`.
        return is_number(value) && (port.is_empty() || port.starts_with('_'));
    }
    if name.ends_with("_SERVICE_HOST") {
        return true;
    }
    match name.rsplit_once("_PORT_") {
        Some((_, rest)) if is_port(rest) => true,
        _ => name.ends_with("_PORT") && is_address(value),
    }
}

/// Whether this is what stands behind `_PORT_`: `6379_TCP`, perhaps with a part of that address.
fn is_port(text: &str) -> bool {
    let mut words = text.split('_');
    words.next().is_some_and(is_number)
        && words.next().is_some_and(|word| matches!(word, "TCP" | "UDP" | "SCTP"))
        && words.next().is_none_or(|word| matches!(word, "ADDR" | "PORT" | "PROTO"))
        && words.next().is_none()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_address(text: &str) -> bool {
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme))
}
