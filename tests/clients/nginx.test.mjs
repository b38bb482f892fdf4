// Proves what a shared cache in front is good for, and that it does no harm: a thousand waiting clients are a handful
// of requests at the origin, and no error outlives its cause.
import assert from "node:assert/strict";
import { Agent, get } from "node:http";
import { ONE_PLACE, takePlace } from "./harness/room.mjs";
import { until, within } from "./harness/wait.mjs";
import { inOneWorld } from "./harness/world.mjs";

const NOTES =
  "CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes SELECT g, 'note ' || g FROM generate_series(1, 50) g";
const CLIENTS = 1_000;

/** The smallest client that follows the protocol, light enough to be a thousand. */
class Follower {
  rows = new Map();
  state = { offset: "-1" };
  requests = 0;

  constructor(url, agent) {
    Object.assign(this, { url, agent });
  }

  /** One request and its answer. */
  async step() {
    const { headers, messages } = await this.#ask();
    for (const {
      key,
      value,
      headers: { operation },
    } of messages) {
      if (operation === "delete") this.rows.delete(key);
      else if (operation) this.rows.set(key, { ...this.rows.get(key), ...value });
    }
    const live = this.state.live || "electric-up-to-date" in headers;
    const cursor = headers["electric-cursor"];
    this.state = {
      offset: headers["electric-offset"],
      handle: headers["electric-handle"],
      ...(live && { live: true }),
      ...(cursor && { cursor }),
    };
  }

  #ask() {
    this.requests++;
    return new Promise((resolve, reject) => {
      get(`${this.url}&${new URLSearchParams(this.state)}`, { agent: this.agent }, async (answer) => {
        try {
          let text = "";
          for await (const part of answer.setEncoding("utf8")) text += part;
          if (answer.statusCode !== 200) throw new Error(`${answer.statusCode} ${text}`);
          resolve({ headers: answer.headers, messages: JSON.parse(text) });
        } catch (error) {
          reject(error);
        }
      }).on("error", reject);
    });
  }

  /** Goes on until the log's end is reached and the rows are what is expected. */
  async until(expected) {
    while (!this.state.live || this.text() !== expected) await this.step();
  }

  text() {
    return JSON.stringify([...this.rows.values()].sort((a, b) => a.id - b.id));
  }
}

inOneWorld(
  "a thousand waiting clients are a handful of requests",
  { schema: NOTES, cached: true, tapped: true, longPoll: "20s" },
  async (world) => {
    const { t, sql, url, tap, nginx } = world;
    const expected = async () =>
      JSON.stringify((await sql("SELECT * FROM notes ORDER BY id")).map(({ id, body }) => ({ id: String(id), body })));
    const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
    world.onEnd(() => agent.destroy());
    const followers = Array.from({ length: CLIENTS }, () => new Follower(`${url}?table=notes`, agent));
    const all = (text) =>
      within("all clients agree with Postgres", Promise.all(followers.map((follower) => follower.until(text))), 60_000);
    const rows = await expected();
    await all(rows);
    const starting = tap.requests.length;
    t.diagnostic(`${CLIENTS} clients loaded the shape with ${starting} requests at the origin`);
    for (let round = 1; round <= 3; round++) {
      tap.clear();
      const waiting = followers.map(async (follower) => {
        const before = follower.text();
        while (follower.text() === before) await follower.step();
        return performance.now();
      });
      // A failure before they are awaited is the failure to report, not the hang-ups that follow from it.
      for (const one of waiting) one.catch(() => {});
      await until("all clients wait", async () => (await nginx.answering()) >= CLIENTS, 60_000);
      assert.equal(
        tap.requests.filter(({ status }) => status === undefined).length,
        1,
        "one request waits at the origin",
      );
      await sql(
        `UPDATE notes SET body = 'round ${round}' WHERE id = ${round}; INSERT INTO notes VALUES (${100 + round}, 'new')`,
      );
      const committed = performance.now();
      const times = (await within("the change is everywhere", Promise.all(waiting), 60_000))
        .map((time) => time - committed)
        .sort((a, b) => a - b);
      const origin = tap.requests.length;
      t.diagnostic(
        `round ${round}: ${origin} requests at the origin; commit to client ${times[0].toFixed(0)} ms first, ${times[CLIENTS / 2].toFixed(0)} ms median, ${times.at(-1).toFixed(0)} ms last`,
      );
      assert.ok(origin <= 5, `${origin} requests at the origin for ${CLIENTS} clients`);
      const now = await expected();
      assert.deepEqual(
        [...new Set(followers.map((follower) => follower.text()))],
        [now],
        "everybody agrees with Postgres",
      );
    }
    assert.ok(starting <= 10, `${starting} requests to load`);
  },
);

