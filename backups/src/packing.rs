//! Between the lines of an account and the object that holds it: checking, compressing, encrypting and hashing, and all
//! of it back. This is the work of a backup that takes time, so it is done on a thread of its own that gives way to
//! those that answer requests.

use crate::BackupError;
use crate::cipher::{Identities, Recipient};
use crate::manifest::AccountEntry;
use bytes::{Bytes, BytesMut};
use dragon_contract::{NamedRow, spawn_aside};
use dragon_core::cell::Account;
use dragon_transfer::format::{Decoder, Encoder, Head, hex};
use sha2::{Digest as _, Sha256};
use std::io::{self, BufReader, Read, Write};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// What the threads are called.
const THREAD: &str = "dragon-backup";
/// Bytes that are passed on at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that may wait to be taken.
const PIECES_WAITING: usize = 2;
/// Bytes of lines that are worked on in one go, about a quarter of a millisecond. Then it rests so many times as long, so that
/// requests find an idle processor: 1.8 times the p99 was measured beside bursts of 15 ms, hardly more than without beside
/// bursts of half a millisecond that take as much time in all.
const BURST_BYTES: usize = 16 << 10;
const RESTS: u32 = 7;
/// What is longer was not work: others had the processor.
const BURST_TIME_MAX: Duration = Duration::from_millis(2);
/// zstd's own default.
const COMPRESSION_LEVEL: i32 = 3;

/// What an object holds.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) head: Head,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// An account on its way into an object.
pub(crate) struct Packing {
    /// Takes the rows, and none of them at the end. Dropping it before gives the object up.
    pub(crate) rows: Sender<Vec<NamedRow>>,
    /// The object's pieces. One that must not come into being ends with an error.
    pub(crate) object: Receiver<io::Result<Bytes>>,
    /// What it is, once its last piece was taken.
    pub(crate) packed: oneshot::Receiver<Result<Packed, BackupError>>,
}

/// Runs something long on a thread that gives way to others, and tells what came of it.
fn on_thread_of_its_own<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (done, outcome) = oneshot::channel();
    // Nobody waits where the backup was given up.
    if let Err(error) = spawn_aside(THREAD, || drop(done.send(work()))) {
        // Whoever waits finds that nothing will come.
        tracing::error!(%error, "no thread could be started");
    }
    outcome
}

/// Begins to pack an account.
pub(crate) fn pack(head: Head, recipients: Vec<Recipient>, is_gentle: bool) -> Packing {
    let (rows, unpacked) = channel(1);
    let (to_object, object) = channel(PIECES_WAITING);
    let packed = on_thread_of_its_own(move || {
        let packed = pack_rows(unpacked, &to_object, head, &recipients, is_gentle);
        if let Err(error) = &packed {
            // Nobody takes it any more where the upload has failed.
            to_object.blocking_send(Err(io::Error::other(error.to_string()))).unwrap_or_default();
        }
        packed
    });
    Packing { rows, object, packed }
}

fn packing(error: impl ToString) -> BackupError {
    BackupError::Packing(error.to_string())
}

fn pack_rows(
    mut rows: Receiver<Vec<NamedRow>>,
    to_object: &Sender<io::Result<Bytes>>,
    head: Head,
    recipients: &[Recipient],
    is_gentle: bool,
) -> Result<Packed, BackupError> {
    let account = Account::new(&head.account).map_err(packing)?;
    let object = ObjectWriter { pieces: to_object, piece: BytesMut::new(), hash: Sha256::new(), bytes: 0 };
    let sealed = Sealed::to(object, recipients).map_err(packing)?;
    let mut compressed = zstd::Encoder::new(sealed, COMPRESSION_LEVEL).map_err(packing)?;
    // Read as who restores it will: a backup must not turn out to be unreadable then.
    let mut decoder = Decoder::new(account.clone());
    let mut write = |lines: Bytes| {
        for lines in lines.chunks(BURST_BYTES) {
            let begun = Instant::now();
            decoder.push(lines).map_err(|error| BackupError::Format(account.clone(), error))?;
            compressed.write_all(lines).map_err(packing)?;
            if is_gentle {
                std::thread::sleep(begun.elapsed().min(BURST_TIME_MAX) * RESTS);
            }
        }
        Ok::<_, BackupError>(())
    };
    let (mut encoder, first) = Encoder::begin(&head);
    write(first)?;
    loop {
        match rows.blocking_recv() {
            None => return Err(packing("not all of the account has come")),
            Some(rows) if rows.is_empty() => break,
            Some(rows) => {
                for row in rows.chunks(1) {
                    write(encoder.rows(row).map_err(packing)?)?;
                }
            }
        }
    }
    write(encoder.end())?;
    let (head, rows) = decoder.finish().map_err(|error| BackupError::Format(account, error))?;
    let mut object = compressed.finish().and_then(Sealed::finish).map_err(packing)?;
    object.pass_on().map_err(packing)?;
    Ok(Packed { head, rows, bytes: object.bytes, sha256: hex(&object.hash.finalize()) })
}

