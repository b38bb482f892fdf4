// Proves that no moment is a bad one: a commit while a poll is being parked, a writer that was open before the table was
// first asked for, many clients for one new shape, several deaths in a row, and a server that has no room.
import assert from "node:assert/strict";
import { agrees, follow } from "./harness/electric.mjs";
import { ONE_PLACE, takePlace } from "./harness/room.mjs";
import { until } from "./harness/wait.mjs";
import { inOneWorld } from "./harness/world.mjs";

const NOTES =
  "CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes SELECT g, 'note' FROM generate_series(1, 10) g";
const ALL = "SELECT * FROM notes";

for (const [name, options] of [
  ["long polling", {}],
  ["events", { liveSse: true }],
]) {
  inOneWorld(
    `a commit right after an answer does not wait for the next poll's end, by ${name}`,
    { schema: NOTES, longPoll: "30s" },
    async (world) => {
      const { t, sql } = world;
      let next = 100;
      const commits = [];
      const commit = () => {
        if (next < 200) commits.push(sql(`INSERT INTO notes VALUES (${next++}, 'raced')`));
      };
      // Every answer sets off a commit, which races with the request that the client sends after it.
      const fetchClient = async (url, init) => {
        const answer = await fetch(url, init);
        setTimeout(commit, Math.random() * 4);
        return answer;
      };
      const notes = follow(world, { table: "notes" }, { fetchClient, ...options });
      notes.shape.subscribe(() => options.liveSse && setTimeout(commit, Math.random() * 4));
      await agrees(world, notes, ALL, { strict: !options.liveSse });
      let worst = 0;
      while (next < 200) {
        const [before, at] = [next, performance.now()];
        await until("the next commit", () => next > before || next >= 200, 5_000);
        worst = Math.max(worst, performance.now() - at);
      }
      await Promise.all(commits);
      await agrees(world, notes, ALL, { strict: !options.liveSse });
      t.diagnostic(`100 commits, the longest gap ${worst.toFixed(0)} ms`);
      assert.ok(worst < 5_000, `a gap of ${worst} ms`);
    },
  );
}

inOneWorld("writers that were open before a table was first asked for", { schema: NOTES }, async (world) => {
  const { sql, database } = world;
  const [early, late] = [await database.session(), await database.session()];
  await early.query("BEGIN; INSERT INTO notes VALUES (50, 'early')");
  const first = follow(world, { table: "notes" });
  const WAITING = "SELECT FROM pg_locks WHERE relation = 'notes'::regclass AND NOT granted";
  await until("the server wants to prepare the table", async () => (await sql(WAITING)).length > 0);
  await early.query("COMMIT");
  await agrees(world, first, ALL);
  // The table is published by now; this writer is open while a second shape takes its snapshot.
  await late.query("BEGIN; INSERT INTO notes VALUES (60, 'late'); UPDATE notes SET body = 'late' WHERE id = 1");
  const second = follow(world, { table: "notes", where: "id > 0" });
  await second.shape.rows;
  await sql("INSERT INTO notes VALUES (70, 'meanwhile')");
  await agrees(world, second, ALL);
  await late.query("COMMIT");
  await agrees(world, first, ALL);
  await agrees(world, second, ALL);
  await Promise.all([early.end(), late.end()]);
});

const LARGE =
  "CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes SELECT g, repeat('x', 100) FROM generate_series(1, 1000) g";

inOneWorld(
  "a TRUNCATE while new clients load",
  { schema: LARGE, flags: ["--shape-chunk-bytes-threshold", "50000"] },
  async (world) => {
    const { sql } = world;
    for (let round = 1; round <= 10; round++) {
      const leaving = new AbortController();
      // The server lives on: no answer may break off, so nobody goes on after one that did.
      const options = { signal: leaving.signal, onError: undefined };
      const clients = [0, 1, 2].map((at) =>
        follow(world, { table: "notes", where: `id > -${round * 10 + at}` }, options),
      );
      // From before the first answer to long after the last: some of the clients are in the middle of a body.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      await sql(
        `BEGIN; TRUNCATE notes; INSERT INTO notes SELECT g, 'round ${round}' FROM generate_series(1, 1000) g; COMMIT`,
      );
      for (const client of clients) await agrees(world, client, ALL);
      leaving.abort();
    }
  },
);

inOneWorld("many clients ask for one new shape at the same moment", { schema: NOTES, tapped: true }, async (world) => {
  const { sql, tap } = world;
  const clients = Array.from({ length: 30 }, () => follow(world, { table: "notes", where: "id > 3" }));
  for (const client of clients) await agrees(world, client, `${ALL} WHERE id > 3`);
  const handles = new Set(tap.requests.map(({ headers }) => headers?.["electric-handle"]).filter(Boolean));
  assert.equal(handles.size, 1, "one shape for all");
  await sql("UPDATE notes SET body = 'changed'");
  for (const client of clients) await agrees(world, client, `${ALL} WHERE id > 3`);
});

inOneWorld("several deaths in a row", { schema: NOTES }, async (world) => {
  const { sql, server } = world;
  const clients = [follow(world, { table: "notes" }), follow(world, { table: "notes", where: "body = 'note'" })];
  await agrees(world, clients[0], ALL);
  for (let life = 1; life <= 5; life++) {
    const writing = sql(`INSERT INTO notes SELECT ${life * 1000} + g, 'life ${life}' FROM generate_series(1, 300) g`);
    await server.kill();
    await writing;
    await sql(
      `UPDATE notes SET body = 'life ${life}' WHERE id = ${life}; DELETE FROM notes WHERE id = ${life * 1000 + 7}`,
    );
    await server.resume();
  }
  await agrees(world, clients[0], ALL);
  await agrees(world, clients[1], `${ALL} WHERE body = 'note'`);
  const late = follow(world, { table: "notes" });
  await agrees(world, late, ALL);
});

inOneWorld(
  "a client waits as long as a server without room asks for",
  { schema: NOTES, tapped: true, ...ONE_PLACE },
  async (world) => {
    const { sql, tap } = world;
    const giveBack = await takePlace(world, "notes");
    const notes = follow(world, { table: "notes" });
    const refused = await until("the client is refused", () => tap.requests.find(({ status }) => status === 503));
    const asked = Number(refused.headers["retry-after"]);
    assert.ok(asked >= 1 && asked <= 10, `retry-after: ${refused.headers["retry-after"]}`);
    await giveBack();
    const [before, from] = [tap.requests.length, performance.now()];
    await until("the client asks again", () => tap.requests.length > before);
    const waited = performance.now() - from;
    assert.ok(waited > asked * 1000 - 500, `asked for ${asked} s, waited ${waited.toFixed(0)} ms`);
    await sql("INSERT INTO notes VALUES (99, 'at last')");
    await agrees(world, notes, ALL);
  },
);
