"""Asks a server for all that a service needs of it, through the generated client. DRAGON_* name the server."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import uniform
from threading import Event
from typing import Any, TypeVar
from uuid import uuid4

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

    def __init__(self, answer: ErrorAnswer, headers: Mapping[str, str]) -> None:
        super().__init__(f"{answer.code}: {answer.message}")
        self.answer = answer
        self.headers = headers


def checked(answer: T | ErrorAnswer | None, headers: Mapping[str, str] = httpx.Headers()) -> T:
    """The answer, if it is one and no refusal."""
    if isinstance(answer, ErrorAnswer):
        raise DragonError(answer, headers)
    if answer is None:
        raise ValueError("no answer where there has to be one")
    return answer


def given(field: T | Unset) -> T:
    """A field that this answer has to have."""
    if isinstance(field, Unset):
        raise ValueError("a field is missing in the answer")
    return field


class GatewayError(Exception):
    """A failure that something between here and the server has answered."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"status {response.status_code}, not from Cloud Dragon: {response.text[:200]}")
        self.status = response.status_code
        self.headers = response.headers


def refuse_gateway(response: httpx.Response) -> None:
    """Is called with each response, before the generated client, which takes all of them for Cloud Dragon's."""
    if not response.is_error:
        return
    response.read()
    try:
        answer = json.loads(response.content, parse_int=str)  # Of any length.
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "Code" not in answer:
        raise GatewayError(response)


def connect(
    token: str = TOKEN, server: str = SERVER, timeout: httpx.Timeout = TIMEOUT, **httpx_args: Any
) -> AuthenticatedClient:
    httpx_args = {"event_hooks": {"response": [refuse_gateway]}, **httpx_args}
    return AuthenticatedClient(
        base_url=server, token=token, timeout=timeout, raise_on_unexpected_status=True, httpx_args=httpx_args
    )


def ask(client: AuthenticatedClient, body: TransactRequest) -> TransactAnswer:
    response = transact.sync_detailed(ACCOUNT, client=client, body=body)
    return checked(response.parsed, response.headers)


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


def ask_until_known(client: AuthenticatedClient, body: TransactRequest, patience: float = 30) -> TransactAnswer:
    """Sends a request that has an idempotency id until it is known to have happened, once."""
    pause, end = 0.1, None
    while True:
        try:
            return ask(client, body)
        except (httpx.TransportError, GatewayError, DragonError) as error:
            first = first_answer(error)
            if first is not None:
                return first
            now = time.monotonic()
            end = end or now + patience  # From the first failure on: a wait before it may have been long.
            delay = max(uniform(pause / 2, pause), asked_pause(error))
            if not is_passing(error) or now + delay > end:
                raise
        time.sleep(delay)
        pause = min(2 * pause, 5)


def first_answer(error: Exception) -> TransactAnswer | None:
    """What the same request was answered before, if that is what the server says."""
    if not isinstance(error, DragonError) or error.answer.code is not ErrorCode.DUPLICATE_REQUEST:
        return None
    if not error.answer.same_request or isinstance(error.answer.response, Unset):
        return None
    return TransactAnswer.from_dict(error.answer.response)


def is_passing(error: Exception) -> bool:
    """Whether the same request may do better later."""
    if isinstance(error, DragonError):
        return error.answer.code in {ErrorCode.TOO_MANY_REQUESTS, ErrorCode.UNAVAILABLE, ErrorCode.OUTCOME_UNKNOWN}
    if isinstance(error, GatewayError):
        return error.status in {500, 502, 503, 504}
    return isinstance(error, httpx.TransportError)


def asked_pause(error: Exception) -> float:
    """The seconds of Retry-After."""
    headers = error.headers if isinstance(error, (DragonError, GatewayError)) else {}
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0


def guarded(lock_id: str, handle: int, *writes: SetOperation) -> TransactRequest:
    """Writes that are refused when the lock is held no longer."""
    return TransactRequest(lock_id=lock_id, lock_dur=0, unlock_id=lock_id, unlock=handle, kv_set=list(writes))


class Lease:
    """A lock that was taken, and how long it is held for sure."""

    def __init__(self, lock_id: str, handle: int, seconds: int) -> None:
        self.lock_id = lock_id
        self.handle = handle
        self.seconds = seconds
        self.end = 0.0  # By time.monotonic, which nobody sets.

    def is_held(self) -> bool:
        return time.monotonic() < self.end

    def extend(self, client: AuthenticatedClient) -> None:
        extension = TransactRequest(
            lock_id=self.lock_id, lock_dur=self.seconds, unlock_id=self.lock_id, unlock=self.handle
        )
        sent = time.monotonic()
        ask(client, extension)
        self.end = sent + self.seconds * 5 / 6

    def keep(self, client: AuthenticatedClient, done: Event) -> None:
        """Extends the lease at each third, until it is done or lost."""
        pause = self.seconds / 3
        while not done.wait(pause) and self.is_held():
            try:
                self.extend(client)
                pause = self.seconds / 3
            except (httpx.TransportError, GatewayError, DragonError) as error:
                if isinstance(error, DragonError) and error.answer.code is ErrorCode.NOT_LOCKED:
                    self.end = 0.0
                pause = self.seconds / 30


