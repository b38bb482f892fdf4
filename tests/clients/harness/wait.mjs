// Bounded waits. Every one says what it waited for and what it saw last.
import { isDeepStrictEqual, inspect } from "node:util";

const PATIENCE = 30_000;

/** Fails with the name of what was awaited when the promise takes too long. */
export async function within(what, promise, milliseconds = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again until the answer is truthy; for things that tell nobody when they change. */
export async function until(what, ask, milliseconds = PATIENCE) {
  const deadline = Date.now() + milliseconds;
  let seen;
  for (;;) {
    try {
      seen = await ask();
      if (seen) return seen;
    } catch (error) {
      seen = error;
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${milliseconds} ms, last seen ${show(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits until a reading equals what is expected; both may be functions, asked anew each time. */
export async function equal(what, read, expected, milliseconds = PATIENCE) {
  let actual, wanted;
  try {
    await until(
      what,
      async () => {
        wanted = typeof expected === "function" ? await expected() : expected;
        actual = await read();
        return isDeepStrictEqual(plain(actual), plain(wanted));
      },
      milliseconds,
    );
  } catch (error) {
    throw new Error(`${error.message}\nexpected ${show(plain(wanted))}\nactual   ${show(plain(actual))}`);
  }
}

/** The same without prototypes and hidden properties that clients may add to rows. */
export function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object" && !(value instanceof Uint8Array) && !(value instanceof Date)) {
    return Object.fromEntries(
      Object.keys(value)
        .sort()
        .map((key) => [key, plain(value[key])]),
    );
  }
  return value;
}

function show(value) {
  const text = inspect(value, { depth: 6, maxArrayLength: 12, breakLength: 120 });
  return text.length > 3_000 ? `${text.slice(0, 3_000)} …` : text;
}
