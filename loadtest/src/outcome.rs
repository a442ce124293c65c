//! What a step came to: what every scenario measures, and what only one does.

use crate::drive::Measured;
use serde::Serialize;

/// What a step came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What every scenario measures. Where something happens at once (a wake, a crowd), a unit is one of the
    /// clients, and the latency is how long it took until it was its turn.
    pub measured: Measured,
    /// What only this scenario tells.
    pub figures: Vec<Figure>,
    /// What changed over time.
    pub series: Vec<Series>,
}

/// One figure with a name that says what it is and its unit: `conflicts a success`, `last wake, ms`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
}

/// A figure over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// What it is, and its unit.
    pub name: String,
    /// Seconds since the begin, and the figure then.
    pub points: Vec<(f64, f64)>,
}

impl Outcome {
    /// Only what every scenario measures.
    #[must_use]
    pub fn of(measured: Measured) -> Self {
        Self { measured, ..Self::default() }
    }

    /// With one more figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.figures.push(Figure { name: name.to_owned(), value });
        self
    }

    /// With one more figure, where it is known.
    #[must_use]
    pub fn with_known(self, name: &str, value: Option<f64>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}