@contextmanager
def holding(client: AuthenticatedClient, lock_id: str, seconds: int = 30, wait: int = 60) -> Iterator[Lease]:
    """Takes a lock, extends it until the block ends, and gives it back."""
    taking = TransactRequest(idempotency_i_ds=[str(uuid4())], lock_id=lock_id, lock_dur=seconds, lock_wait=wait)
    lease = Lease(lock_id, given(ask_until_known(client, taking).lock), seconds)
    done = Event()
    with connect(timeout=httpx.Timeout(seconds / 6)) as quick, ThreadPoolExecutor(1) as threads:
        try:
            lease.extend(quick)  # The lease began a while ago where an answer was lost.
            threads.submit(lease.keep, quick, done)
            yield lease
        finally:
            done.set()
            giving = TransactRequest(idempotency_i_ds=[str(uuid4())], unlock_id=lock_id, unlock=lease.handle)
            ask_until_known(client, giving)


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


def auth() -> None:
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
    with connect() as b:
        taken = ask(b, TransactRequest(lock_id="nightly", lock_dur=30))
        handle = given(taken.lock)
        answer = ask(b, guarded("nightly", handle, SetOperation(key="report", value="whole")))
        assert (answer.lock, answer.till) == (handle, taken.till)

        ask(b, TransactRequest(unlock_id="nightly", unlock=handle))
        writing = guarded("nightly", handle, SetOperation(key="report", value="late"))
        late = refused(b, writing, 409, ErrorCode.NOT_LOCKED)
        assert late.id == "nightly"
        report = read(b, "report")
        assert (report.value, report.version) == ("whole", answer.version)


def work_under_a_lock(client: AuthenticatedClient) -> None:
    with holding(client, "nightly") as lease:
        for number in range(3):
            if not lease.is_held():
                raise RuntimeError("the lock is lost")
            done = SetOperation(key=f"report/{number}", value="done")
            ask(client, guarded("nightly", lease.handle, done))


def holding_a_lock() -> None:
    with connect() as client:
        work_under_a_lock(client)
        assert [state.value for state in values(client, "report/")] == ["done"] * 3
        assert locks(client, "nightly") == []

        with holding(client, "nightly", seconds=6) as lease:
            before = lease.end
            wait_for(lambda: lease.end > before)
            assert lease.is_held()

        # Lost: someone else has given it back.
        try:
            with holding(client, "nightly", seconds=3) as lease:
                ask(client, TransactRequest(unlock_id="nightly", unlock=lease.handle))
                wait_for(lambda: lease.end == 0)
        except DragonError as error:
            assert error.answer.code is ErrorCode.NOT_LOCKED
        else:
            raise AssertionError("gave back what was lost")

        # The answer to the request for the lock is lost, and the same again tells the handle.
        answers = iter([None])
        with connect(transport=Losing(answers)) as losing, holding(losing, "nightly") as lease:
            assert [lock.lock for lock in locks(client, "nightly")] == [lease.handle]
        assert locks(client, "nightly") == []


class Losing(httpx.HTTPTransport):
    """Sends what it is given, and loses as many answers as there are replacements: None is a connection that breaks."""

    def __init__(self, replacements: Iterator[httpx.Response | None]) -> None:
        super().__init__()
        self.replacements = replacements

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        replacement = next(self.replacements, response)
        if replacement is None:
            response.read()
            raise httpx.ReadError("lost")
        return replacement


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

    async with connect(event_hooks={}) as a, connect(event_hooks={}) as b, connect(event_hooks={}) as c:
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


def idempotent_retry() -> None:
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

        # The same id for something else is a mistake.
        other = TransactRequest(idempotency_i_ds=["alone"], atomic=[AtomicOperation(key="bob", add=1)])
        try:
            ask_until_known(client, other)
        except DragonError as error:
            assert (error.answer.code, error.answer.same_request) == (ErrorCode.DUPLICATE_REQUEST, False)
        else:
            raise AssertionError("took the answer of another request")


def retry_after_answers_of_others() -> None:
    busy = {"Code": "too_many_requests", "Message": "Wait a second."}
    answers = [
        None,
        httpx.Response(502, text="<html>Bad Gateway</html>"),
        httpx.Response(503, json={"message": "no upstream"}),
        httpx.Response(429, json=busy, headers={"Retry-After": "1"}),
    ]
    begun = time.monotonic()
    with connect(transport=Losing(iter(answers))) as client:
        payment = TransactRequest(idempotency_i_ds=["payment-4712"], atomic=[AtomicOperation(key="eve", add=30)])
        assert given(ask_until_known(client, payment).atomic) == [CounterState(key="eve", value=30)]
        assert time.monotonic() - begun >= 1
    # A page that is not there, and a pause that is too long.
    for answer in [httpx.Response(404, text="no such page"), httpx.Response(503, headers={"Retry-After": "60"})]:
        with connect(transport=Losing(iter([answer]))) as client:
            try:
                ask_until_known(client, payment)
            except GatewayError as error:
                assert error.status == answer.status_code
            else:
                raise AssertionError("took it for an answer")


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


def exact_numbers_and_values() -> None:
    integers()
    bytes_of_a_value()


STEPS = {
    "auth": auth,
    "lock with a wait": lock_with_a_wait,
    "guarded write": guarded_write,
    "holding a lock": holding_a_lock,
    "counter": counter,
    "compare-and-swap": compare_and_swap,
    "concurrent appends": concurrent_appends,
    "idempotent retry": idempotent_retry,
    "answers of others": retry_after_answers_of_others,
    "watch loop": watch_loop,
    "list pages": list_pages,
    "exact numbers and values": exact_numbers_and_values,
}


def main() -> None:
    for name, step in STEPS.items():
        step()
        print(f"ok: {name}", flush=True)


if __name__ == "__main__":
    main()
