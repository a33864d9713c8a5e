use redis::FromRedisValue;
use statehouse_core::Result;

use crate::client::RedisClient;
use crate::idempotence::Idempotence;
use crate::request::{Request, ScriptCall};

impl ScriptCall<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// As [`RedisClient::query`].
    pub async fn run<T: FromRedisValue>(&self, client: &RedisClient, idempotence: Idempotence) -> Result<T> {
        client.convert(client.execute(&Request::Script(self), idempotence).await?)
    }
}
