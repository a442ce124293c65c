//! Scans and lists of accounts: in order, whole, page by page.

use super::client::{Ask, Client, account, ask, cell, in_time, number};
use crate::Backend;
use dragon_core::cell::{Cell, Kind};
use dragon_core::layout;
use dragon_core::limits::Limits;
use dragon_core::page::{Page, Query};
use std::sync::Arc;

pub(super) fn query(name: &str, kind: Kind, prefix: &str, after: &str, entries_max: u64) -> Query {
    let (prefix, after) = (prefix.to_owned(), after.to_owned());
    Query::new(account(name), kind, prefix, after, Some(entries_max), &Limits::default())
        .expect("the suite's queries are valid")
}

pub(super) async fn page(client: &Client, query: Query) -> Page {
    in_time(client.store.scan(&query)).await.expect("the page is read")
}

/// The revisions of what is shown.
pub(super) fn stamps(page: &Page) -> Vec<u64> {
    let stamp = |shown: &dragon_core::page::Shown| layout::stamp(&shown.cell, Some(&shown.row));
    page.shown.iter().map(stamp).collect::<Result<_, _>>().expect("the rows can be read")
}

fn ids(page: &Page) -> Vec<&str> {
    page.shown.iter().map(|shown| shown.cell.id()).collect()
}

fn set_each<'a>(name: &str, keys: impl IntoIterator<Item = &'a str>) -> Ask {
    keys.into_iter().fold(ask(name), |ask, key| ask.set(key, "1"))
}

/// By the bytes of the key; prefix, after and limit bound the page; `more` says what is left.
pub async fn scan_bounds(store: Arc<dyn Backend>) {
    let name = "scan-bounds";
    let client = Client::new(store);
    let sorted = ["A", "a", "a/", "a/b", "a/c", "a0", "b", "z", "é", "\u{ffff}", "\u{1f409}"];
    client.apply(set_each(name, sorted.into_iter().rev())).await;
    let scan = async |prefix: &str, after: &str, entries_max: u64| {
        let page = page(&client, query(name, Kind::Value, prefix, after, entries_max)).await;
        let shown: Vec<String> = ids(&page).into_iter().map(str::to_owned).collect();
        (shown, page.more)
    };
    let all = |keys: &[&str]| (keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), false);
    assert_eq!(scan("", "", 11).await, all(&sorted));
    assert_eq!(scan("", "", 10).await, (all(&sorted[..10]).0, true));
    assert_eq!(scan("a/", "", 9).await, all(&["a/", "a/b", "a/c"]));
    assert_eq!(scan("a/", "", 2).await, (all(&["a/", "a/b"]).0, true));
    assert_eq!(scan("a/", "a/b", 2).await, all(&["a/c"]));
    assert_eq!(scan("a/", "a/", 9).await, all(&["a/b", "a/c"]));
    assert_eq!(scan("a/", "a", 9).await, all(&["a/", "a/b", "a/c"]), "after is before the prefix");
    assert_eq!(scan("a/", "b", 9).await, all(&[]), "after is beyond the prefix");
    assert_eq!(scan("a/", "a/c", 9).await, all(&[]));
    assert_eq!(scan("", "a/bb", 2).await, (all(&["a/c", "a0"]).0, true), "after need not exist");
    assert_eq!(scan("", "\u{1f409}", 9).await, all(&[]));
    assert_eq!(scan("nothing", "", 9).await, all(&[]));
    for bound in 1..sorted.len() {
        let (shown, more) = scan("", sorted[bound - 1], 1).await;
        assert_eq!((&shown[0][..], more), (sorted[bound], bound + 1 < sorted.len()));
    }
}

/// Kinds are apart from each other, and accounts whose names begin alike are, too.
pub async fn scan_isolation(store: Arc<dyn Backend>) {
    let client = Client::new(store);
    let names = ["scan-isolation", "scan-isolation-", "scan-isolation.b", "scan-isolation0"];
    for name in names {
        client.apply(ask(name).set(&format!("of {name}"), "1").add("c", 1).lock("l", 60).once(&["i"])).await;
    }
    for name in names {
        let of_name = format!("of {name}");
        let kinds = [(Kind::Value, of_name.as_str()), (Kind::Counter, "c"), (Kind::Lock, "l")];
        for (kind, id) in kinds {
            let page = page(&client, query(name, kind, "", "", 10)).await;
            assert_eq!((ids(&page), page.more), (vec![id], false), "{kind:?} of {name}");
            assert_eq!(page.shown[0].cell, cell(name, kind, id));
            assert_eq!(Some(&page.shown[0].row), client.load(&[cell(name, kind, id)]).await.rows[0].as_ref());
        }
        client.apply(ask(name).delete(&of_name).delete_counter("c")).await;
        assert!(page(&client, query(name, Kind::Value, "", "", 10)).await.shown.is_empty());
        assert!(page(&client, query(name, Kind::Counter, "", "", 10)).await.shown.is_empty());
    }
    assert!(page(&client, query("scan-isolatio", Kind::Value, "", "", 10)).await.shown.is_empty());
}

