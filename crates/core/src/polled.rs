/// Takes the service that was polled until it was ready, for a request that outlives the call, and leaves its clone, which
/// is not ready, for the next one. Every layer around another service that answers in a future of its own needs it.
///
/// ```
/// let mut inner = vec!["ready"];
/// let polled = statehouse_core::take_polled(&mut inner);
/// assert_eq!(polled, inner);
/// ```
pub fn take_polled<S: Clone>(service: &mut S) -> S {
    let next = service.clone();
    std::mem::replace(service, next)
}
