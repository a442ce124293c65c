//! Deleting what nobody needs any more: cells that have expired, and the rows of frontends that are gone.

use crate::failure::Failure;
use crate::rows;
use dragon_contract::stored_cell;
use dragon_core::cell::Cell;
use sqlx::{Connection as _, PgConnection, Row as _};

/// Cells that are due, and the database's time at which they are.
pub(crate) async fn due(connection: &mut PgConnection, limit: usize) -> Result<(Vec<Cell>, i64), Failure> {
    const DUE: &str = "WITH now AS MATERIALIZED ( \
            SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms) \
        SELECT cell.name, now.ms FROM now, cell WHERE cell.sweep_at_ms <= (SELECT ms FROM now) \
        ORDER BY cell.sweep_at_ms LIMIT $1";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (mut cells, mut at_ms) = (Vec::new(), 0);
    for row in sqlx::query(DUE).bind(limit).fetch_all(connection).await? {
        cells.push(stored_cell(row.try_get::<Vec<u8>, _>(0)?)?);
        at_ms = row.try_get(1)?;
    }
    Ok((cells, at_ms))
}

/// Deletes those of the cells that are still due at that time; one that was written anew meanwhile stays. READ
/// COMMITTED, so that no batch conflicts with it but one that writes the same cell.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    cells: &[Cell],
    at_ms: i64,
) -> Result<Vec<Cell>, Failure> {
    const DELETE: &str = "DELETE FROM cell USING unnest($1::smallint[], $2::bytea[]) AS due (lane, name) \
        WHERE cell.lane = due.lane AND cell.name = due.name AND cell.sweep_at_ms <= $3 RETURNING cell.name";
    let (lanes, names): (Vec<i16>, Vec<&[u8]>) =
        cells.iter().map(|cell| (rows::lane(cell), cell.as_bytes().as_ref())).unzip();
    let mut transaction = connection.begin().await?;
    let delete = sqlx::query(DELETE).bind(lanes).bind(names).bind(at_ms);
    let deleted = delete.fetch_all(&mut *transaction).await?;
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
