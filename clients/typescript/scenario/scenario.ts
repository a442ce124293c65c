// What the generated client can do, against a running server: each step asserts what it says.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createDragon,
  parse,
  RawJson,
  rawAt,
  stringify,
  UnexpectedAnswer,
  type Dragon,
  type ErrorAnswer,
  type ErrorCode,
  type Int64,
  type ListAnswer,
  type ListRequest,
  type LockState,
  type SetOperation,
  type TransactAnswer,
  type TransactRequest,
  type ValueState,
  type WatchRequest,
} from "cloud-dragon-client";

type Result<Data> = { data?: Data; error?: ErrorAnswer; response: Response };

const account = setting("DRAGON_ACCOUNT");
const server = setting("DRAGON_SERVER");
const params = { path: { account } };

const anonymous = createDragon({ baseUrl: server });
const reader = withToken(server, setting("DRAGON_READ_TOKEN"));
const a = withToken(server, setting("DRAGON_TOKEN"));
const b = withToken(server, setting("DRAGON_TOKEN"));
const c = withToken(server, setting("DRAGON_TOKEN"));

function setting(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}

function withToken(
  baseUrl: string,
  token: string,
  fetch: (request: Request) => Promise<Response> = globalThis.fetch,
): Dragon {
  return createDragon({
    baseUrl,
    headers: { Authorization: `Bearer ${token}` },
    fetch,
  });
}

function transact(
  dragon: Dragon,
  body: TransactRequest,
  signal: AbortSignal | null = null,
) {
  return dragon.POST("/db/{account}", { params, body, signal });
}

function watch(dragon: Dragon, body: WatchRequest) {
  return dragon.POST("/watch/{account}", { params, body });
}

function list(dragon: Dragon, body: ListRequest) {
  return dragon.POST("/list/{account}", { params, body });
}

/** An answer that says no, as an exception. */
class Refused extends Error {
  constructor(
    readonly answer: ErrorAnswer,
    readonly response: Response,
  ) {
    super(`${answer.Code}: ${answer.Message}`);
  }
}

/** The answer, or the refusal as an exception. */
function applied<Data>({ data, error, response }: Result<Data>): Data {
  if (error) {
    throw new Refused(error, response);
  }
  return data as Data;
}

function refused(
  { error, response }: Result<unknown>,
  status: number,
  code: ErrorCode,
): ErrorAnswer {
  assert.equal(response.status, status);
  assert.equal(error?.Code, code);
  return error;
}

function given<T>(value: T | null | undefined): T {
  assert.ok(value !== undefined && value !== null);
  return value;
}

async function get(dragon: Dragon, key: string): Promise<ValueState> {
  const { KV } = applied(await transact(dragon, { KVGet: [{ Key: key }] }));
  return given(KV?.[0]);
}

async function add(dragon: Dragon, key: string, add: Int64): Promise<Int64> {
  const { Atomic } = applied(
    await transact(dragon, { Atomic: [{ Key: key, Add: add }] }),
  );
  return given(Atomic?.[0]).Value;
}

async function counter(dragon: Dragon, key: string): Promise<Int64> {
  const { Atomic } = applied(
    await transact(dragon, { Atomic: [{ Key: key }] }),
  );
  return given(Atomic?.[0]).Value;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await sleep(20);
  }
}

async function auth(): Promise<void> {
  const write = { KVSet: [{ Key: "token", Value: 1 }] };
  refused(await transact(anonymous, write), 401, "unauthorized");
  refused(await transact(reader, write), 403, "forbidden");
  assert.equal((await get(reader, "token")).Version, 0);
  assert.deepEqual(applied(await list(reader, {})), { KV: [] });
}

