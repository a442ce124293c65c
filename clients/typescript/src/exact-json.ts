// JSON without loss. JSON.parse makes a double of every number, and so changes integers beyond ±(2^53 - 1) without a
// word; JSON.stringify refuses a bigint.
import { findNodeAtLocation, parseTree, type Node } from "jsonc-parser";

/** A JSON text that is kept, and sent, byte for byte. */
export class RawJson {
  /** Throws a SyntaxError when the text is not JSON. */
  constructor(readonly text: string) {
    JSON.parse(text);
  }

  /** Keeps JSON.stringify, which can't write it, from making an object of it. */
  toJSON(): never {
    throw new TypeError("a RawJson is for this package's stringify");
  }
}

/**
 * Like JSON.parse, but for numbers: an integer beyond ±(2^53 - 1) becomes a bigint, any other number that a double
 * would change (one of 20 decimals, 1e400) a RawJson, all others a number.
 */
export function parse(text: string): unknown {
  return toValue(toTree(text), text);
}

/** Like JSON.stringify, but writes bigint and RawJson as they are, and refuses NaN and Infinity. */
export function stringify(value: unknown): string {
  return toText(value) ?? "null";
}

/** The part of a JSON text that stands at a path, as it was written: `rawAt(text, "KV", 0, "Value")`. */
export function rawAt(
  text: string,
  ...path: (string | number)[]
): RawJson | undefined {
  const node = findNodeAtLocation(toTree(text), path);
  return node && new RawJson(source(node, text));
}

function toTree(text: string): Node {
  JSON.parse(text); // the tree's parser is for people, and would bear with their slips
  const tree = parseTree(text);
  if (tree === undefined) {
    throw new SyntaxError("not JSON");
  }
  return tree;
}

function source(node: Node, text: string): string {
  return text.slice(node.offset, node.offset + node.length);
}

function toValue(node: Node, text: string): unknown {
  const children = node.children ?? [];
  switch (node.type) {
    case "object":
      return Object.fromEntries(
        children.map(({ children: [key, value] = [] }) => [
          key!.value,
          toValue(value!, text),
        ]),
      );
    case "array":
      return children.map((child) => toValue(child, text));
    case "number":
      return toNumber(source(node, text));
    default:
      return node.value;
  }
}

function toNumber(text: string): unknown {
  const number = Number(text);
  if (/^-?\d+$/.test(text)) {
    return Number.isSafeInteger(number) ? number : BigInt(text);
  }
  return digits(text) === digits(String(number)) ? number : new RawJson(text);
}

// A double is the nearest one to a text, so it is the same number if it has the same digits.
function digits(text: string): string {
  return text
    .replace(/e.*/i, "")
    .replace(/[-.]/g, "")
    .replace(/^0+|0+$/g, "");
}

function toText(value: unknown): string | undefined {
  if (value instanceof RawJson) {
    return value.text;
  }
  if (typeof value === "bigint") {
    return value.toString();
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new RangeError(`JSON has no ${value}`);
  }
  if (Array.isArray(value)) {
    return `[${Array.from(value, stringify).join(",")}]`;
  }
  if (typeof value === "object" && value !== null && !("toJSON" in value)) {
    const members = Object.entries(value)
      .map(([key, member]) => [JSON.stringify(key), toText(member)] as const)
      .filter(([, member]) => member !== undefined);
    return `{${members.map((member) => member.join(":")).join(",")}}`;
  }
  return JSON.stringify(value);
}
