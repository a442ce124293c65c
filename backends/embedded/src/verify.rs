//! Opening a data folder: nothing is served before everything in it has been looked at.

use crate::directory::{Directory, OpenError, State};
use crate::engine::{self, APPLICATION_ID, FORMAT, Reader, Writer};
use crate::wal;
use dragon_core::layout;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// The connections of an open database.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) directory: Directory,
    pub(crate) writer: Writer,
    pub(crate) checkpointer: Writer,
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
    let writer = engine::open_writer(&database).map_err(refused)?;
    check_format(&directory, &writer)?;
    let mut reading = engine::open_reader(&database).map_err(refused)?;
    check_content(&directory, &writer, &mut reading)?;
    let opened = Opened {
        checkpointer: engine::open_writer(&database).map_err(refused)?,
        deciding: engine::open_reader(&database).map_err(refused)?,
        scanning: engine::open_reader(&database).map_err(refused)?,
        writer,
        reading,
        directory,
    };
    Ok(opened)
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
    engine::create(&new).map_err(|error| directory.failed(std::io::Error::other(error)))?;
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
    if directory.state() == State::Open && !directory.log().exists() {
        return Err(directory.damaged("it was not closed in order, and its log (store.db-wal) is missing"));
    }
    let damage = wal::find_damage(&directory.log()).map_err(|error| directory.failed(error))?;
    damage.map_or(Ok(()), |what| Err(directory.damaged(what)))
}

fn check_format(directory: &Directory, writer: &Writer) -> Result<(), OpenError> {
    let number = |pragma: &str| {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        writer.connection().pragma_query_value(None, pragma, read).map_err(|error| directory.damaged(error))
    };
    if number("application_id")? != APPLICATION_ID {
        return Err(directory.damaged("store.db is not a database of this program"));
    }
    match number("user_version")? {
        FORMAT => Ok(()),
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