/** Returns the handle that the second client got. */
async function lockWithAWait(): Promise<Int64> {
  const lock = { LockID: "nightly", LockDur: 30 };
  const first = applied(await transact(a, { ...lock, LockOwner: "first" }));

  const held = refused(await transact(b, lock), 409, "lock_timeout");
  assert.equal(held.Owner, "first");
  assert.ok(Number(held.Till) * 1000 > Date.now());

  const waiting = transact(b, { ...lock, LockWait: 30, LockOwner: "second" });
  await until(async () => {
    const { Locks } = applied(await list(a, { Kind: "Locks" }));
    return Locks?.[0]?.Waiting === 1;
  });
  const handle = given(first.Lock);
  applied(await transact(a, { UnlockID: "nightly", Unlock: handle }));

  const second = given(applied(await waiting).Lock);
  assert.ok(second > handle);
  return second;
}

/** Writes that are refused when the lock is held no longer. */
function guarded(
  id: string,
  handle: Int64,
  KVSet: SetOperation[],
): TransactRequest {
  return { LockID: id, UnlockID: id, Unlock: handle, LockDur: 0, KVSet };
}

async function guardedWrite(handle: Int64): Promise<void> {
  const held = [{ Key: "guarded", Value: "held" }];
  const checked = await transact(b, guarded("nightly", handle, held));
  assert.equal(applied(checked).Lock, handle);
  applied(await transact(b, { UnlockID: "nightly", Unlock: handle }));

  const writing = guarded("nightly", handle, [{ Key: "guarded", Value: 0 }]);
  const late = refused(await transact(b, writing), 409, "not_locked");
  assert.equal(late.ID, "nightly");
  assert.equal((await get(a, "guarded")).Value, "held");
}

/** A lock that was taken, and how long it is held for sure. */
class Lease {
  readonly #lost = new AbortController();
  readonly #third: number;
  #timer: NodeJS.Timeout | undefined;
  /** Is aborted before the lock may be another's. */
  readonly lost = this.#lost.signal;

  constructor(
    readonly dragon: Dragon,
    readonly id: string,
    readonly handle: Int64,
    readonly seconds: number,
  ) {
    this.#third = Math.floor((seconds * 1000) / 3);
  }

