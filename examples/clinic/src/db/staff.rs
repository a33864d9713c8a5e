use std::sync::{LazyLock, mpsc};
use std::thread;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordVerifier};
use serde::{Deserialize, Serialize};
use sqlx::any::{AnyRow, AnyTypeInfo, AnyValueRef};
use sqlx::error::BoxDynError;
use sqlx::{Any, Decode, FromRow, Row, Type};
use tokio::sync::oneshot;

use super::Database;
use super::lent::ask;
use super::made_up::PASSWORD_HASH;

/// Somebody who works here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staff {
    pub(crate) id: i64,
    pub(crate) login: String,
    pub(crate) name: String,
    pub(crate) role: Role,
}

from_row!(Staff { id, login, name, role });

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Works with charts.
    Clinician,
    /// Sees the operator's page, too.
    Operator,
}

impl Type<Any> for Role {
    fn type_info() -> AnyTypeInfo {
        <String as Type<Any>>::type_info()
    }
}

impl<'r> Decode<'r, Any> for Role {
    fn decode(value: AnyValueRef<'r>) -> Result<Self, BoxDynError> {
        match <String as Decode<'r, Any>>::decode(value)?.as_str() {
            "clinician" => Ok(Self::Clinician),
            "operator" => Ok(Self::Operator),
            text => Err(format!("no role {text}").into()),
        }
    }
}

struct Credentials {
    staff: Staff,
    password: String,
}

impl<'r> FromRow<'r, AnyRow> for Credentials {
    fn from_row(row: &'r AnyRow) -> sqlx::Result<Self> {
        Ok(Self { staff: Staff::from_row(row)?, password: row.try_get("password")? })
    }
}

impl Database {
    /// The person with this login and password. An unknown login takes as long as a wrong password.
    pub(crate) async fn log_in(&self, login: &str, password: &str) -> sqlx::Result<Option<Staff>> {
        let found: Option<Credentials> = ask!(
            self,
            sqlx::query_as(
                "SELECT id, login, name, role, password FROM staff WHERE login = $1 AND dismissed_at IS NULL",
            )
            .bind(login),
            fetch_optional
        )?;
        let hash = found.as_ref().map_or(PASSWORD_HASH, |found| &found.password).to_owned();
        let right = verify(hash, password.to_owned()).await?;
        Ok(found.filter(|_| right).map(|found| found.staff))
    }

    /// The person with this number, unless they were dismissed.
    pub(crate) async fn staff(&self, id: i64) -> sqlx::Result<Option<Staff>> {
        ask!(
            self,
            sqlx::query_as("SELECT id, login, name, role FROM staff WHERE id = $1 AND dismissed_at IS NULL").bind(id),
            fetch_optional
        )
    }
}

/// A check takes 19 MiB and tens of milliseconds of one core. One thread makes all of them, one by one: the allocator
/// keeps such memory for each thread that ever had it, and the runtime has many for blocking work.
async fn verify(hash: String, password: String) -> sqlx::Result<bool> {
    static CHECKS: LazyLock<mpsc::Sender<Check>> = LazyLock::new(|| {
        let (sender, checks) = mpsc::channel::<Check>();
        thread::spawn(move || checks.into_iter().for_each(check));
        sender
    });
    let (answer, right) = oneshot::channel();
    // A thread that is gone says nothing of the password.
    CHECKS.send((hash, password, answer)).map_err(|_| sqlx::Error::WorkerCrashed)?;
    right.await.map_err(|_| sqlx::Error::WorkerCrashed)
}

/// A password hash, a password, and who waits for whether they belong together.
type Check = (String, String, oneshot::Sender<bool>);

fn check((hash, password, answer): Check) {
    if answer.is_closed() {
        return;
    }
    let verified = |hash| Argon2::default().verify_password(password.as_bytes(), &hash);
    // Nobody hears it if the request was given up.
    let _unheard = answer.send(PasswordHash::new(&hash).and_then(verified).is_ok());
}
