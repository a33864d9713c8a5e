//! What a test sees of what is told to operators.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Writes down every event of level `WARN` or above, each as a line of its fields. To be set as the default of one thread.
#[derive(Clone, Debug)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Default for Warnings {
    fn default() -> Self {
        not_alone();
        Self(Arc::default())
    }
}

impl Warnings {
    /// What was written down so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// While a process has one subscriber only, `tracing` asks that of the thread which comes first to an event whether
/// anybody listens: a test beside this one, to which nobody listens, would silence the event for all. So there are two.
fn not_alone() {
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(NoSubscriber::new()));
}

/// Writes down every span, each as a line of its fields. To be set as the default of one thread.
#[derive(Clone, Debug)]
pub struct Spans(Arc<Mutex<Vec<String>>>);

impl Default for Spans {
    fn default() -> Self {
        not_alone();
        Self(Arc::default())
    }
}

impl Spans {
    /// What was written down so far, in the order in which the spans began: the name, then `field=value` of each field.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(span.metadata().name().to_owned());
        span.record(&mut line);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line.0);
        Id::from_u64(lines.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = usize::try_from(span.into_u64()).ok().and_then(|number| lines.get_mut(number - 1));
        if let Some(line) = line {
            let mut with = Line(std::mem::take(line));
            values.record(&mut with);
            *line = with.0;
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // To a string it does not fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().name().to_owned());
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
