//! A look at SQLite's log before SQLite opens it. SQLite takes a frame with a wrong checksum for the
//! torn end of the log and silently drops it with all that follows: right after a power cut, wrong
//! where a synced transaction was damaged in the middle of the log. The difference can be seen: a
//! transaction is written only after the one before it was synced, so a broken frame that has a whole
//! later transaction behind it had been synced.
//!
//! Format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The last bit says whether checksums read big-endian words.
const MAGIC: u32 = 0x377f_0682;

/// What is wrong with a log, if anything.
pub(crate) fn find_damage(log: &Path) -> io::Result<Option<String>> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut log = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER_BYTES];
    if !read_whole(&mut log, &mut header)? || header == [0; HEADER_BYTES] {
        return Ok(None); // No transaction was ever written to it.
    }
    let magic = word(&header, 0);
    let mut sum = Checksum { words: [0, 0], is_big_endian: magic & 1 == 1 };
    sum.add(&header[..24]);
    if magic & !1 != MAGIC || sum.words != [word(&header, 24), word(&header, 28)] {
        return Ok(Some("the header of the log (store.db-wal) is broken".into()));
    }
    let page_bytes = word(&header, 8) as usize;
    if !(512..=65_536).contains(&page_bytes) {
        return Ok(Some("the log (store.db-wal) gives no possible page size".into()));
    }
    find_broken_frame(&mut log, &header, page_bytes, sum)
}

fn find_broken_frame(
    log: &mut impl Read,
    header: &[u8],
    page_bytes: usize,
    mut sum: Checksum,
) -> io::Result<Option<String>> {
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut first_broken = None;
    let mut commits_behind = false;
    let mut number = 0_u64;
    while read_whole(log, &mut frame)? {
        number += 1;
        // Frames of an earlier round of the log have other salts.
        let is_of_this_round = frame[8..16] == header[16..24];
        if first_broken.is_none() {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER_BYTES..]);
            let is_whole = is_of_this_round && sum.words == [word(&frame, 16), word(&frame, 20)];
            if is_whole {
                continue;
            }
            first_broken = Some(number);
        }
        if !is_of_this_round {
            continue;
        }
        if commits_behind {
            let at = first_broken.unwrap_or(number);
            return Ok(Some(format!(
                "frame {at} of the log (store.db-wal) is broken, and later transactions lie behind it"
            )));
        }
        // The size after a commit, zero in all other frames.
        commits_behind = word(&frame, 4) != 0;
    }
    Ok(None)
}

struct Checksum {
    words: [u32; 2],
    is_big_endian: bool,
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let read = if self.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let [mut first, mut second] = self.words;
        for pair in bytes.chunks_exact(8) {
            let (left, right) = pair.split_at(4);
            first = first.wrapping_add(read(four(left))).wrapping_add(second);
            second = second.wrapping_add(read(four(right))).wrapping_add(first);
        }
        self.words = [first, second];
    }
}

fn four(bytes: &[u8]) -> [u8; 4] {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[..4]);
    four
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(four(&bytes[at..at + 4]))
}

/// Fills the buffer; `false` when the file ends before.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