/// Encrypted, or not.
enum Sealed<W: Write> {
    Not(W),
    ByAge(Box<age::stream::StreamWriter<W>>),
}

impl<W: Write> Sealed<W> {
    fn to(writer: W, recipients: &[Recipient]) -> io::Result<Self> {
        if recipients.is_empty() {
            return Ok(Self::Not(writer));
        }
        let encryptor = age::Encryptor::with_recipients(recipients.iter().map(Recipient::key));
        Ok(Self::ByAge(Box::new(encryptor.map_err(io::Error::other)?.wrap_output(writer)?)))
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Not(writer) => Ok(writer),
            Self::ByAge(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Not(writer) => writer.write(bytes),
            Self::ByAge(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Not(writer) => writer.flush(),
            Self::ByAge(writer) => writer.flush(),
        }
    }
}

/// Counts and hashes (SHA-256, FIPS 180-4) an object, and passes it on in pieces.
struct ObjectWriter<'a> {
    pieces: &'a Sender<io::Result<Bytes>>,
    piece: BytesMut,
    hash: Sha256,
    bytes: u64,
}

impl ObjectWriter<'_> {
    fn pass_on(&mut self) -> io::Result<()> {
        let piece = self.piece.split().freeze();
        self.hash.update(&piece);
        self.bytes += piece.len() as u64;
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Ok(piece)).map_err(gone)
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.pass_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An account on its way out of an object.
pub(crate) struct Unpacking {
    /// Takes the object's pieces. Dropping it ends the object.
    pub(crate) object: Sender<Bytes>,
    /// The lines. Those of an object that is not what its manifest says end with an error.
    pub(crate) lines: Receiver<Result<Bytes, String>>,
    /// Comes when all of it was looked at. Lines that end without it have broken off.
    pub(crate) looked_at: oneshot::Receiver<()>,
}

/// Begins to unpack the object of an entry.
pub(crate) fn unpack(account: Account, entry: AccountEntry, identities: Identities) -> Unpacking {
    let (object, packed) = channel(PIECES_WAITING);
    let (to_lines, lines) = channel(PIECES_WAITING);
    let looked_at = on_thread_of_its_own(move || {
        if let Err(problem) = unpack_lines(packed, &to_lines, account, &entry, &identities) {
            // Whoever does not take it any more knows already.
            to_lines.blocking_send(Err(problem)).unwrap_or_default();
        }
    });
    Unpacking { object, lines, looked_at }
}

fn unpack_lines(
    object: Receiver<Bytes>,
    to_lines: &Sender<Result<Bytes, String>>,
    account: Account,
    entry: &AccountEntry,
    identities: &Identities,
) -> Result<(), String> {
    let object = ObjectReader { pieces: object, piece: Bytes::new(), hash: Sha256::new(), bytes: 0 };
    let mut object = BufReader::with_capacity(PIECE_BYTES, object);
    let (head, rows) = if entry.recipients.is_empty() {
        pass_lines_on(&mut object, to_lines, account)?
    } else {
        let decryptor = age::Decryptor::new_buffered(&mut object).map_err(|error| error.to_string())?;
        let decrypted = decryptor.decrypt(identities.keys()).map_err(|error| error.to_string())?;
        pass_lines_on(&mut BufReader::with_capacity(PIECE_BYTES, decrypted), to_lines, account)?
    };
    // What comes behind the compressed content is part of the object too.
    io::copy(&mut object, &mut io::sink()).map_err(|error| error.to_string())?;
    let ObjectReader { hash, bytes, .. } = object.into_inner();
    if (bytes, hex(&hash.finalize())) != (entry.bytes, entry.sha256.clone()) {
        return Err("its object is not the one that was uploaded".into());
    }
    if (head.account.as_str(), head.revision, rows) != (entry.account.as_str(), entry.revision, entry.rows) {
        return Err("it is not the account that the manifest tells of".into());
    }
    Ok(())
}

fn pass_lines_on(
    compressed: &mut impl io::BufRead,
    to_lines: &Sender<Result<Bytes, String>>,
    account: Account,
) -> Result<(Head, u64), String> {
    let mut lines = zstd::Decoder::with_buffer(compressed).map_err(|error| error.to_string())?;
    let mut decoder = Decoder::new(account);
    loop {
        let mut piece = BytesMut::zeroed(PIECE_BYTES);
        let read = lines.read(&mut piece).map_err(|error| error.to_string())?;
        if read == 0 {
            return decoder.finish().map_err(|error| error.to_string());
        }
        piece.truncate(read);
        decoder.push(&piece).map_err(|error| error.to_string())?;
        to_lines.blocking_send(Ok(piece.freeze())).map_err(|_| "nobody wants it any more".to_owned())?;
    }
}

/// Counts and hashes an object that comes in pieces.
struct ObjectReader {
    pieces: Receiver<Bytes>,
    piece: Bytes,
    hash: Sha256,
    bytes: u64,
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            self.hash.update(&piece);
            self.bytes += piece.len() as u64;
            self.piece = piece;
        }
        let read = self.piece.len().min(into.len());
        into[..read].copy_from_slice(&self.piece.split_to(read));
        Ok(read)
    }
}
