//! The schema and its versions: made and brought up to date before anything else touches them.

use crate::failure::ConnectError;
use crate::session::Sessions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqlSafeStr as _};
use sqlx_core::migrate::{MigrateError, Migration, MigrationType, Migrator};
use std::borrow::Cow;

/// How many lanes there are: as many as the migrations make partitions. An account's lane is part of what
/// is stored.
pub(crate) const LANES: usize = 4;
/// The oldest version of Postgres that has all that is used here (`server_version_num`).
const SERVER_VERSION_MIN: i32 = 130_000;

fn migrator() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(vec![migration(1, "store", include_str!("../migrations/0001_store.sql"))])
}

/// Makes the schema if need be, and brings it to this program's version. Many frontends may do so at once:
/// sqlx takes an advisory lock.
pub(crate) async fn migrate(sessions: &Sessions) -> Result<(), ConnectError> {
    let mut connection = sessions.connect_to_migrate().await?;
    check_server(&mut connection).await?;
    let mut migrator = migrator();
    let found: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(format!(r#""{}""#, sessions.schema()))
        .fetch_one(&mut connection)
        .await?;
    if !found {
        // The right to make schemas is needed only where the schema is not there.
        migrator.create_schema(sessions.schema().to_owned());
    }
    migrator.run_direct(None, &mut connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => ConnectError::from(error),
        MigrateError::VersionMissing(version) => ConnectError::Newer { version },
        other => ConnectError::Schema(other.to_string()),
    })?;
    connection.close().await?;
    Ok(())
}

async fn check_server(connection: &mut PgConnection) -> Result<(), ConnectError> {
    const ASK: &str =
        "SELECT current_setting('server_version_num')::integer, current_setting('server_version')";
    let (number, version): (i32, String) = sqlx::query_as(ASK).fetch_one(connection).await?;
    if number < SERVER_VERSION_MIN { Err(ConnectError::OldServer(version)) } else { Ok(()) }
}
