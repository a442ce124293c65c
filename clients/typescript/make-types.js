// Makes the types of the client from the OpenAPI document, and gives the package the document's version:
// node make-types.js DOCUMENT PACKAGE
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const {
  createLiteralTypeNode,
  createNull,
  createTypeReferenceNode,
  createUnionTypeNode,
} = ts.factory;

const HEAD = `// Made from the OpenAPI document; not to be changed by hand.

/** A 64-bit integer: a bigint where a number could not hold it exactly (beyond ±(2^53 - 1)), else a number. */
export type Int64 = number | bigint;

`;

// The integers that may be too long for a number get a type that says so.
function transform({ format, minimum, maximum, nullable }) {
  const short =
    minimum >= Number.MIN_SAFE_INTEGER && maximum <= Number.MAX_SAFE_INTEGER;
  if (format !== "int64" || short) {
    return undefined;
  }
  const int64 = createTypeReferenceNode("Int64");
  return nullable
    ? createUnionTypeNode([int64, createLiteralTypeNode(createNull())])
    : int64;
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

const [documentPath, packagePath] = process.argv.slice(2);
const document = readJson(documentPath);
const types = astToString(await openapiTS(document, { transform }));
writeFileSync(join(packagePath, "src", "types.ts"), HEAD + types);

const settingsPath = join(packagePath, "package.json");
const settings = { ...readJson(settingsPath), version: document.info.version };
writeFileSync(settingsPath, JSON.stringify(settings, null, 2));
