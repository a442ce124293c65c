"""Asks a server for all that a service needs of it, through the generated client. DRAGON_* name the server."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx
from cloud_dragon_client import AuthenticatedClient, Client
from cloud_dragon_client.api.data import list_, transact, watch
from cloud_dragon_client.models import (
    AtomicOperation,
    CounterState,
    ErrorAnswer,
    ErrorCode,
    GetOperation,
    ListRequest,
    ListRequestKind,
    LockState,
    SetOperation,
    TransactAnswer,
    TransactRequest,
    ValueState,
    WatchRequest,
)
from cloud_dragon_client.types import UNSET, Unset

import exact

SERVER = os.environ["DRAGON_SERVER"]
BREAKING_SERVER = os.environ["DRAGON_BREAKING_SERVER"]
TOKEN = os.environ["DRAGON_TOKEN"]
READ_TOKEN = os.environ["DRAGON_READ_TOKEN"]
ACCOUNT = os.environ["DRAGON_ACCOUNT"]

# An answer to LockWait or Wait may take 300 seconds.
TIMEOUT = httpx.Timeout(10, read=310)

T = TypeVar("T")


# What a program has of its own around the generated client.


class DragonError(Exception):
    """A refusal by the server."""

    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__(f"{answer.code}: {answer.message}")
        self.answer = answer


def checked(answer: T | ErrorAnswer | None) -> T:
    """The answer, if it is one and no refusal."""
    if isinstance(answer, ErrorAnswer):
        raise DragonError(answer)
    if answer is None:
        raise ValueError("no answer where there has to be one")
    return answer


def given(field: T | Unset) -> T:
    """A field that this answer has to have."""
    if isinstance(field, Unset):
        raise ValueError("a field is missing in the answer")
    return field


def connect(token: str = TOKEN, server: str = SERVER, **httpx_args: Any) -> AuthenticatedClient:
    return AuthenticatedClient(
        base_url=server, token=token, timeout=TIMEOUT, raise_on_unexpected_status=True, httpx_args=httpx_args
    )


def ask(client: AuthenticatedClient, body: TransactRequest) -> TransactAnswer:
    return checked(transact.sync(ACCOUNT, client=client, body=body))


def read(client: AuthenticatedClient, key: str) -> ValueState:
    answer = ask(client, TransactRequest(kv_get=[GetOperation(key=key)]))
    return given(answer.kv)[0]


def write(client: AuthenticatedClient, key: str, value: Any) -> int:
    answer = ask(client, TransactRequest(kv_set=[SetOperation(key=key, value=value)]))
    return given(answer.version)


def count(client: AuthenticatedClient, operation: AtomicOperation) -> int:
    answer = ask(client, TransactRequest(atomic=[operation]))
    return given(answer.atomic)[0].value


def update(client: AuthenticatedClient, key: str, change: Callable[[Any], Any]) -> int:
    """Writes what change makes of the value, and begins again when someone else has written meanwhile."""
    while True:
        old = read(client, key)
        new = SetOperation(key=key, value=change(old.value), if_version=old.version)
        try:
            return given(ask(client, TransactRequest(kv_set=[new])).version)
        except DragonError as error:
            if error.answer.code is not ErrorCode.PRECONDITION_FAILED:
                raise


def ask_until_known(client: AuthenticatedClient, body: TransactRequest, attempts: int = 5) -> TransactAnswer:
    """Sends a request that has an idempotency id until it is known to have happened, once."""
    for attempt in range(attempts):
        time.sleep(0.2 * attempt)
        try:
            return ask(client, body)
        except httpx.TransportError as error:
            failure: Exception = error
        except DragonError as error:
            match error.answer.code:
                case ErrorCode.DUPLICATE_REQUEST if error.answer.same_request:
                    return TransactAnswer.from_dict(given(error.answer.response))
                case ErrorCode.UNAVAILABLE | ErrorCode.OUTCOME_UNKNOWN | ErrorCode.TOO_MANY_REQUESTS:
                    failure = error
                case _:
                    raise
    raise failure


def changes(client: AuthenticatedClient, key: str, version: int = 0) -> Iterator[ValueState]:
    """The states of a key after this version, without an end. A state of version 0 is a deletion."""
    while True:
        state = watch.sync(ACCOUNT, client=client, body=WatchRequest(id=key, version=version, wait=60))
        if state is None:
            continue  # 204: nothing has changed.
        state = checked(state)
        yield state
        version = state.version


def values(client: AuthenticatedClient, prefix: str, limit: int = 100) -> Iterator[ValueState]:
    """All values whose keys begin with the prefix, page by page."""
    after: str | Unset = UNSET
    while True:
        page = checked(list_.sync(ACCOUNT, client=client, body=ListRequest(prefix=prefix, after=after, limit=limit)))
        states = given(page.kv)
        yield from states
        if not page.more:
            return
        after = states[-1].key


def counters(client: AuthenticatedClient, prefix: str) -> list[CounterState]:
    request = ListRequest(kind=ListRequestKind.COUNTERS, prefix=prefix)
    return given(checked(list_.sync(ACCOUNT, client=client, body=request)).counters)


def locks(client: AuthenticatedClient, prefix: str = "") -> list[LockState]:
    request = ListRequest(kind=ListRequestKind.LOCKS, prefix=prefix)
    return given(checked(list_.sync(ACCOUNT, client=client, body=request)).locks)


# The steps.


def refused(client: AuthenticatedClient | Client, body: TransactRequest, status: int, code: ErrorCode) -> ErrorAnswer:
    """The refusal that the request has to get."""
    response = transact.sync_detailed(ACCOUNT, client=client, body=body)
    assert isinstance(response.parsed, ErrorAnswer), response
    assert (response.status_code, response.parsed.code) == (status, code), response
    assert response.parsed.message
    return response.parsed


def tokens() -> None:
    setting = TransactRequest(kv_set=[SetOperation(key="tokens", value=True)])
    with Client(base_url=SERVER) as nobody, connect(READ_TOKEN) as reader:
        refused(nobody, setting, 401, ErrorCode.UNAUTHORIZED)
        refused(reader, setting, 403, ErrorCode.FORBIDDEN)
        assert read(reader, "tokens").version == 0
        assert list(values(reader, "tokens")) == []


def lock_with_a_wait() -> None:
    with connect() as a, connect() as b, ThreadPoolExecutor() as threads:
        first = given(ask(a, TransactRequest(lock_id="nightly", lock_dur=30, lock_owner="first")).lock)

        held = refused(b, TransactRequest(lock_id="nightly", lock_dur=30), 409, ErrorCode.LOCK_TIMEOUT)
        assert held.owner == "first"
        assert given(held.till) > time.time()

        waiting = TransactRequest(lock_id="nightly", lock_dur=30, lock_wait=30, lock_owner="second")
        granted = threads.submit(ask, b, waiting)
        wait_for(lambda: [lock.waiting for lock in locks(a, "nightly")] == [1])
        assert not granted.done()
        assert ask(a, TransactRequest(unlock_id="nightly", unlock=first)) == TransactAnswer()

        second = given(granted.result(timeout=10).lock)
        assert second > first
        assert [lock.owner for lock in locks(a, "nightly")] == ["second"]
        ask(b, TransactRequest(unlock_id="nightly", unlock=second))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.01)


def guarded_write() -> None:
    def guarded(handle: int, value: str) -> TransactRequest:
        return TransactRequest(
            lock_id="nightly",
            lock_dur=0,
            unlock_id="nightly",
            unlock=handle,
            kv_set=[SetOperation(key="report", value=value)],
        )

    with connect() as b:
        taken = ask(b, TransactRequest(lock_id="nightly", lock_dur=30))
        handle = given(taken.lock)
        answer = ask(b, guarded(handle, "whole"))
        assert (answer.lock, answer.till) == (handle, taken.till)

        ask(b, TransactRequest(unlock_id="nightly", unlock=handle))
        late = refused(b, guarded(handle, "late"), 409, ErrorCode.NOT_LOCKED)
        assert late.id == "nightly"
        report = read(b, "report")
        assert (report.value, report.version) == ("whole", answer.version)


def counter() -> None:
    numbers = asyncio.run(add_from_several_clients())
    assert sorted(numbers) == list(range(1, 11)), numbers
    with connect() as client:
        last = count(client, AtomicOperation(key="orders", add=100))
        assert range(last - 99, last + 1) == range(11, 111)
        assert count(client, AtomicOperation(key="orders")) == 110


async def add_from_several_clients() -> list[int]:
    async def add(client: AuthenticatedClient) -> int:
        body = TransactRequest(atomic=[AtomicOperation(key="orders", add=1)])
        answer = checked(await transact.asyncio(ACCOUNT, client=client, body=body))
        return given(answer.atomic)[0].value

    async with connect() as a, connect() as b, connect() as c:
        return await asyncio.gather(*(add(client) for client in [a, b, c, a, b, c, a, b, c, a]))


def compare_and_swap() -> None:
    with connect() as us, connect() as others:
        old = write(us, "limits", {"users": 10})
        newer = write(others, "limits", {"users": 25})
        stale = TransactRequest(kv_set=[SetOperation(key="limits", value={"users": 11}, if_version=old)])
        conflict = refused(us, stale, 409, ErrorCode.PRECONDITION_FAILED)
        assert (conflict.key, conflict.version) == ("limits", newer)

        assert update(us, "limits", lambda limits: {"users": limits["users"] + 1}) > newer
        assert read(others, "limits").value == {"users": 26}


def concurrent_appends() -> None:
    def append(name: str) -> None:
        with connect() as client:
            update(client, "journal", lambda names: [*(names or []), name])

    names = [f"writer-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(append, names))
    with connect() as client:
        assert sorted(given(read(client, "journal").value)) == names


def retry_after_a_broken_connection() -> None:
    payment = TransactRequest(
        idempotency_i_ds=["payment-4711"],
        atomic=[AtomicOperation(key="bob", add=30)],
    )
    sent: list[httpx.Request] = []
    answered: list[httpx.Response] = []
    hooks = {"request": [sent.append], "response": [answered.append]}
    with connect(server=BREAKING_SERVER, event_hooks=hooks) as client:
        first = ask_until_known(client, payment)
        assert given(first.atomic) == [CounterState(key="bob", value=30)]
        # The first one got no answer, the second one a refusal.
        assert (len(sent), [answer.status_code for answer in answered]) == (2, [409])

        again = refused(client, payment, 409, ErrorCode.DUPLICATE_REQUEST)
        assert (again.id, again.same_request) == ("payment-4711", True)
        assert TransactAnswer.from_dict(given(again.response)) == first
        assert count(client, AtomicOperation(key="bob")) == 30

        # An answer that says nothing is one, too.
        alone = TransactRequest(idempotency_i_ds=["alone"])
        assert ask_until_known(client, alone) == ask_until_known(client, alone) == TransactAnswer()


def watch_loop() -> None:
    def write_all() -> None:
        with connect() as writer:
            for number in range(1, 51):
                write(writer, "progress", number)

    seen: list[ValueState] = []
    with connect() as watcher, ThreadPoolExecutor() as threads:
        writing = threads.submit(write_all)
        for state in changes(watcher, "progress"):
            seen.append(state)
            if state.value == 50:
                break
        writing.result()
        versions = [state.version for state in seen]
        assert versions == sorted(set(versions)), versions

        unchanged = WatchRequest(id="progress", version=versions[-1], wait=1)
        response = watch.sync_detailed(ACCOUNT, client=watcher, body=unchanged)
        assert (response.status_code, response.parsed) == (204, None)

        following = changes(watcher, "progress", versions[-1])
        ask(watcher, TransactRequest(kv_set=[SetOperation(key="progress", delete=True)]))
        assert next(following) == ValueState(key="progress", version=0)


def list_pages() -> None:
    keys = [f"page/{number:02}" for number in range(25)]
    with connect() as client:
        ask(client, TransactRequest(kv_set=[SetOperation(key=key, value=key) for key in reversed(keys)]))
        assert [state.key for state in values(client, "page/", limit=10)] == keys
        assert all(state.value == state.key for state in values(client, "page/", limit=10))

        count(client, AtomicOperation(key="page/hits", set_=7))
        assert counters(client, "page/") == [CounterState(key="page/hits", value=7)]
        handle = given(ask(client, TransactRequest(lock_id="page/lock", lock_dur=30)).lock)
        assert [(lock.id, lock.lock, lock.waiting) for lock in locks(client, "page/")] == [("page/lock", handle, 0)]
        ask(client, TransactRequest(unlock_id="page/lock", unlock=handle))


INTEGERS = [9007199254740993, 9223372036854775807, -9223372036854775808]


def integers() -> None:
    with connect() as client:
        for number in INTEGERS:
            key = f"exact/{number}"
            assert count(client, AtomicOperation(key=key, set_=number)) == number
            assert count(client, AtomicOperation(key=key)) == number
        assert sorted(state.value for state in counters(client, "exact/")) == sorted(INTEGERS)

        longer = [*INTEGERS, 123456789012345678901234567890]
        write(client, "integers", longer)
        assert read(client, "integers").value == longer


def bytes_of_a_value() -> None:
    text = r'{"b":1,"a":9007199254740993,"big":123456789012345678901234567890,"d":1.10,"e":"\u00e9"}'
    with connect() as client:
        setting = SetOperation(key="exact", value=exact.JsonText(text))
        version = checked(exact.transact(ACCOUNT, client=client, body=TransactRequest(kv_set=[setting]))).version
        getting = TransactRequest(kv_get=[GetOperation(key="exact")])
        answer = checked(exact.transact(ACCOUNT, client=client, body=getting))
        state = ValueState(key="exact", version=given(version), value=exact.JsonText(text))
        assert given(answer.kv) == [state]
        # On the wire too.
        assert f'"Value":{text}}}'.encode() in transact.sync_detailed(ACCOUNT, client=client, body=getting).content

        assert exact.watch(ACCOUNT, client=client, body=WatchRequest(id="exact", version=0)) == state
        assert exact.watch(ACCOUNT, client=client, body=WatchRequest(id="exact", version=version, wait=0)) is None
        page = checked(exact.list_(ACCOUNT, client=client, body=ListRequest(prefix="exact")))
        assert given(page.kv) == [state]

        # The usual calls keep what it means and the order of its names, not how it is spelled.
        write(client, "respelled", read(client, "exact").value)
        respelled = checked(exact.list_(ACCOUNT, client=client, body=ListRequest(prefix="respelled")))
        assert given(respelled.kv)[0].value == exact.JsonText(text.replace("1.10", "1.1").replace(r"\u00e9", "é"))

        # White space inside, brackets and commas in strings, more digits than Python takes, a lone surrogate.
        odd = r'[ {"Value" : "}],:\"" } , ' + "9" * 5000 + r' , "\ud800", -0.0e-00, [], {} ]'
        both = TransactRequest(
            idempotency_i_ds=["exact"],
            kv_set=[SetOperation(key="odd", value=exact.JsonText(odd)), SetOperation(key="even", value=[2, None])],
        )
        assert isinstance(exact.transact(ACCOUNT, client=client, body=both), TransactAnswer)
        getting = TransactRequest(
            idempotency_i_ds=["exact-read"], kv_get=[GetOperation(key="odd"), GetOperation(key="none")]
        )
        answer = checked(exact.transact(ACCOUNT, client=client, body=getting))
        assert [state.value for state in given(answer.kv)] == [exact.JsonText(odd), UNSET]
        again = exact.transact(ACCOUNT, client=client, body=getting)
        assert isinstance(again, ErrorAnswer), again
        assert TransactAnswer.from_dict(given(again.response)) == answer
        assert read(client, "even").value == [2, None]

        smuggled = SetOperation(key="odd", value=exact.JsonText('1},{"Key":"even","Value":2'))
        try:
            exact.transact(ACCOUNT, client=client, body=TransactRequest(kv_set=[smuggled]))
        except ValueError:
            pass
        else:
            raise AssertionError("took more than one value")


STEPS = {
    "tokens": tokens,
    "lock with a wait": lock_with_a_wait,
    "guarded write": guarded_write,
    "counter": counter,
    "compare-and-swap": compare_and_swap,
    "concurrent appends": concurrent_appends,
    "retry after a broken connection": retry_after_a_broken_connection,
    "watch loop": watch_loop,
    "list pages": list_pages,
    "64-bit integers": integers,
    "bytes of a value": bytes_of_a_value,
}


def main() -> None:
    for name, step in STEPS.items():
        step()
        print(f"ok: {name}", flush=True)


if __name__ == "__main__":
    main()