const status = async (url, init) => {
  const answer = await fetch(url, init);
  return {
    status: answer.status,
    cache: answer.headers.get("x-cache"),
    handle: answer.headers.get("electric-handle"),
    control: answer.headers.get("cache-control"),
    text: await answer.text(),
  };
};

inOneWorld("a 400 is never cached", { schema: NOTES, cached: true, tapped: true }, async ({ sql, url, tap }) => {
  for (const query of [
    "table=later&offset=-1",
    "table=notes&offset=zero",
    "table=notes&offset=-1&where=nobody%3D1",
    "table=notes&offset=0_0",
  ]) {
    tap.clear();
    for (let time = 1; time <= 3; time++) {
      const { status: code, cache, control } = await status(`${url}?${query}`);
      assert.deepEqual([code, cache, control], [400, "MISS", "no-store"], query);
    }
    assert.equal(tap.requests.length, 3, query);
  }
  await sql("CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)");
  await until(
    "the table is served as soon as it exists",
    async () => (await status(`${url}?table=later&offset=-1`)).status === 200,
  );
});

inOneWorld(
  "a 401 is never cached",
  { schema: NOTES, cached: true, tapped: true, secret: "right" },
  async ({ url, tap }) => {
    for (let time = 1; time <= 3; time++) {
      const { status: code, cache } = await status(`${url}?table=notes&offset=-1&secret=wrong`);
      assert.deepEqual([code, cache], [401, "MISS"]);
    }
    assert.equal((await status(`${url}?table=notes&offset=-1&secret=right`)).status, 200);
    assert.equal(
      (await status(`${url}?table=notes&offset=-1&secret=wrong`)).status,
      401,
      "what the cache holds needs the secret, too",
    );
    assert.equal(tap.requests.length, 5);
  },
);

inOneWorld("a 503 is never cached", { schema: NOTES, cached: true, tapped: true, ...ONE_PLACE }, async (world) => {
  const { url, tap } = world;
  const giveBack = await takePlace(world, "notes");
  const { handle } = await status(`${url}?table=notes&offset=-1`);
  const ask = () => status(`${url}?table=notes&offset=0_inf&handle=${handle}`);
  tap.clear();
  for (let time = 1; time <= 3; time++) {
    const { status: code, cache, control } = await ask();
    assert.deepEqual([code, cache, control], [503, "MISS", "no-store"]);
  }
  await giveBack();
  await until("there is room as soon as there is", async () => (await ask()).status === 200);
  assert.ok(tap.requests.length >= 4);
});

inOneWorld(
  "a 409 with its handle may be shared, and leads on",
  { schema: NOTES, cached: true, tapped: true },
  async ({ url, tap }) => {
    const ask = () => status(`${url}?table=notes&offset=0_inf&handle=unknown&live=true`);
    const [first, second] = [await ask(), await ask()];
    assert.deepEqual([first.status, first.cache, second.status, second.cache], [409, "MISS", 409, "HIT"]);
    assert.equal(first.control, "public, max-age=60, must-revalidate");
    assert.deepEqual(JSON.parse(first.text), [{ headers: { control: "must-refetch" } }]);
    assert.equal(second.handle, first.handle);
    assert.equal(tap.requests.length, 1);
    const next = await status(`${url}?table=notes&offset=-1&handle=${first.handle}`);
    assert.deepEqual([next.status, next.handle], [200, first.handle], "the handle of the 409 is the one that serves");
  },
);
