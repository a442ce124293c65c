//! What is going on, on the error output: on a terminal one line that moves, else a line for each step.

use crate::live;
use crate::plan::{Step, grouped};
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(250);
const COLUMNS: usize = 110;

/// The progress of a run.
pub struct Progress {
    steps: usize,
    begun: Instant,
    is_terminal: bool,
    line: String,
}

impl Progress {
    /// Of a run with so many steps.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { steps, begun: Instant::now(), is_terminal, line: String::new() }
    }

    /// Tells that a step begins.
    pub fn begin(&mut self, number: usize, step: &Step) {
        let elapsed = self.begun.elapsed().as_secs();
        self.line = format!(
            "[{}/{} {}:{:02}] {} on {}: {}, {} connections",
            number + 1,
            self.steps,
            elapsed / 60,
            elapsed % 60,
            step.scenario.name(),
            step.target.name(),
            step.label(),
            grouped(step.parameters.connections as f64)
        );
        self.show("…");
    }

    /// Awaits a step, and shows meanwhile how fast it is.
    pub async fn beside<T>(&self, step: impl Future<Output = T>) -> T {
        tokio::pin!(step);
        let mut last = (Instant::now(), live::units());
        loop {
            match tokio::time::timeout(EVERY, &mut step).await {
                Ok(done) => return done,
                Err(_) if self.is_terminal => {
                    let now = (Instant::now(), live::units());
                    let rate = (now.1 - last.1) as f64 / (now.0 - last.0).as_secs_f64();
                    self.show(&if rate > 0.0 { format!("{}/s", grouped(rate)) } else { "…".to_owned() });
                    last = now;
                }
                Err(_) => {}
            }
        }
    }

    /// Tells what a step came to.
    pub fn end(&self, result: &str) {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{}: {result}", self.line);
    }

    fn show(&self, state: &str) {
        if self.is_terminal {
            let line: String = format!("{} {state}", self.line).chars().take(COLUMNS).collect();
            let mut stderr = std::io::stderr();
            // Nobody may be looking.
            let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
        }
    }
}
