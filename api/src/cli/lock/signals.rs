//! The signals that are the command's, not ours.

use futures_util::FutureExt as _;
use rustix::process::Signal as Number;
use std::fs;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends programs, or tells them something.
fn kinds() -> [SignalKind; 7] {
    [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::window_change(),
    ]
}

/// Signals as they come. Those that were ignored when this program was started, as by nohup, stay so, for the command too.
pub(super) struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// # Panics
    /// Outside a Tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        let ignored = ignored();
        let is_ignored = |kind: &SignalKind| ignored >> (kind.as_raw_value() - 1) & 1 == 1;
        let kinds = kinds().into_iter().filter(|kind| !is_ignored(kind));
        kinds.map(|kind| Ok((kind.as_raw_value(), signal(kind)?))).collect::<io::Result<_>>().map(Self)
    }

    /// The number of the next one. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> i32 {
        let signals = self.0.iter_mut().map(|(number, signal)| {
            Box::pin(async {
                signal.recv().await;
                *number
            })
        });
        match signals.len() {
            0 => std::future::pending().await,
            _ => futures_util::future::select_all(signals).await.0,
        }
    }

    /// Forgets those that have come already.
    pub(super) fn forget_pending(&mut self) {
        while self.next().now_or_never().is_some() {}
    }

    /// The next one that ends a program.
    pub(super) async fn next_that_ends(&mut self) -> i32 {
        loop {
            let number = self.next().await;
            if Number::from_named_raw(number).is_some_and(ends_programs) {
                return number;
            }
        }
    }
}

/// What ends programs that do not say otherwise.
pub(super) fn ends_programs(signal: Number) -> bool {
    [Number::TERM, Number::INT, Number::HUP, Number::QUIT].contains(&signal)
}

/// A bit for each signal that is ignored, the lowest for number 1.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
