//! Mistakes that can be built in, to see that they are found.

/// A mistake, made now and then by the simulated store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Bug {
    /// Looking at a row and registering for its change are two steps, and some wake-ups go missing.
    LostWakeup,
    /// Batches are answered when they are decided; a crash loses those that were not synced.
    AnswerBeforeSync,
    /// A batch that takes a lock is committed although its rows have changed since they were read.
    LockOnStaleRead,
    /// Of some requests the idempotency id is kept and the rest is lost.
    IdempotencyWithoutWrites,
    /// A batch whose commit's outcome is not known is committed again without looking whether it was.
    BlindRetry,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LostWakeup,
        Self::AnswerBeforeSync,
        Self::LockOnStaleRead,
        Self::IdempotencyWithoutWrites,
        Self::BlindRetry,
    ];
}
