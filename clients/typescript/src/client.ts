import createClient, { type Client, type ClientOptions } from "openapi-fetch";
import { parse, stringify } from "./exact-json.js";
import type { components, paths } from "./types.js";

export { parse, RawJson, rawAt, stringify } from "./exact-json.js";
export type { components, Int64, operations, paths } from "./types.js";

type Schemas = components["schemas"];
export type TransactRequest = Schemas["TransactRequest"];
export type TransactAnswer = Schemas["TransactAnswer"];
export type WatchRequest = Schemas["WatchRequest"];
export type ListRequest = Schemas["ListRequest"];
export type ListAnswer = Schemas["ListAnswer"];
export type ValueState = Schemas["ValueState"];
export type CounterState = Schemas["CounterState"];
export type SetOperation = Schemas["SetOperation"];
export type LockState = Schemas["LockState"];
export type ErrorAnswer = Schemas["ErrorAnswer"];
export type ErrorCode = Schemas["ErrorCode"];

export type Dragon = Client<paths>;

/** Thrown when an answer is not Cloud Dragon's, but a gateway's, say. */
export class UnexpectedAnswer extends Error {
  constructor(
    readonly response: Response,
    readonly text: string,
  ) {
    super(
      `status ${response.status}, not an answer of Cloud Dragon's: ${text}`,
    );
  }
}

const METHODS = [
  "DELETE",
  "GET",
  "HEAD",
  "OPTIONS",
  "PATCH",
  "POST",
  "PUT",
  "TRACE",
];

type Init = Record<string, unknown> & { parseAs?: string };
type Answer = { data?: unknown; error?: unknown; response: Response };
type Call = (method: string, path: string, init: Init) => Promise<Answer>;

/**
 * A client of openapi-fetch, with its options. All its JSON, that of errors included, goes through exact-json, so that
 * what the types call an Int64 arrives as it was sent.
 */
export function createDragon(options: ClientOptions): Dragon {
  const client = createClient<paths>({ bodySerializer: stringify, ...options });
  const call = client.request as unknown as Call;

  // openapi-fetch parses errors itself, and by JSON.parse, so their text is kept here.
  const refusals = new WeakMap<Response, string>();
  client.use({
    async onResponse({ response }) {
      if (!response.ok) {
        refusals.set(response, await response.clone().text());
      }
    },
  });

  async function request(
    method: string,
    path: string,
    { parseAs = "json", ...init }: Init = {},
  ): Promise<Answer> {
    const exact = parseAs === "json";
    const answer = await call(method, path, {
      ...init,
      parseAs: exact ? "text" : parseAs,
    });
    const refusal = refusals.get(answer.response);
    if (refusal !== undefined) {
      return { ...answer, error: toError(answer.response, refusal) };
    }
    const isNothing =
      path === "/watch/{account}" && answer.response.status === 204;
    return exact && !isNothing
      ? { ...answer, data: toData(answer.response, answer.data) }
      : answer;
  }

  const methods = METHODS.map((method) => [
    method,
    (path: string, init?: Init) => request(method, path, init),
  ]);
  return { ...client, request, ...Object.fromEntries(methods) };
}

function toData(response: Response, text: unknown): unknown {
  try {
    return parse(text as string);
  } catch {
    throw new UnexpectedAnswer(response, String(text ?? ""));
  }
}

function toError(response: Response, text: string): ErrorAnswer {
  try {
    const answer = parse(text);
    if (typeof answer === "object" && answer !== null && "Code" in answer) {
      return answer as ErrorAnswer;
    }
  } catch {
    // Not JSON.
  }
  throw new UnexpectedAnswer(response, text);
}
