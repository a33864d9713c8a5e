use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span};

use crate::{Error, Result, span};

/// One operation of one backend, such as `cache.set` on `redis`: its name in errors, spans and metrics.
///
/// A backend runs the work of a trait method [`during`](Self::during) the operation. It is the one place where an error
/// learns which operation failed, a span begins and a duration is measured, so that all services tell it alike.
///
/// ```
/// use statehouse_core::{Error, ErrorKind, Operation};
///
/// const GET: Operation = Operation::new("cache.get", "redis");
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let failed = GET.during(async { Err::<(), _>(Error::new(ErrorKind::Timeout, "no answer in 2 s")) }).await;
/// assert_eq!(failed.unwrap_err().to_string(), "cache.get: no answer in 2 s");
/// # }
/// ```
///
/// # Spans and metrics
/// The span is one of those that [`span`](crate::span) describes, with `statehouse.backend` and, once it has failed,
/// `error.type`. With the feature `metrics`,
/// `statehouse.operation.duration` is a histogram in seconds, by `operation`, `backend` and, of a failure,
/// `error.type`. Keys and values are in neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    name: &'static str,
    backend: &'static str,
}

impl Operation {
    /// The operation `service.verb` of a backend.
    #[must_use]
    pub const fn new(name: &'static str, backend: &'static str) -> Self {
        Self { name, backend }
    }

    /// The name, such as `cache.set`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The backend, such as `redis`.
    #[must_use]
    pub const fn backend(self) -> &'static str {
        self.backend
    }

    /// Does the work of the operation.
    ///
    /// # Errors
    /// Those of the work, which then name this operation and backend.
    // These hold the work in one place. An `async fn` would carry it once as its argument and once more where it awaits it.
    pub fn during<T, W: Future<Output = Result<T>>>(self, work: W) -> impl Future<Output = Result<T>> + use<T, W> {
        self.within(self.span(), work)
    }

    /// As [`during`](Self::during), of the service's that has this name, such as a cache; its span tells it.
    ///
    /// # Errors
    /// As [`during`](Self::during).
    pub fn during_of<T, W: Future<Output = Result<T>>>(
        self,
        name: &str,
        work: W,
    ) -> impl Future<Output = Result<T>> + use<T, W> {
        self.within(span::named(self.span(), name), work)
    }

    fn within<'k, W>(self, span: Span, work: W) -> Timed<'k, W> {
        Timed { operation: self, key: None, meter: None, work: work.instrument(span) }
    }

    /// Does the work of the operation without a span, for where [nobody listens](span::is_listened_to) and the future is to
    /// stay small.
    ///
    /// # Errors
    /// As [`during`](Self::during).
    pub fn timed<T, W: Future<Output = Result<T>>>(self, work: W) -> impl Future<Output = Result<T>> + use<T, W> {
        self.within(Span::none(), work)
    }

    /// Does work that waits for nothing.
    ///
    /// # Errors
    /// As [`during`](Self::during).
    pub fn run<T>(self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (span, meter) = (self.span(), Meter::start(self));
        let done = span.in_scope(work);
        meter.stop(done.as_ref().err());
        if let Err(error) = &done {
            span.record("error.type", error.kind().as_str());
        }
        done.map_err(|error| self.name_in(error))
    }

    /// Its span, for what is done otherwise than [`during`](Self::during) it.
    #[must_use]
    pub fn span(self) -> Span {
        span::of_backend(self.name, self.backend)
    }

    /// Does the work of the operation on a key, which errors name too.
    ///
    /// # Errors
    /// Those of the work, which then name this operation, backend and key.
    pub fn during_on<T, W: Future<Output = Result<T>>>(
        self,
        key: &str,
        work: W,
    ) -> impl Future<Output = Result<T>> + use<'_, T, W> {
        Timed { key: Some(key), ..self.within(self.span(), work) }
    }

    /// Tells an error which operation failed. What it says already is kept.
    #[must_use]
    pub fn name_in(self, error: Error) -> Error {
        error.with_backend(self.backend).with_operation(self.name)
    }
}

pin_project! {
    /// Work that is measured, and whose error learns which operation it was of.
    struct Timed<'k, W> {
        operation: Operation,
        key: Option<&'k str>,
        meter: Option<Meter>,
        #[pin]
        work: Instrumented<W>,
    }
}

