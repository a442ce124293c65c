//! What the holder of a lock and the supervisor of its command tell each other, by lines.

use super::moment::Moment;
use std::fmt;

/// What the supervisor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The command may live until then: when it is asked to end, and when it is killed. The first one starts it.
    Until { term_at: Moment, kill_at: Moment },
    /// Pass this signal on.
    Signal(i32),
}

/// What the supervisor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The command can't be started, for this reason of the system's (errno).
    NotStarted(i32),
    /// It was asked to end, since the time is nearly over.
    Terminated,
    /// It ended with this code, and nothing that it has started is left.
    Code(i32),
    /// It was ended by this signal, and nothing that it has started is left.
    Signal(i32),
    /// It ended, and so many processes are left that can't be killed.
    Left(i32),
}

impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until { term_at, kill_at } => write!(formatter, "until {} {}", term_at.0, kill_at.0),
            Self::Signal(number) => write!(formatter, "signal {number}"),
        }
    }
}

impl Order {
    pub(super) fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["until", term_at, kill_at] => {
                let moment = |word: &str| word.parse().ok().map(Moment);
                Some(Self::Until { term_at: moment(term_at)?, kill_at: moment(kill_at)? })
            }
            ["signal", number] => number.parse().ok().map(Self::Signal),
            _ => None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, number) = match *self {
            Self::NotStarted(number) => ("not-started", number),
            Self::Terminated => ("terminated", 0),
            Self::Code(number) => ("code", number),
            Self::Signal(number) => ("signal", number),
            Self::Left(number) => ("left", number),
        };
        write!(formatter, "{word} {number}")
    }
}

impl Report {
    pub(super) fn read(line: &str) -> Option<Self> {
        let (word, number) = line.split_once(' ')?;
        let number = number.parse().ok()?;
        Some(match word {
            "not-started" => Self::NotStarted(number),
            "terminated" => Self::Terminated,
            "code" => Self::Code(number),
            "signal" => Self::Signal(number),
            "left" => Self::Left(number),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_heard() {
        for order in [Order::Until { term_at: Moment(7), kill_at: Moment(u64::MAX) }, Order::Signal(15)] {
            assert_eq!(Order::read(&order.to_string()), Some(order));
        }
        let reports =
            [Report::NotStarted(2), Report::Terminated, Report::Code(7), Report::Signal(9), Report::Left(1)];
        for report in reports {
            assert_eq!(Report::read(&report.to_string()), Some(report));
        }
        for line in ["", "until 1", "until 1 2 3", "until x 1", "signal", "code", "code x"] {
            assert_eq!((Order::read(line), Report::read(line)), (None, None), "{line}");
        }
    }
}
