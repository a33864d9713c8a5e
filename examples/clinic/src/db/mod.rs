//! The application's own database: SQLite embedded, PostgreSQL with replicas, the same SQL for both.

/// Reads a row by the names of its columns. sqlx's own derive compiles every driver a second time, for the macro.
macro_rules! from_row {
    ($name:ident { $($field:ident),+ }) => {
        impl<'r> sqlx::FromRow<'r, sqlx::any::AnyRow> for $name {
            fn from_row(row: &'r sqlx::any::AnyRow) -> sqlx::Result<Self> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}

mod charts;
mod documents;
mod drafts;
mod lent;
mod made_up;
mod staff;

use std::time::{Duration, Instant};

pub(crate) use charts::{Diagnosis, Note, NoteAdded, Patient};
pub(crate) use documents::Document;
pub(crate) use drafts::{Draft, DraftKept, Window};
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection as _};
pub(crate) use staff::{Role, Staff};

/// How long a connection is waited for.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Each is applied once, in this order.
const MIGRATIONS: &[&str] = &[
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
    include_str!("schema-5.sql"),
];

/// How often a replica looks whether another one has brought the schema up to date.
const MIGRATION_PAUSE: Duration = Duration::from_millis(50);
/// After which it says that it waits, and after which it gives up.
const MIGRATION_SLOW: Duration = Duration::from_secs(10);
const MIGRATION_WITHIN: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Debug)]
pub(crate) struct Database {
    pool: AnyPool,
    engine: Engine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Sqlite,
    PostgreSql,
}

impl Engine {
    fn of(url: &str) -> Self {
        if url.starts_with("sqlite:") { Self::Sqlite } else { Self::PostgreSql }
    }

    /// A commit is on disk when it is acknowledged.
    const fn on_connect(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA synchronous = FULL",
            Self::PostgreSql => "SET statement_timeout = '10s'",
        }
    }

    /// Its own clock, in milliseconds since the Unix epoch: replicas write and read what ends later, and the clock of one may be wrong.
    const fn clock(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)",
            Self::PostgreSql => "CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT)",
        }
    }

    /// How a transaction that may change the schema begins, and what asks for the one right to do so: 1 if it is had, until
    /// the transaction ends.
    const fn begin_migration(self) -> (&'static str, &'static str) {
        match self {
            Self::Sqlite => ("BEGIN IMMEDIATE", "SELECT 1"),
            Self::PostgreSql => (
                "BEGIN; SET LOCAL statement_timeout = 0",
                "SELECT CASE WHEN pg_try_advisory_xact_lock(7236837) THEN 1::BIGINT ELSE 0::BIGINT END",
            ),
        }
    }
}

impl Database {
    /// Connects, brings the schema up to date, and fills an empty database with made-up people.
    ///
    /// # Errors
    /// Says where the database is, the setting, and why it cannot be opened; never the URL, which may hold a password.
    pub(crate) async fn open(url: &str) -> Result<Self, String> {
        match Self::connect(url).await {
            Ok(database) => Ok(database),
            Err(error) => {
                let (place, cause) = (place(url), cause(url, error).await);
                Err(format!("cannot open the database {place} (setting CLINIC_DATABASE): {cause}"))
            }
        }
    }

    async fn connect(url: &str) -> sqlx::Result<Self> {
        sqlx::any::install_default_drivers();
        let engine = Engine::of(url);
        if engine == Engine::Sqlite {
            crate::private::make_database(url)?;
            write_ahead(url).await?;
        }
        let pool = AnyPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(CONNECT_WITHIN)
            .after_connect(move |connection, _| {
                Box::pin(async move { sqlx::raw_sql(engine.on_connect()).execute(connection).await.map(drop) })
            })
            .connect(url)
            .await?;
        let database = Self { pool, engine };
        database.migrate().await?;
        Ok(database)
    }