/// What has expired is not listed, and does not count for the limit or for `more`.
pub async fn scan_hides_expired(store: Arc<dyn Backend>) {
    let name = "scan-expired";
    let client = Client::new(store);
    let values = ask(name).set("a", "1").ttl(1).set("b", "1").set("c", "1").ttl(1).set("d", "1").ttl(600);
    client.apply(values.set("e", "1").ttl(1).lock("short", 1)).await;
    client.apply(ask(name).lock("long", 60)).await;
    client.outlive(1).await;
    let values = page(&client, query(name, Kind::Value, "", "", 2)).await;
    assert_eq!((ids(&values), values.more), (vec!["b", "d"], false));
    assert!(values.needs_mark, "an expiry was seen that is not marked yet");
    let locks = page(&client, query(name, Kind::Lock, "", "", 10)).await;
    assert_eq!(ids(&locks), ["long"]);
    let first = page(&client, query(name, Kind::Value, "", "", 1)).await;
    assert_eq!((ids(&first), first.more), (vec!["b"], true));
    // Once a request has shown it, the mark covers it.
    client.apply(ask(name).get("a").get("c").get("e")).await;
    assert!(!page(&client, query(name, Kind::Value, "", "", 2)).await.needs_mark);
}

/// Thousands of keys, in pages that join without a gap.
pub async fn scan_by_pages(store: Arc<dyn Backend>) {
    const KEYS: usize = 2_500;
    let name = "scan-pages";
    let client = Client::new(store);
    let keys: Vec<String> = (0..KEYS).map(|at| format!("key/{:05}", at * 7 % KEYS)).collect();
    for keys in keys.chunks(1_000) {
        client.apply(set_each(name, keys.iter().map(String::as_str))).await;
    }
    for entries_max in [1_000, 333] {
        let (mut listed, mut more) = (Vec::<String>::new(), true);
        while more {
            let after = listed.last().cloned().unwrap_or_default();
            let page = page(&client, query(name, Kind::Value, "key/", &after, entries_max)).await;
            assert!(page.shown.len() as u64 == entries_max || !page.more);
            more = page.more;
            listed.extend(ids(&page).into_iter().map(str::to_owned));
        }
        let expected: Vec<String> = (0..KEYS).map(|at| format!("key/{at:05}")).collect();
        assert!(listed == expected, "{} keys by {entries_max}", listed.len());
    }
}

/// A page is of one moment: a request that writes two keys is in it wholly or not at all.
pub async fn scan_is_one_moment(store: Arc<dyn Backend>) {
    const WRITES: usize = 200;
    let name = "scan-moment";
    let client = Client::new(store);
    let write = || ask(name).set("a", "1").set("m/1", "1").set("z", "1");
    client.apply(write()).await;
    let writer = {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..WRITES {
                client.apply(write()).await;
            }
        })
    };
    let mut last = 0;
    while !writer.is_finished() {
        let stamps = stamps(&page(&client, query(name, Kind::Value, "", "", 10)).await);
        assert_eq!(stamps, [stamps[0]; 3], "a torn page");
        assert!(stamps[0] >= last, "a page of an earlier moment");
        last = stamps[0];
    }
    in_time(writer).await.expect("the writer is well");
}

/// Accounts come in order, page by page; one exists from its first write on, whatever is deleted.
pub async fn accounts_by_pages(store: Arc<dyn Backend>) {
    let client = Client::new(store);
    // Others may make accounts at the same time, so this looks between two names of its own.
    let (before, mine) = ("accounts-page", ["accounts-page-", "accounts-page.b", "accounts-page0"]);
    let mut expected: Vec<String> = mine.iter().map(|name| (*name).to_owned()).collect();
    expected.extend((0..30).map(|at| format!("accounts-page1-{at:02}")));
    for name in expected.iter().rev() {
        client.apply(ask(name).set("k", "1").add("c", 1)).await;
    }
    client.apply(ask(mine[1]).delete("k").delete_counter("c")).await;
    client.apply(ask("accounts-page1-never").get("k")).await;
    for limit in [1, 7, 100] {
        let (mut listed, mut more, mut after) = (Vec::<String>::new(), true, account(before));
        while more && after.as_str().starts_with(before) {
            let page = in_time(client.store.accounts(Some(&after), limit)).await.expect("they are listed");
            assert!(page.accounts.len() <= limit && (page.accounts.len() == limit || !page.more));
            more = page.more;
            listed.extend(page.accounts.iter().map(|account| account.as_str().to_owned()));
            after = page.accounts.last().cloned().unwrap_or(after);
        }
        listed.retain(|name| name.starts_with(before));
        assert_eq!(listed, expected, "by {limit}");
    }
    let first = in_time(client.store.accounts(None, 1)).await.expect("they are listed");
    assert!(first.accounts[0].as_str() <= mine[0]);
    let version = number(&client.answer(ask(mine[1]).set("k", "1")).await, "Version");
    assert!(version > 2 && client.stamp(&Cell::meta(&account(mine[1]))).await == version);
}
