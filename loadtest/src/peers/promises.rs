//! What each peer promises as it is set here, and what work stands for which scenario: texts for the
//! report.

use crate::peers::{Promise, postgres};
use crate::plan::{Parameters, Peer, Scenario};

/// The promise of a peer of this version.
#[must_use]
pub fn of(peer: Peer, version: &str) -> Promise {
    let (durability, transactions, differences) = match peer {
        Peer::Redis => REDIS,
        Peer::Etcd => ETCD,
        Peer::Postgres => POSTGRES,
    };
    Promise {
        name: version.to_owned(),
        durability: durability.to_owned(),
        transactions: transactions.to_owned(),
        differences: differences.to_owned(),
    }
}

const REDIS: (&str, &str, &str) = (
    "appendonly yes, appendfsync always: an answer comes after the log of commands is synced, and the \
     commands of all connections that came together share a sync. Nothing answered is lost by a crash or a \
     power cut; a log with a torn end is cut there at the next start. (The default, everysec, would lose a \
     second.)",
    "One thread does one command after another, so each is alone; a script is one such command, and nothing \
     comes between its parts. No rollback: a script that fails in the middle leaves what it has done.",
    "The `redis` crate, one connection a client. SET, GET, INCR; cas and mixed are scripts (EVALSHA), since \
     MULTI can't make a write depend on a lock. A lock is SET NX PX; whoever finds it held counts as a waiter \
     and waits on a list (BRPOP), and a script that releases it hands it over there to who has waited \
     longest. That is as fast as it gets, but home-made: there is no fencing number, and a waiter that dies \
     leaves the lock to its lease. Watchers subscribe to a channel to which the write publishes in the same \
     MULTI: at most once, and lost for who is not connected at that moment; there is no version to go on \
     from.",
);

const ETCD: (&str, &str, &str) = (
    "Defaults, one node: an answer comes after the Raft log is synced, and requests under way together share \
     a sync. Nothing answered is lost by a crash or a power cut. (It is made for three nodes; one node is the \
     fastest it can be.)",
    "A transaction compares and then writes, all or nothing, in one order with revisions for everyone \
     (linearizable; reads too). It can't add to a number.",
    "The `etcd-client` crate (gRPC), all clients share one connection (more were slower). Put, Range; cas is \
     a transaction on the key's revision. A counter is the same with a number, again and again until nobody \
     came between: under contention most of them fail. The mixed request is one transaction of 151 puts and a \
     deletion that compares the locks; its counters are numbers that the client knows, since nobody else \
     writes them. Locks are its own Lock and Unlock calls with a lease a client: in the order of arrival, and \
     the key's revision is a fencing number. Watchers are watches on up to 16 streams: every revision comes, \
     in order, and can be asked for again until it is compacted.",
);

const POSTGRES: (&str, &str, &str) = (
    "fsync and synchronous_commit on, shared_buffers 256 MB, the rest by default: an answer comes after the \
     write-ahead log is synced; transactions that commit together share a sync. Nothing answered is lost by a \
     crash or a power cut.",
    "Any statements as one transaction, all or nothing, read committed.",
    "The `tokio-postgres` crate, one connection (and so one server process) a client, prepared statements, \
     each unit one statement that commits by itself: INSERT ON CONFLICT, SELECT, UPDATE RETURNING, UPDATE \
     WHERE version; mixed is one statement over arrays, with rows as locks. Lock pairs are session advisory \
     locks: in memory only, no lease, no fencing, lost with the connection; nothing of them is synced, so \
     they are not the same work. Watchers LISTEN, and the write notifies in its transaction: at most once, \
     and lost for who is not connected. Not asked for more than 480 connections: each is a process.",
);

/// Why a peer is not asked to do a scenario; `None` where it is.
#[must_use]
pub fn refusal(peer: Peer, scenario: Scenario, parameters: &Parameters) -> Option<&'static str> {
    match scenario {
        Scenario::KvWrite
        | Scenario::KvRead
        | Scenario::Counter
        | Scenario::Cas
        | Scenario::Mixed
        | Scenario::LockPairs
        | Scenario::WatchOne
        | Scenario::WatchMany => {
            let too_many = peer == Peer::Postgres && parameters.connections > postgres::CONNECTIONS_MAX;
            too_many.then_some("each connection is a process of Postgres, and these are too many")
        }
        Scenario::Echo => Some("it is no HTTP server"),
        Scenario::Idempotent => Some("it has nothing that knows a request again"),
        Scenario::List => Some("its pages are not the same work"),
        Scenario::LockCrowd => Some("only lock-pairs is compared"),
        Scenario::IdleLongPolls => Some("it has no long polls"),
        Scenario::StoreSize | Scenario::HotGrowth => Some("this is about Cloud Dragon's own store"),
    }
}