    async fn migrate(&self) -> sqlx::Result<()> {
        let (begin, lock) = self.engine.begin_migration();
        let mut transaction = self.pool.begin_with(begin).await?;
        right_to_migrate(&mut transaction, lock, MIGRATION_WITHIN).await?;
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS clinic_schema (version BIGINT PRIMARY KEY)")
            .execute(&mut *transaction)
            .await?;
        let (applied,): (i64,) =
            sqlx::query_as("SELECT count(*) FROM clinic_schema").fetch_one(&mut *transaction).await?;
        let applied = usize::try_from(applied).unwrap_or_default();
        for (version, migration) in MIGRATIONS.iter().enumerate().skip(applied) {
            sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO clinic_schema (version) VALUES ($1)")
                .bind(i64::try_from(version).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await?;
        }
        if applied == 0 {
            made_up::fill(&mut transaction).await?;
        }
        transaction.commit().await
    }

    /// One round trip: an error says why the database cannot serve.
    pub(crate) async fn ping(&self) -> sqlx::Result<()> {
        lent::ask!(self, sqlx::query("SELECT 1"), execute).map(drop)
    }

    /// What the operator's page calls it.
    pub(crate) const fn engine(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "SQLite",
            Engine::PostgreSql => "PostgreSQL",
        }
    }

    pub(crate) async fn close(&self) {
        // One that hangs is closed by the end of the process.
        let _late = tokio::time::timeout(CONNECT_WITHIN, self.pool.close()).await;
    }
}

/// Readers do not wait for the writer: the file is so from then on. Where another process makes it so at the moment, SQLite
/// refuses at once, whatever its timeout.
async fn write_ahead(url: &str) -> sqlx::Result<()> {
    let begun = Instant::now();
    loop {
        let mut connection = AnyConnection::connect(url).await?;
        let made = sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut connection).await;
        connection.close().await?;
        let is_busy =
            |error: &sqlx::Error| error.as_database_error().is_some_and(|error| error.message().contains("locked"));
        match made {
            Err(error) if is_busy(&error) && begun.elapsed() < CONNECT_WITHIN => {
                tokio::time::sleep(MIGRATION_PAUSE).await;
            }
            made => return made.map(drop),
        }
    }
}

/// Waits while another replica changes the schema. Asked again and again: a statement that waits is reported as a slow one,
/// and nothing is wrong.
async fn right_to_migrate(connection: &mut AnyConnection, lock: &'static str, within: Duration) -> sqlx::Result<()> {
    let (begun, mut is_told) = (Instant::now(), false);
    while sqlx::query_as::<_, (i64,)>(lock).fetch_one(&mut *connection).await? != (1,) {
        if begun.elapsed() >= within {
            let words = "another replica is still changing its schema, or has stopped as it did";
            return Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, words)));
        }
        if begun.elapsed() >= MIGRATION_SLOW && !std::mem::replace(&mut is_told, true) {
            tracing::warn!("waiting for another replica to change the schema of the database");
        }
        tokio::time::sleep(MIGRATION_PAUSE).await;
    }
    Ok(())
}

/// The pool says only that it waited; a connection of its own says for what.
async fn cause(url: &str, error: sqlx::Error) -> String {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error.to_string();
    }
    match tokio::time::timeout(CONNECT_WITHIN, AnyConnection::connect(url)).await {
        Ok(Err(cause)) => cause.to_string(),
        Ok(Ok(_)) => error.to_string(),
        Err(_) => "it does not answer".to_owned(),
    }
}

/// Where the URL leads, for errors.
fn place(url: &str) -> String {
    #[cfg(feature = "replicas")]
    if Engine::of(url) == Engine::PostgreSql {
        let options = url.parse::<sqlx::postgres::PgConnectOptions>();
        return options.map_or_else(|_| String::new(), |at| format!("at {}:{}", at.get_host(), at.get_port()));
    }
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    format!("in {}", path.split('?').next().unwrap_or(path))
}

/// Inserts rows, a hundred to a statement. Every column of a row is text or a whole number.
async fn insert_all(connection: &mut AnyConnection, into: &str, rows: &[Vec<Value>]) -> sqlx::Result<()> {
    for chunk in rows.chunks(100) {
        let mut next = 0;
        let mut placeholders = |row: &Vec<Value>| {
            let marks: Vec<_> = row
                .iter()
                .map(|_| {
                    next += 1;
                    format!("${next}")
                })
                .collect();
            format!("({})", marks.join(", "))
        };
        let values: Vec<_> = chunk.iter().map(&mut placeholders).collect();
        let statement = format!("INSERT INTO {into} VALUES {}", values.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for value in chunk.iter().flatten() {
            query = match value {
                Value::Number(number) => query.bind(*number),
                Value::Text(text) => query.bind(text.as_str()),
            };
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

enum Value {
    Number(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

#[cfg(test)]
mod tests;
