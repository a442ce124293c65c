//! Opening a data folder: nothing is served before everything in it has been looked at.

use crate::database::{
    self, APPLICATION_ID, FORMAT, FORMAT_WITHOUT_LOG, LogState, Moved, Reader, RowChange, Writer,
};
use crate::database_log;
use crate::directory::{Directory, OpenError, State};
use crate::log::{self, FileId, Log, ReplayError, Replayed};
use crate::mover::move_rows;
use dragon_core::layout;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// An open folder: the database holds everything, and the log is empty.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) directory: Directory,
    pub(crate) log: Log,
    pub(crate) moved: Moved,
    /// For moving the log.
    pub(crate) mover: Writer,
    /// For the rows that requests name.
    pub(crate) deciding: Reader,
    /// For reads beside the lane.
    pub(crate) reading: Reader,
    /// For lists and sweeps, which take longer.
    pub(crate) scanning: Reader,
}

/// Opens the folder, making a new database if it has never been served.
pub(crate) fn open(folder: &Path) -> Result<Opened, OpenError> {
    let directory = Directory::lock(folder)?;
    let database = directory.database();
    let refused = |error: rusqlite::Error| directory.damaged(error);
    if directory.state() == State::New {
        create(&directory)?;
    } else {
        find_loss(&directory)?;
    }
    let mut writer = database::open_writer(&database).map_err(refused)?;
    let format = check_format(&directory, &writer)?;
    let mut reading = database::open_reader(&database).map_err(refused)?;
    check_content(&directory, &writer, &mut reading)?;
    if format == FORMAT_WITHOUT_LOG {
        writer.upgrade().map_err(|error| directory.failed(std::io::Error::other(error)))?;
    }
    let state = writer.log_state().map_err(refused)?;
    let replayed = read_log(&directory, state)?;
    let (log, moved) = move_log(&directory, &mut writer, state.salt, replayed)?;
    writer.count_opening().map_err(|error| directory.failed(std::io::Error::other(error)))?;
    let opened = Opened {
        log,
        moved,
        deciding: database::open_reader(&database).map_err(refused)?,
        scanning: database::open_reader(&database).map_err(refused)?,
        mover: writer,
        reading,
        directory,
    };
    Ok(opened)
}

/// Reads what a crash left in the log.
fn read_log(directory: &Directory, state: LogState) -> Result<Replayed, OpenError> {
    let numbers = log::numbers(directory.folder()).map_err(|error| directory.failed(error))?;
    // The file that goes on after the moved ones is begun before the last of them is moved.
    let is_needed = state.is_begun && matches!(directory.state(), State::Open | State::Unmoved);
    if is_needed && !numbers.iter().any(|number| *number > state.moved.file) {
        return Err(directory.damaged("it was not closed in order, and its log (log-…) is missing"));
    }
    let replayed = log::replay(directory.folder(), state).map_err(|error| match error {
        ReplayError::Io(error) => directory.failed(error),
        ReplayError::Damaged(what) => directory.damaged(what),
    })?;
    if !replayed.rows.is_empty() {
        tracing::info!(rows = replayed.rows.len(), "taking over what the log holds since a crash");
    }
    Ok(replayed)
}

/// Begins the next file of the log, and moves the rows of those before it to the database.
fn move_log(
    directory: &Directory,
    writer: &mut Writer,
    salt: u64,
    replayed: Replayed,
) -> Result<(Log, Moved), OpenError> {
    let Replayed { rows, latest_ms, number, next_sequence } = replayed;
    let failed = |error| directory.failed(error);
    let log =
        Log::begin(directory.folder(), FileId { number: number + 1, salt }, next_sequence).map_err(failed)?;
    let moved = Moved { file: number, next_sequence, latest_ms };
    let mut rows: Vec<RowChange<'_>> = rows.iter().map(|(cell, row)| (cell, row.as_ref())).collect();
    rows.sort_unstable_by_key(|(cell, _)| *cell);
    let result = move_rows(writer, &rows, moved);
    result.map_err(|error| directory.failed(std::io::Error::other(error)))?;
    directory.remove_logs(number).map_err(failed)?;
    Ok((log, moved))
}

/// Makes a database beside, and takes it into use once it is durable: a crash in between leaves
/// nothing that could be taken for a store.
fn create(directory: &Directory) -> Result<(), OpenError> {
    let new = directory.new_database();
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(directory.failed(error)),
        _ => {}
    }
    if directory.database().exists() {
        // A crash hit the first start between the rename and the note in LOCK: nothing was served yet,
        // unless someone emptied LOCK; so it is looked at like any other.
        return Ok(());
    }
    database::create(&new).map_err(|error| directory.failed(std::io::Error::other(error)))?;
    directory.adopt_new_database().map_err(|error| directory.failed(error))
}

/// Finds what SQLite would silently take for an empty or shorter database.
fn find_loss(directory: &Directory) -> Result<(), OpenError> {
    match std::fs::metadata(directory.database()) {
        Ok(metadata) if metadata.len() > 0 => {}
        Ok(_) => return Err(directory.damaged("store.db is empty")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(directory.damaged("store.db is missing"));
        }
        Err(error) => return Err(directory.failed(error)),
    }
    if directory.state() == State::Open && !directory.database_log().exists() {
        return Err(directory.damaged("it was not closed in order, and store.db-wal is missing"));
    }
    let damage =
        database_log::find_damage(&directory.database_log()).map_err(|error| directory.failed(error))?;
    damage.map_or(Ok(()), |what| Err(directory.damaged(what)))
}

fn check_format(directory: &Directory, writer: &Writer) -> Result<i64, OpenError> {
    let number = |pragma: &str| {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        writer.connection().pragma_query_value(None, pragma, read).map_err(|error| directory.damaged(error))
    };
    if number("application_id")? != APPLICATION_ID {
        return Err(directory.damaged("store.db is not a database of this program"));
    }
    match number("user_version")? {
        found @ (FORMAT | FORMAT_WITHOUT_LOG) => Ok(found),
        found if found > FORMAT => {
            Err(OpenError::Newer { folder: directory.folder().to_owned(), found, known: FORMAT })
        }
        found => Err(directory.damaged(format!("store.db has the unknown format {found}"))),
    }
}

/// Checks the structure of the file, and every row's checksum and form.
fn check_content(directory: &Directory, writer: &Writer, reader: &mut Reader) -> Result<(), OpenError> {
    let begun = Instant::now();
    let read = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let verdict = writer.connection().query_row("PRAGMA integrity_check(1)", [], read);
    let verdict = verdict.map_err(|error| directory.damaged(error))?;
    if verdict != "ok" {
        return Err(directory.damaged(verdict));
    }
    let mut rows = 0_u64;
    let checked = reader.scan(&[], |cell, row| {
        rows += 1;
        layout::header(&cell, &row)?;
        Ok(ControlFlow::Continue(()))
    });
    checked.map_err(|error| directory.damaged(error))?;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(rows, took_ms, folder = %directory.folder().display(), "checked the data folder");
    Ok(())
}