impl<T, W: Future<Output = Result<T>>> Future for Timed<'_, W> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let mut this = self.project();
        let meter = this.meter.get_or_insert_with(|| Meter::start(*this.operation));
        let done = ready!(this.work.as_mut().poll(cx));
        this.work.span().in_scope(|| meter.stop(done.as_ref().err()));
        Poll::Ready(done.map_err(|error| {
            this.work.span().record("error.type", error.kind().as_str());
            let error = this.operation.name_in(error);
            match this.key {
                Some(key) => error.with_key(key),
                None => error,
            }
        }))
    }
}

/// Declares the operations of a service, each by its name: `Operations`, which a backend has of itself, and `NAME`, the names
/// alone, for what is around the backends or above them.
///
/// ```
/// statehouse_core::operations! {
///     get: "cache.get",
///     set: "cache.set",
/// }
///
/// const OPERATION: Operations = Operations::of("redis");
///
/// assert_eq!((OPERATION.get.name(), OPERATION.get.backend()), ("cache.get", "redis"));
/// assert_eq!(NAME.set, "cache.set");
/// ```
#[macro_export]
macro_rules! operations {
    ($($operation:ident: $name:literal),+ $(,)?) => {
        /// The operations of one backend, as errors, spans and metrics name them.
        #[allow(dead_code, reason = "no backend does all of them")]
        pub(crate) struct Operations {
            $(pub(crate) $operation: $crate::Operation,)+
        }

        impl Operations {
            #[allow(dead_code, reason = "there may be no backend but others'")]
            pub(crate) const fn of(backend: &'static str) -> Self {
                Self { $($operation: $crate::Operation::new($name, backend),)+ }
            }
        }

        /// The names of the operations.
        #[allow(dead_code, reason = "only a backend does some of them")]
        pub(crate) struct Names {
            $(pub(crate) $operation: &'static str,)+
        }

        #[allow(dead_code, reason = "there may be nothing above the backends")]
        pub(crate) const NAME: Names = Names { $($operation: $name,)+ };
    };
}

#[cfg(feature = "metrics")]
struct Meter {
    operation: Operation,
    start: std::time::Instant,
}

#[cfg(feature = "metrics")]
impl Meter {
    fn start(operation: Operation) -> Self {
        Self { operation, start: std::time::Instant::now() }
    }

    fn stop(&self, failure: Option<&Error>) {
        let Operation { name, backend } = self.operation;
        let duration = match failure {
            None => metrics::histogram!(DURATION, "operation" => name, "backend" => backend),
            Some(error) => {
                let kind = error.kind().as_str();
                metrics::histogram!(DURATION, "operation" => name, "backend" => backend, "error.type" => kind)
            }
        };
        duration.record(self.start.elapsed().as_secs_f64());
    }
}

#[cfg(feature = "metrics")]
const DURATION: &str = "statehouse.operation.duration";

#[cfg(not(feature = "metrics"))]
struct Meter;

#[cfg(not(feature = "metrics"))]
impl Meter {
    const fn start(_: Operation) -> Self {
        Self
    }

    const fn stop(&self, _: Option<&Error>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn what_an_error_says_already_is_kept() {
        const SAVE: Operation = Operation::new("session.save", "redis");
        let inner = || Error::new(ErrorKind::Unavailable, "gone").with_operation("session.load").with_backend("local");
        let error = SAVE.during_on("s1", async { Err::<(), _>(inner()) }).await.unwrap_err();
        assert_eq!((error.operation(), error.backend()), (Some("session.load"), Some("local")));
        assert_eq!(error.key(), Some("s1"));
        assert_eq!(SAVE.during(async { Ok(1) }).await.unwrap(), 1);
    }

    #[cfg(feature = "metrics")]
    #[tokio::test(flavor = "current_thread")]
    async fn durations_are_measured_by_operation_and_kind_of_error() {
        const GET: Operation = Operation::new("cache.get", "redis");
        let seen = crate::conformance::Recorder::default();
        let guard = metrics::set_default_local_recorder(&seen);
        GET.during(async { Ok(()) }).await.unwrap();
        GET.during_on("somebody's key", async { Err::<(), _>(Error::new(ErrorKind::Timeout, "late")) })
            .await
            .unwrap_err();
        drop(guard);
        let seen = seen.histograms().join("\n");
        let name = "statehouse.operation.duration";
        assert_eq!(
            seen,
            format!(
                "{name} operation=cache.get backend=redis\n{name} operation=cache.get backend=redis error.type=timeout"
            )
        );
    }
}
