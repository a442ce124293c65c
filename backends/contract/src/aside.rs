//! Long work beside requests.

use std::io;

/// Runs work that takes time, and for which nobody waits as for an answer, on a thread of its own that gives way to all others
/// of the machine.
///
/// # Errors
/// When the system starts no more threads.
pub fn spawn_aside(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.into());
    let handle = thread.spawn(move || {
        give_way();
        work();
    })?;
    drop(handle);
    Ok(())
}

/// Has this thread run when no other wants to (Linux's SCHED_IDLE). To be nice is not enough: even then a thread that has begun
/// runs for some milliseconds before one that answers a request gets its turn.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::unix::{
            NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
            thread_native_id,
        };
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let lowest = thread_priority::ThreadPriority::Min;
        // Without it the work is done all the same.
        drop(set_thread_priority_and_policy(thread_native_id(), lowest, idle));
    }
}
