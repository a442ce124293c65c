//! Reading strace's record: one file a thread, each line `start call(arguments) = result <duration>`.

use std::fs;
use std::path::Path;

/// A call and when it ran, in nanoseconds since the epoch.
#[derive(Debug)]
pub struct Event {
    pub begun_ns: u128,
    pub ended_ns: u128,
    pub call: Call,
}

/// What the tests need to know of a call. Files are named without their folder.
#[derive(Debug)]
pub enum Call {
    /// A file was opened and cut to nothing.
    Truncate { file: String, len: usize },
    /// A write at a place, or where the last one ended.
    Write { file: String, at: Option<usize>, bytes: Vec<u8> },
    /// A sync.
    Sync { file: String },
    /// A new name.
    Rename { from: String, to: String },
    /// A name taken away.
    Remove { file: String },
    /// Bytes to a client.
    Send { bytes: Vec<u8> },
}

pub fn read_trace(folder: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_string_lossy().starts_with("trace.") {
            let text = fs::read_to_string(file.path()).unwrap();
            events.extend(text.lines().filter_map(event));
        }
    }
    events.sort_by_key(|event| event.begun_ns);
    events
}

fn event(line: &str) -> Option<Event> {
    let (begun, rest) = line.split_once(' ')?;
    let (rest, took) = rest.rsplit_once(" <")?;
    let begun_ns = nanoseconds(begun)?;
    let ended_ns = begun_ns + nanoseconds(took.trim_end_matches('>'))?;
    let (name, rest) = rest.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ")?;
    if result.starts_with('-') {
        return None;
    }
    Some(Event { begun_ns, ended_ns, call: call(name, arguments)? })
}

fn nanoseconds(seconds: &str) -> Option<u128> {
    let (whole, part) = seconds.split_once('.')?;
    let part_ns: u128 = format!("{part:0<9}").get(..9)?.parse().ok()?;
    Some(whole.parse::<u128>().ok()? * 1_000_000_000 + part_ns)
}

fn call(name: &str, arguments: &str) -> Option<Call> {
    let last_number = || arguments.rsplit(", ").next()?.parse::<usize>().ok();
    match name {
        "openat" if arguments.contains("O_TRUNC") => {
            Some(Call::Truncate { file: file_name(&strings(arguments)[0])?, len: 0 })
        }
        "ftruncate" => Some(Call::Truncate { file: target(arguments)?, len: last_number()? }),
        "fdatasync" | "fsync" => Some(Call::Sync { file: target(arguments)? }),
        "rename" => {
            let names = strings(arguments);
            Some(Call::Rename { from: file_name(&names[0])?, to: file_name(&names[1])? })
        }
        "unlink" => Some(Call::Remove { file: file_name(&strings(arguments)[0])? }),
        "pwrite64" => {
            let bytes = strings(arguments).pop()?;
            Some(Call::Write { file: target(arguments)?, at: last_number(), bytes })
        }
        "write" | "writev" | "sendto" if is_socket(arguments) => {
            Some(Call::Send { bytes: strings(arguments).concat() })
        }
        "write" => Some(Call::Write { file: target(arguments)?, at: None, bytes: strings(arguments).pop()? }),
        _ => None,
    }
}

fn is_socket(arguments: &str) -> bool {
    handle_name(arguments).is_some_and(|name| name.starts_with(b"socket:") || name.starts_with(b"TCP:"))
}

/// What the handle that is the first argument stands for, as in `5</folder/file>`.
fn handle_name(arguments: &str) -> Option<Vec<u8>> {
    let (_, rest) = arguments.split_once('<')?;
    Some(decoded(rest.split_once('>')?.0))
}

/// The file of the data folder behind the handle that is the first argument.
fn target(arguments: &str) -> Option<String> {
    file_name(&handle_name(arguments)?)
}

fn file_name(path: &[u8]) -> Option<String> {
    let path = String::from_utf8_lossy(path);
    path.rsplit_once("/data/").map(|(_, name)| name.to_owned())
}

/// The quoted arguments.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    arguments.split('"').skip(1).step_by(2).map(decoded).collect()
}

/// Text in which strace may have written bytes as `\x2f`.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let Some(hex) = rest.strip_prefix(b"\\x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok()) {
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &rest[4..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}
