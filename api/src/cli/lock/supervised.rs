//! The command that runs under a lock, as whoever holds the lock sees it: by way of its supervisor.

use super::descendants::{adopt_orphans, kill_descendants};
use super::message::{Order, Report};
use super::moment::Moment;
use super::{LockArguments, supervisor};
use dragon_client::LockGuard;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use uuid::Uuid;

/// How long the supervisor may take to say that it is there.
const START_TIME_MAX: Duration = Duration::from_secs(10);

pub(super) struct Supervised {
    orders: OwnedWriteHalf,
    reports: Lines<BufReader<OwnedReadHalf>>,
    told: Option<Instant>,
}

impl Supervised {
    /// Starts the supervisor, which waits to be told until when the command may live.
    pub(super) async fn start(arguments: &LockArguments, guard: &LockGuard) -> io::Result<Self> {
        // Should the supervisor die, the command is still a descendant of this process.
        adopt_orphans()?;
        let name = format!("cloud-dragon-lock-{}", Uuid::new_v4());
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let group = if arguments.foreground { rustix::process::getpgrp().as_raw_nonzero().get() } else { 0 };
        // This very program, even if it has been replaced on the disk meanwhile. What it has of a terminal is the command's.
        let mut command = Command::new("/proc/self/exe");
        command.args([supervisor::NAME, &name, &group.to_string(), "--"]).args(&arguments.command);
        command
            .env("DRAGON_SERVER", &arguments.client.server)
            .env("DRAGON_ACCOUNT", &arguments.client.account);
        command.env("DRAGON_LOCK_SERVER", &arguments.client.server);
        command.env("DRAGON_LOCK_ACCOUNT", &arguments.client.account);
        command.env("DRAGON_LOCK_ID", guard.id()).env("DRAGON_LOCK_HANDLE", guard.handle().to_string());
        if guard.followed_an_expired_one() {
            command.env("DRAGON_LOCK_EXPIRED", "true");
        }
        // Out of reach of the terminal's signals.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn()?;
        let accepted = tokio::time::timeout(START_TIME_MAX, accept(&listener, process.id())).await;
        let stream = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let (reports, orders) = stream.into_split();
        Ok(Self { orders, reports: BufReader::new(reports).lines(), told: None })
    }

    /// Has the command live until this moment, and not until one that was told before; the first time it is started. It is asked
    /// to end a little before.
    pub(super) fn may_live_until(&mut self, kill_at: Instant, term_before: Duration) {
        if self.told.replace(kill_at) != Some(kill_at) {
            let kill_at = Moment::of(kill_at);
            let term_before = u64::try_from(term_before.as_nanos()).unwrap_or(u64::MAX);
            self.order(Order::Until { term_at: Moment(kill_at.0.saturating_sub(term_before)), kill_at });
        }
    }

    pub(super) fn pass_on(&self, number: i32) {
        self.order(Order::Signal(number));
    }

    /// A supervisor that takes nothing any more is gone or stands still: then what it was told last holds, and all is killed from here.
    fn order(&self, order: Order) {
        let _not_taken = self.orders.try_write(format!("{order}\n").as_bytes());
    }

    /// What the supervisor tells next; nothing when it is gone. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Report> {
        Report::read(&self.reports.next_line().await.ok()??)
    }

    /// Kills the command, all that it has started, and the supervisor. Gives how many could not be killed.
    pub(super) fn kill(&self) -> io::Result<usize> {
        kill_descendants()
    }
}

/// Takes the connection of this process, and no other's.
async fn accept(listener: &UnixListener, process: u32) -> io::Result<tokio::net::UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.peer_cred()?.pid() == i32::try_from(process).ok() {
            return Ok(stream);
        }
    }
}
