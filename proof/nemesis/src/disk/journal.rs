//! Reading the journal that the library in the process keeps (`shim.c`).

use anyhow::{Context as _, bail};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// What was done to the files of a folder, in the order in which it happened. Names are those below the folder;
/// the folder itself is "".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file was opened that would have been made if there had been none.
    Open {
        /// Its name.
        name: String,
    },
    /// A file got this length, in bytes: cut there, or filled up with zeros.
    Truncate {
        /// Its name.
        name: String,
        /// The length in bytes.
        len: u64,
    },
    /// A write.
    Write {
        /// The file's name.
        name: String,
        /// The place in bytes.
        at: u64,
        /// What was written.
        bytes: Vec<u8>,
    },
    /// A sync of a file, or of the folder, begins: it covers what came before.
    SyncBegins {
        /// The file's name.
        name: String,
        /// By which the end of this sync tells that it is its.
        sync: u64,
    },
    /// A sync was successful. Those that fail have no end.
    SyncEnds {
        /// Of its beginning.
        sync: u64,
    },
    /// A file got another name; one that had it is gone.
    Rename {
        /// The name that it had.
        from: String,
        /// The name that it has.
        to: String,
    },
    /// A name was taken away.
    Remove {
        /// The name.
        name: String,
    },
}

const HEAD_BYTES: usize = 24;
/// No single write of a server is longer.
const PART_BYTES_MAX: u64 = 1 << 30;

/// Gives the events of a journal to `each`. A last record that is not whole is left out: the process was killed
/// over it.
///
/// # Errors
/// Where it can't be read, or is no journal.
pub fn read_journal(journal: &Path, mut each: impl FnMut(Event)) -> anyhow::Result<()> {
    let file = match File::open(journal) {
        // The process has not come so far.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.with_context(|| format!("opening {}", journal.display()))?,
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    while let Some(event) = read_event(&mut reader)? {
        each(event);
    }
    Ok(())
}

fn read_event(reader: &mut impl Read) -> anyhow::Result<Option<Event>> {
    let Some(head) = read_part(reader, HEAD_BYTES as u64)? else { return Ok(None) };
    let word = |at: usize| head[at..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let long = |at: usize| head[at..].first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
    let (Some(kind), Some(name_bytes), Some(number), Some(more_bytes)) =
        (word(0), word(4), long(8), long(16))
    else {
        bail!("a record's head is too short");
    };
    let Some(name) = read_part(reader, name_bytes.into())? else { return Ok(None) };
    let Some(bytes) = read_part(reader, more_bytes)? else { return Ok(None) };
    let name = String::from_utf8(name).context("a file's name in the journal")?;
    Ok(Some(match kind {
        1 => Event::Open { name },
        2 => Event::Truncate { name, len: number },
        3 => Event::Write { name, at: number, bytes },
        4 => Event::SyncBegins { name, sync: number },
        5 => Event::SyncEnds { sync: number },
        6 => Event::Rename { from: name, to: String::from_utf8(bytes).context("a new name in the journal")? },
        7 => Event::Remove { name },
        _ => bail!("the journal has a record of kind {kind}"),
    }))
}

/// So many bytes, or none where the journal ends before.
fn read_part(reader: &mut impl Read, bytes: u64) -> anyhow::Result<Option<Vec<u8>>> {
    anyhow::ensure!(bytes <= PART_BYTES_MAX, "the journal has a record of {bytes} bytes");
    let mut part = Vec::new();
    reader.take(bytes).read_to_end(&mut part).context("reading the journal")?;
    Ok((part.len() as u64 == bytes).then_some(part))
}
