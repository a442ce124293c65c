//! Deleting what nobody needs any more: cells that have expired, and the rows of frontends that are gone.

use crate::failure::Failure;
use dragon_contract::stored_cell;
use dragon_core::cell::Cell;
use sqlx::{Connection as _, PgConnection, Row as _};

/// Deletes cells that are due, by the database's clock. A cell that is written anew meanwhile is looked at
/// again, and stays. READ COMMITTED, so that no batch conflicts with it but one that writes the same cell.
pub(crate) async fn delete_due(connection: &mut PgConnection, limit: usize) -> Result<Vec<Cell>, Failure> {
    const DELETE: &str = "WITH now AS MATERIALIZED ( \
            SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms), \
        due AS MATERIALIZED ( \
            SELECT lane, name FROM cell WHERE sweep_at_ms <= (SELECT ms FROM now) \
            ORDER BY sweep_at_ms LIMIT $1) \
        DELETE FROM cell USING due, now WHERE cell.lane = due.lane AND cell.name = due.name \
            AND cell.sweep_at_ms <= now.ms RETURNING cell.name";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut transaction = connection.begin().await?;
    let deleted = sqlx::query(DELETE).bind(limit).fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    deleted.iter().map(|row| Ok(stored_cell(row.try_get::<Vec<u8>, _>(0)?)?)).collect()
}

/// Forgets frontends that have given no sign of life for a day. A batch row is never deleted while its
/// frontend may still ask for it: one that comes back after a day makes it anew.
pub(crate) async fn forget_frontends(connection: &mut PgConnection) -> sqlx::Result<()> {
    const FRONTENDS: &str = "DELETE FROM frontend WHERE seen_at < now() - interval '1 day'";
    const BATCHES: &str = "DELETE FROM batch WHERE NOT EXISTS \
        (SELECT FROM frontend WHERE frontend.id = batch.frontend)";
    sqlx::query(FRONTENDS).execute(&mut *connection).await?;
    sqlx::query(BATCHES).execute(connection).await?;
    Ok(())
}
