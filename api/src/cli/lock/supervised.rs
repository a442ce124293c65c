//! The command that runs under a lock, as whoever holds the lock sees it: by way of its supervisor.

use super::family::{Family, own_group};
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
    family: Family,
    orders: OwnedWriteHalf,
    reports: Lines<BufReader<OwnedReadHalf>>,
    told: Option<Instant>,
    clocks: Clocks,
}

impl Supervised {
    /// Starts the supervisor, which waits to be told until when the command may live.
    pub(super) async fn start(arguments: &LockArguments, guard: &LockGuard) -> io::Result<Self> {
        // Should the supervisor die, the command is still a descendant of this process.
        let family = Family::adopt(true)?;
        let name = format!("cloud-dragon-lock-{}", Uuid::new_v4());
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let group = if arguments.foreground { own_group()? } else { 0 };
        // This very program, even if it has been replaced on the disk meanwhile. What it has of a terminal is the command's.
        let mut command = Command::new("/proc/self/exe");
        command.args([supervisor::NAME, &name, &group.to_string(), "--"]).args(&arguments.command);
        command
            .env("DRAGON_SERVER", &arguments.client.server)
            .env("DRAGON_ACCOUNT", &arguments.client.account);
        command.env("DRAGON_LOCK_SERVER", &arguments.client.server);
        command.env("DRAGON_LOCK_ACCOUNT", &arguments.client.account);
        command.env("DRAGON_LOCK_ID", guard.id()).env("DRAGON_LOCK_HANDLE", guard.handle().to_string());
        match guard.followed_an_expired_one() {
            true => command.env("DRAGON_LOCK_EXPIRED", "true"),
            // Nor one of a lock around this one.
            false => command.env_remove("DRAGON_LOCK_EXPIRED"),
        };
        // Out of reach of the terminal's signals.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn()?;
        let accepted = tokio::time::timeout(START_TIME_MAX, accept(&listener, process.id())).await;
        let stream = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let (reports, orders) = stream.into_split();
        let reports = BufReader::new(reports).lines();
        Ok(Self { family, orders, reports, told: None, clocks: Clocks::new() })
    }

    /// Has the command live until this moment, and not until one that was told before; the first time it is started. It is asked
    /// to end a little before.
    pub(super) fn may_live_until(&mut self, kill_at: Instant, term_before: Duration) {
        self.family.bury();
        let is_news = self.told.replace(kill_at) != Some(kill_at);
        if self.clocks.look(is_news) || is_news {
            let kill_at = Moment::of(kill_at).before(self.clocks.suspended);
            self.order(Order::Until { term_at: kill_at.before(term_before), kill_at });
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
        self.family.kill(None)
    }
}

/// How long the machine was suspended, which the clock of the standard library, and so of leases, does not count.
struct Clocks {
    at: (Instant, Moment),
    /// How long it was suspended since the request was sent by which the lease was extended last, as far as that is known.
    suspended: Duration,
    /// Extensions that are told after a suspension: the first may have been sent before it.
    news: u32,
}

/// Below that it is no suspension, but the time between two looks at clocks.
const SUSPENSION_MIN: Duration = Duration::from_millis(20);

impl Clocks {
    fn new() -> Self {
        Self { at: (Instant::now(), Moment::now()), suspended: Duration::ZERO, news: 0 }
    }

    /// Looks at the clocks, after an extension or not. Whether the machine was suspended since the last look.
    fn look(&mut self, is_extended: bool) -> bool {
        let (instant, moment) = (Instant::now(), Moment::now());
        let awake = instant.saturating_duration_since(self.at.0);
        let passed = moment.since(self.at.1).saturating_sub(awake);
        self.at = (instant, moment);
        self.news += u32::from(is_extended);
        let is_suspended = passed > SUSPENSION_MIN;
        if is_suspended {
            (self.suspended, self.news) = (self.suspended + passed, u32::from(is_extended));
        } else if self.news >= 2 {
            self.suspended = Duration::ZERO;
        }
        is_suspended
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