  async extend(): Promise<void> {
    const { dragon, id, handle, seconds } = this;
    const sent = performance.now(); // a clock that nobody sets
    const limit = AbortSignal.timeout(this.#third);
    const extension = { LockID: id, UnlockID: id, Unlock: handle };
    applied(await transact(dragon, { ...extension, LockDur: seconds }, limit));

    const held = sent + 2.5 * this.#third - performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost.abort(), held);
  }

  /** Extends the lease at each third, until it is done or lost. */
  async keep(done: AbortSignal): Promise<void> {
    let pause = this.#third;
    while ((await passed(pause, done)) && !this.lost.aborted) {
      try {
        await this.extend();
        pause = this.#third;
      } catch (error) {
        if (isRefused(error, "not_locked")) {
          this.#lost.abort();
        }
        pause = this.#third / 10;
      }
    }
    clearTimeout(this.#timer);
  }
}

/** Whether the time has passed; or else it was stopped. */
async function passed(time: number, stop: AbortSignal): Promise<boolean> {
  await sleep(time, undefined, { signal: stop }).catch(() => undefined);
  return !stop.aborted;
}

/** Takes a lock, extends it until the work is done, and gives it back. */
async function holding<T>(
  dragon: Dragon,
  id: string,
  seconds: number,
  work: (lease: Lease) => Promise<T>,
): Promise<T> {
  const taken = await settle(dragon, {
    IdempotencyIDs: [crypto.randomUUID()],
    LockID: id,
    LockDur: seconds,
    LockWait: 60,
  });
  const lease = new Lease(dragon, id, given(taken.Lock), seconds);
  const done = new AbortController();
  let kept: Promise<void> | undefined;
  try {
    await lease.extend(); // it began a while ago where an answer was lost
    kept = lease.keep(done.signal);
    return await work(lease);
  } finally {
    done.abort();
    await kept;
    await settle(dragon, {
      IdempotencyIDs: [crypto.randomUUID()],
      UnlockID: id,
      Unlock: lease.handle,
    });
  }
}

async function workUnderALock(dragon: Dragon): Promise<void> {
  await holding(dragon, "nightly", 30, async ({ id, handle, lost }) => {
    for (const Key of ["report/1", "report/2", "report/3"]) {
      lost.throwIfAborted();
      const writes = [{ Key, Value: "done" }];
      applied(await transact(dragon, guarded(id, handle, writes), lost));
    }
  });
}

async function holdingALock(): Promise<void> {
  await workUnderALock(a);
  const { KV } = applied(await list(a, { Prefix: "report/" }));
  assert.deepEqual(
    KV?.map(({ Value }) => Value),
    ["done", "done", "done"],
  );
  assert.deepEqual(await locks(), []);

  let extensions = 0;
  const counting = withToken(server, setting("DRAGON_TOKEN"), (request) => {
    extensions += 1;
    return fetch(request);
  });
  await holding(counting, "nightly", 6, async ({ lost }) => {
    extensions = 0;
    await until(async () => extensions > 0);
    await sleep(100);
    assert.ok(!lost.aborted);
  });

  // Lost: someone else has given it back.
  const losing = holding(a, "nightly", 3, async ({ handle, lost }) => {
    applied(await transact(b, { UnlockID: "nightly", Unlock: handle }));
    await until(async () => lost.aborted);
  });
  await assert.rejects(losing, (error) => isRefused(error, "not_locked"));

  // Lost: no extension comes through.
  let up = true;
  const failing = withToken(server, setting("DRAGON_TOKEN"), (request) =>
    up ? fetch(request) : Promise.reject(new TypeError("no route")),
  );
  await holding(failing, "nightly", 1, async ({ lost }) => {
    up = false;
    await until(async () => lost.aborted);
    assert.equal((await locks()).length, 1);
    up = true;
  });

  // The answer to the request for the lock is lost; the same again tells the handle.
  const answers = [undefined];
  await holding(replacing(answers), "nightly", 30, async ({ handle }) => {
    assert.deepEqual(
      (await locks()).map(({ Lock }) => Lock),
      [handle],
    );
  });
  assert.deepEqual(await locks(), []);
}

async function locks(): Promise<LockState[]> {
  return given(applied(await list(a, { Kind: "Locks" })).Locks);
}

/** A client whose first answers are lost: these come in their place, and undefined is a connection that breaks. */
function replacing(answers: (Response | Error | undefined)[]): Dragon {
  return withToken(server, setting("DRAGON_TOKEN"), async (request) => {
    const response = await fetch(request);
    if (answers.length === 0) {
      return response;
    }
    const answer = answers.shift() ?? new TypeError("lost");
    if (answer instanceof Error) {
      throw answer;
    }
    return answer;
  });
}

async function sequence(): Promise<void> {
  const clients = Array.from({ length: 10 }, (_, i) => given([a, b, c][i % 3]));
  const numbers = await Promise.all(
    clients.map((one) => add(one, "orders", 1)),
  );
  assert.equal(new Set(numbers).size, 10);
  assert.equal(await counter(a, "orders"), 10);

  const last = await add(a, "orders", 100);
  assert.equal(last, 110); // so 11 to 110 are ours
}

/** Changes a value by reading it, and writing it if nobody else has in between; else once more. */
async function update(
  dragon: Dragon,
  key: string,
  change: (value: unknown) => unknown,
): Promise<void> {
  for (;;) {
    const { Version, Value } = await get(dragon, key);
    const { error, response } = await transact(dragon, {
      KVSet: [{ Key: key, Value: change(Value), IfVersion: Version }],
    });
    if (!error) {
      return;
    }
    if (error.Code !== "precondition_failed") {
      throw new Refused(error, response);
    }
  }
}

async function compareAndSwap(): Promise<void> {
  const write = { Key: "limits", Value: { users: 10 } };
  applied(await transact(a, { KVSet: [write] }));
  const { Version: old } = await get(a, "limits");
  const other = applied(await transact(b, { KVSet: [write] }));

  const conflict = refused(
    await transact(a, { KVSet: [{ ...write, IfVersion: old }] }),
    409,
    "precondition_failed",
  );
  assert.equal(conflict.Key, "limits");
  assert.equal(conflict.Version, other.Version);
  await update(a, "limits", (value) => ({ ...(value as object), users: 25 }));
  assert.deepEqual((await get(b, "limits")).Value, { users: 25 });

  const writers = Array.from({ length: 9 }, (_, i) => i);
  await Promise.all(
    writers.map((writer) =>
      update(given([a, b, c][writer % 3]), "members", (value) => [
        ...((value ?? []) as number[]),
        writer,
      ]),
    ),
  );
  const members = (await get(a, "members")).Value as number[];
  assert.deepEqual(
    members.sort((x, y) => x - y),
    writers,
  );
}

/** Sends a request that has idempotency ids until it has its answer, be it the one that an earlier attempt has lost. */
async function settle(
  dragon: Dragon,
  body: TransactRequest,
): Promise<TransactAnswer> {
  let pause = 100;
  let end: number | undefined;
  for (;;) {
    const limit = AbortSignal.timeout(((body.LockWait ?? 0) + 10) * 1000);
    try {
      return applied(await transact(dragon, body, limit));
    } catch (error) {
      if (isRefused(error, "duplicate_request")) {
        const { SameRequest, Response } = error.answer;
        if (SameRequest && Response) {
          return Response as TransactAnswer;
        }
      }
      const now = performance.now();
      end ??= now + 30_000; // from the first failure on: a wait before it may have been long
      const jittered = (pause * (1 + Math.random())) / 2;
      const delay = Math.max(jittered, askedPause(error));
      if (!isPassing(error) || now + delay > end) {
        throw error;
      }
      await sleep(delay);
      pause = Math.min(2 * pause, 5_000);
    }
  }
}

function isRefused(error: unknown, ...codes: ErrorCode[]): error is Refused {
  return error instanceof Refused && codes.includes(error.answer.Code);
}

/** Whether the same request may do better later. */
function isPassing(error: unknown): boolean {
  if (error instanceof UnexpectedAnswer) {
    return [500, 502, 503, 504].includes(error.response.status);
  }
  // A TypeError is fetch's word for a broken connection, a TimeoutError that of a signal.
  const broken =
    error instanceof TypeError ||
    (error instanceof DOMException && error.name === "TimeoutError");
  return (
    broken ||
    isRefused(error, "too_many_requests", "unavailable", "outcome_unknown")
  );
}

/** What Retry-After says, in milliseconds. */
function askedPause(error: unknown): number {
  const answered =
    error instanceof Refused || error instanceof UnexpectedAnswer;
  const seconds = answered ? error.response.headers.get("Retry-After") : null;
  return (Number(seconds) || 0) * 1000;
}

async function idempotentRetry(): Promise<void> {
  const breaking = withToken(
    setting("DRAGON_BREAKING_SERVER"),
    setting("DRAGON_TOKEN"),
  );
  const payment: TransactRequest = {
    IdempotencyIDs: ["payment-4711"],
    Atomic: [{ Key: "bob", Add: 30 }],
  };
  await assert.rejects(transact(breaking, payment), TypeError);

  const again = refused(
    await transact(breaking, payment),
    409,
    "duplicate_request",
  );
  assert.equal(again.ID, "payment-4711");
  assert.equal(again.SameRequest, true);
  const answer = again.Response as TransactAnswer;
  assert.deepEqual(answer.Atomic, [{ Key: "bob", Value: 30 }]);

  assert.deepEqual(await settle(breaking, payment), answer);
  assert.equal(await counter(a, "bob"), 30);

  // An answer that says nothing is one, too; the same id for something else is a mistake.
  const alone: TransactRequest = { IdempotencyIDs: ["alone"] };
  assert.deepEqual(await settle(a, alone), {});
  assert.deepEqual(await settle(a, alone), {});
  await assert.rejects(
    settle(a, { ...alone, Atomic: [{ Key: "bob", Add: 1 }] }),
    (error) => isRefused(error, "duplicate_request"),
  );
}

function json(status: number, body: unknown, headers = {}): Response {
  return new Response(JSON.stringify(body), { status, headers });
}

async function answersOfOthers(): Promise<void> {
  const payment: TransactRequest = {
    IdempotencyIDs: ["payment-4712"],
    Atomic: [{ Key: "eve", Add: 30 }],
  };
  const busy = { Code: "too_many_requests", Message: "Wait a second." };
  const passing = replacing([
    undefined,
    new DOMException("too long", "TimeoutError"),
    new Response("<html>Bad Gateway</html>", { status: 502 }),
    json(503, { message: "no upstream" }),
    json(429, busy, { "Retry-After": "1" }),
  ]);
  const begun = performance.now();
  const { Atomic } = await settle(passing, payment);
  assert.deepEqual(Atomic, [{ Key: "eve", Value: 30 }]);
  assert.ok(performance.now() - begun >= 1000);

  // A page that is not there, a page that takes all, answers with nothing in them, a pause that is too long.
  const lasting = [
    new Response("no such page", { status: 404 }),
    new Response("<html>Welcome</html>"),
    new Response("", { headers: { "Content-Length": "0" } }),
    new Response(null, { status: 204 }),
    new Response("", { status: 502, headers: { "Retry-After": "60" } }),
  ];
  for (const answer of lasting) {
    await assert.rejects(
      settle(replacing([answer]), payment),
      UnexpectedAnswer,
    );
  }
  const tooLarge = json(409, {
    Code: "duplicate_request",
    Message: "Used.",
    ID: "payment-4712",
    SameRequest: true,
  });
  await assert.rejects(settle(replacing([tooLarge]), payment), (error) =>
    isRefused(error, "duplicate_request"),
  );
}

/** Each change of a key after the given version; a deletion has version 0. */
async function* changes(
  dragon: Dragon,
  key: string,
  version: Int64,
): AsyncGenerator<ValueState> {
  for (;;) {
    const state = applied(
      await watch(dragon, { ID: key, Version: version, Wait: 60 }),
    );
    if (state) {
      version = state.Version;
      yield state;
    } // else nothing has changed in 60 seconds: 204, without a body
  }
}

async function watchLoop(): Promise<void> {
  const writing = (async () => {
    for (let number = 1; number <= 50; number += 1) {
      applied(await transact(b, { KVSet: [{ Key: "ticker", Value: number }] }));
    }
  })();
  const versions: Int64[] = [];
  for await (const { Version, Value } of changes(a, "ticker", 0)) {
    versions.push(Version); // 0: it was deleted
    if (Value === 50) {
      break;
    }
  }
  await writing;
  const rising = [...new Set(versions)].sort((x, y) => Number(x) - Number(y));
  assert.deepEqual(versions, rising);
  const last = given(versions.at(-1));

  const nothing = await watch(a, { ID: "ticker", Version: last, Wait: 1 });
  assert.equal(nothing.response.status, 204);
  assert.equal(nothing.data, undefined);
  assert.equal(nothing.error, undefined);

  const deletion = watch(a, { ID: "ticker", Version: last });
  applied(await transact(b, { KVSet: [{ Key: "ticker", Delete: true }] }));
  assert.deepEqual(applied(await deletion), { Key: "ticker", Version: 0 });
}

/** All pages of a list, one after the other. */
async function* pages(
  dragon: Dragon,
  prefix: string,
): AsyncGenerator<ValueState[]> {
  let after: string | undefined;
  let more: boolean | undefined;
  do {
    const answer: ListAnswer = applied(
      await list(dragon, { Prefix: prefix, After: after ?? null, Limit: 10 }),
    );
    const page = answer.KV ?? [];
    yield page;
    after = page.at(-1)?.Key;
    more = answer.More;
  } while (more);
}

async function listPages(): Promise<void> {
  const keys = Array.from(
    { length: 25 },
    (_, i) => `page/${String(i).padStart(2, "0")}`,
  );
  applied(
    await transact(a, { KVSet: keys.map((Key) => ({ Key, Value: null })) }),
  );
  const found: string[][] = [];
  for await (const page of pages(reader, "page/")) {
    found.push(page.map(({ Key }) => Key));
  }
  assert.deepEqual(
    found.map((page) => page.length),
    [10, 10, 5],
  );
  assert.deepEqual(found.flat(), keys);

  const counters = applied(
    await list(reader, { Kind: "Counters", Prefix: "orders" }),
  );
  assert.deepEqual(counters, { Counters: [{ Key: "orders", Value: 110 }] });

  const lock = { LockID: "listed", LockDur: 30, LockOwner: "lister" };
  const { Lock: handle } = applied(await transact(a, lock));
  const { Locks } = applied(await list(reader, { Kind: "Locks" }));
  assert.equal(Locks?.length, 1);
  assert.equal(Locks[0]?.Lock, handle);
  assert.equal(Locks[0]?.Owner, "lister");
  applied(await transact(a, { UnlockID: "listed", Unlock: given(handle) }));
}

async function longCounters(): Promise<void> {
  const longs = [
    9007199254740993n,
    9223372036854775807n,
    -9223372036854775808n,
  ];
  for (const long of longs) {
    applied(await transact(a, { Atomic: [{ Key: "long", Set: long }] }));
    assert.equal(await counter(a, "long"), long);
    // In an error too.
    const conflict = refused(
      await transact(a, { Atomic: [{ Key: "long", Add: 1, IfEq: 1 }] }),
      409,
      "precondition_failed",
    );
    assert.equal(conflict.Value, long);
  }
  // What fits is a number, whatever way it came to be.
  const sum = await add(a, "long", 9223372036854775807n);
  assert.equal(sum, -1);
}

async function longNumbersInValues(): Promise<void> {
  const value = { id: 9007199254740993n, ids: [9223372036854775807n, 1, 1.5] };
  applied(await transact(a, { KVSet: [{ Key: "ids", Value: value }] }));
  assert.deepEqual((await get(a, "ids")).Value, value);

  // What no JavaScript number is the same as stays a text; the client writes back what it has read.
  const text = '{"__proto__":1e400,"pi":3.14159265358979323846,"e":1.10}';
  const read = parse(text) as Record<string, unknown>;
  assert.deepEqual(read["pi"], new RawJson("3.14159265358979323846"));
  assert.equal(stringify(read), text.replace("1.10", "1.1"));
  assert.throws(() => JSON.stringify(read), TypeError);
  assert.throws(() => stringify(NaN), RangeError);
}

async function bytes(): Promise<void> {
  const text = String.raw`{"b":1,"a":9007199254740993,"big":123456789012345678901234567890,"d":1.10,"e":"\u00e9"}`;
  applied(
    await transact(a, { KVSet: [{ Key: "raw", Value: new RawJson(text) }] }),
  );

  const { data = "" } = await a.POST("/db/{account}", {
    params,
    body: { KVGet: [{ Key: "raw" }] },
    parseAs: "text",
  });
  const value = given(rawAt(data, "KV", 0, "Value"));
  assert.equal(value.text, text);
}

async function step<T>(name: string, run: () => Promise<T>): Promise<T> {
  const result = await run();
  console.log(`ok: ${name}`);
  return result;
}

await step("auth", auth);
const handle = await step("lock with a wait", lockWithAWait);
await step("guarded write", () => guardedWrite(handle));
await step("holding a lock", holdingALock);
await step("counter", sequence);
await step("compare-and-swap", compareAndSwap);
await step("idempotent retry", idempotentRetry);
await step("answers of others", answersOfOthers);
await step("watch loop", watchLoop);
await step("list pages", listPages);
await step("exact numbers and values", async () => {
  await longCounters();
  await longNumbersInValues();
  await bytes();
});
