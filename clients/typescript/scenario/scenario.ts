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

function withToken(baseUrl: string, token: string): Dragon {
  return createDragon({
    baseUrl,
    headers: { Authorization: `Bearer ${token}` },
  });
}

function transact(dragon: Dragon, body: TransactRequest) {
  return dragon.POST("/db/{account}", { params, body });
}

function watch(dragon: Dragon, body: WatchRequest) {
  return dragon.POST("/watch/{account}", { params, body });
}

function list(dragon: Dragon, body: ListRequest) {
  return dragon.POST("/list/{account}", { params, body });
}

/** An answer that says no, as an exception. */
class Refused extends Error {
  constructor(readonly answer: ErrorAnswer) {
    super(`${answer.Code}: ${answer.Message}`);
  }
}

/** The answer, or the refusal as an exception. */
function applied<Data>({ data, error }: Result<Data>): Data {
  if (error) {
    throw new Refused(error);
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

async function tokens(): Promise<void> {
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

async function guardedWrite(handle: Int64): Promise<void> {
  const guarded = (value: string): TransactRequest => ({
    LockID: "nightly",
    UnlockID: "nightly",
    Unlock: handle,
    LockDur: 0,
    KVSet: [{ Key: "guarded", Value: value }],
  });
  assert.equal(applied(await transact(b, guarded("held"))).Lock, handle);
  applied(await transact(b, { UnlockID: "nightly", Unlock: handle }));

  const late = refused(await transact(b, guarded("late")), 409, "not_locked");
  assert.equal(late.ID, "nightly");
  assert.equal((await get(a, "guarded")).Value, "held");
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
    const { error } = await transact(dragon, {
      KVSet: [{ Key: key, Value: change(Value), IfVersion: Version }],
    });
    if (!error) {
      return;
    }
    if (error.Code !== "precondition_failed") {
      throw new Refused(error);
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
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { data, error } = await transact(dragon, body);
      if (data) {
        return data;
      }
      if (error.Code === "duplicate_request" && error.SameRequest) {
        return error.Response as TransactAnswer;
      }
      const again = ["unavailable", "outcome_unknown"].includes(error.Code);
      if (!again || attempt === 5) {
        throw new Refused(error);
      }
    } catch (error) {
      // A TypeError is fetch's word for a broken connection: whether the server has done it is not known.
      const broken =
        error instanceof TypeError || error instanceof UnexpectedAnswer;
      if (!broken || attempt === 5) {
        throw error;
      }
    }
    await sleep(100 * attempt);
  }
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
}

async function foreignAnswers(): Promise<void> {
  for (const page of ["<html>Bad Gateway</html>", ""]) {
    const behindProxy = createDragon({
      baseUrl: server,
      fetch: async () =>
        new Response(page, {
          status: 502,
          headers: { "Content-Length": String(page.length) },
        }),
    });
    await assert.rejects(
      watch(behindProxy, { ID: "ticker" }),
      UnexpectedAnswer,
    );
  }
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
  let last: Int64 = 0;
  for await (const { Version, Value } of changes(a, "ticker", 0)) {
    assert.ok(Version > last);
    last = Version;
    if (Value === 50) {
      break;
    }
  }
  await writing;

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

await step("tokens", tokens);
const handle = await step("lock with a wait", lockWithAWait);
await step("guarded write", () => guardedWrite(handle));
await step("counter and sequence", sequence);
await step("compare-and-swap", compareAndSwap);
await step("idempotent retry", idempotentRetry);
await step("answers of others", foreignAnswers);
await step("watch loop", watchLoop);
await step("list pages", listPages);
await step("64-bit counters", longCounters);
await step("64-bit integers in values", longNumbersInValues);
await step("values byte for byte", bytes);
