// The published TypeScript client, followed strictly: a row that comes twice or from nowhere is a failure.
import { Shape, ShapeStream, isChangeMessage, isControlMessage } from "@electric-sql/client";
import { equal } from "./wait.mjs";

/** The client's own pace of trying again is meant for the internet. */
export const IMPATIENT = { initialDelay: 20, maxDelay: 200, multiplier: 1.5 };

/** Options for a stream of a world: `params` are the shape, `options` whatever the client takes. */
export function streamOptions({ url, signal }, params, options = {}) {
  return { url, params, signal, backoffOptions: IMPATIENT, ...options };
}

/** Follows a shape; the result has `stream`, `shape`, `log` and `rows()`. */
export function follow(world, params, options) {
  const stream = new ShapeStream(streamOptions(world, params, options));
  const log = new Log(stream);
  const shape = new Shape(stream);
  return { stream, shape, log, rows: () => byId(shape.currentRows) };
}

export function byId(rows) {
  const rank = (row) => [row.id ?? 0, JSON.stringify(row, text)];
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  return [...rows].sort((a, b) => compare(rank(a)[0], rank(b)[0]) || compare(rank(a)[1], rank(b)[1]));
}

const text = (_, value) => (typeof value === "bigint" ? `${value}n` : value);

/** Waits until the client's rows are Postgres' answer, and its log was one that a strict reader accepts. */
export async function agrees({ sql }, follower, query, { strict = true } = {}) {
  await equal(`the client agrees with ${query}`, follower.rows, async () => byId(await sql(query)));
  if (strict && follower.log.breaches.length)
    throw new Error(`the log is not exact:\n${follower.log.breaches.join("\n")}`);
}

/** Every message of a stream, and what a strict reader objects to. */
export class Log {
  messages = [];
  breaches = [];
  refetches = 0;
  #keys = new Set();

  constructor(stream) {
    stream.subscribe(
      (messages) => messages.forEach((message) => this.#take(message)),
      (error) => this.breaches.push(`${error.name}: ${error.message}`),
    );
  }

  get changes() {
    return this.messages.filter(isChangeMessage);
  }

  #take(message) {
    this.messages.push(message);
    if (isControlMessage(message) && message.headers.control === "must-refetch") {
      this.refetches++;
      this.#keys.clear();
    }
    if (!isChangeMessage(message)) return;
    const { key, headers } = message;
    const known = this.#keys.has(key);
    if (headers.operation === "insert" ? known : !known)
      this.breaches.push(`${headers.operation} of ${key}, ${known ? "known" : "unknown"}`);
    if (headers.operation === "delete") this.#keys.delete(key);
    else this.#keys.add(key);
  }
}
