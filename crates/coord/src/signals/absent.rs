use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capabilities, Error, ErrorKind, Health, Result};

use super::api::Signals;
use super::hub::Subscriber;
use super::operation::NAME;
use super::options::{
    AcquireOptions, AddOptions, CountOptions, PublishOptions, ReleaseOptions, RenewOptions, ResetOptions, TakeOptions,
};
use super::outcome::{Acquired, Count, PermitId, Renewed, Taken};
use super::rate::Rate;
use crate::key::CoordKey;

/// No signals: every call is [`Unsupported`](ErrorKind::Unsupported), and says what is missing.
#[derive(Clone, Debug)]
pub struct AbsentSignals(Error);

impl AbsentSignals {
    /// For this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(Error::new(ErrorKind::Unsupported, reason.into()))
    }

    /// Because of this setting.
    #[must_use]
    pub fn with_setting(self, setting: &str) -> Self {
        Self(self.0.with_setting(setting))
    }

    fn refuse<T>(&self, operation: &'static str) -> Result<T> {
        Err(self.0.clone().with_operation(operation))
    }
}

#[async_trait]
impl Signals for AbsentSignals {
    async fn add_with(&self, _: &CoordKey, _: i64, _: AddOptions) -> Result<Count> {
        self.refuse(NAME.add)
    }

    async fn count_with(&self, _: &CoordKey, _: CountOptions) -> Result<Option<Count>> {
        self.refuse(NAME.count)
    }

    async fn reset_with(&self, _: &CoordKey, _: ResetOptions) -> Result<()> {
        self.refuse(NAME.reset)
    }

    async fn take_with(&self, _: &CoordKey, _: Rate, _: TakeOptions) -> Result<Taken> {
        self.refuse(NAME.take)
    }

    async fn acquire_with(&self, _: &CoordKey, _: PermitId, _: AcquireOptions) -> Result<Acquired> {
        self.refuse(NAME.acquire)
    }

    async fn renew_with(&self, _: &CoordKey, _: PermitId, _: RenewOptions) -> Result<Renewed> {
        self.refuse(NAME.renew)
    }

    async fn release_with(&self, _: &CoordKey, _: PermitId, _: ReleaseOptions) -> Result<()> {
        self.refuse(NAME.release)
    }

    async fn publish_with(&self, _: &CoordKey, _: Bytes, _: PublishOptions) -> Result<()> {
        self.refuse(NAME.publish)
    }

    fn subscribe(&self, _: &[CoordKey]) -> Result<Subscriber> {
        self.refuse(NAME.subscribe)
    }

    async fn health(&self) -> Health {
        Health::of("none", std::time::Duration::ZERO, Err(self.0.clone()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}
