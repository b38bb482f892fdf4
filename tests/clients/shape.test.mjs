// Proves that the published client's Shape shows what Postgres holds: through writes of every kind, filters, many
// chunks and a TRUNCATE; against a fresh server, across its sudden death, and through a cache.
import assert from "node:assert/strict";
import { agrees, follow } from "./harness/electric.mjs";
import { equal } from "./harness/wait.mjs";
import { inEverySetting, inOneWorld } from "./harness/world.mjs";

const ISSUES = `
  CREATE TABLE issues (id int8 PRIMARY KEY, title text NOT NULL, done bool, price numeric(8,2), tags text[], doc jsonb,
    ratio float8, day date, at timestamptz, token uuid, bytes bytea, small int2);
  INSERT INTO issues VALUES
    (1, 'one', true, 1.5, '{a,"b c",NULL}', '{"x": [1, null]}', 1.25, '2026-08-04', '2026-08-04 10:00:07.5+02',
      '0e37df36-f698-11e6-8dd4-cb9ced3df976', '\\x00ff', 7),
    (2, 'zwei "q" ü \\ 🦀', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);`;

const ALL = "SELECT * FROM issues";

inEverySetting("a Shape follows inserts, updates, deletes and a change of key", { schema: ISSUES }, async (world) => {
  const { sql, disturb } = world;
  const all = follow(world, { table: "issues" });
  await agrees(world, all, ALL);
  await sql("INSERT INTO issues (id, title) VALUES (3, 'three'), (9007199254740993, 'beyond doubles')");
  await agrees(world, all, ALL);
  await disturb(() => sql("UPDATE issues SET title = 'eins', price = NULL, tags = '{}' WHERE id = 1"));
  await agrees(world, all, ALL);
  await sql("UPDATE issues SET id = 30 WHERE id = 3");
  await sql("BEGIN; DELETE FROM issues WHERE id = 2; INSERT INTO issues (id, title) VALUES (2, 'again'); COMMIT");
  await agrees(world, all, ALL);
  await sql("DELETE FROM issues");
  await agrees(world, all, ALL);
  assert.equal(all.log.refetches, 0, "nothing but the log was needed");
});

inEverySetting("columns, where and params", { schema: ISSUES }, async (world) => {
  const { sql, disturb } = world;
  const done = follow(world, {
    table: "issues",
    where: "done = $1 AND id < $2",
    params: ["true", "100"],
    columns: ["id", "title"],
  });
  const QUERY = "SELECT id, title FROM issues WHERE done AND id < 100";
  await agrees(world, done, QUERY);
  await sql("UPDATE issues SET done = true WHERE id = 2");
  await agrees(world, done, QUERY);
  await disturb(() =>
    sql("INSERT INTO issues (id, title, done) SELECT g, 'more', g % 2 = 0 FROM generate_series(90, 110) g"),
  );
  await agrees(world, done, QUERY);
  await sql("UPDATE issues SET done = NOT done");
  await agrees(world, done, QUERY);
  await sql("UPDATE issues SET id = id + 50 WHERE id > 50");
  await agrees(world, done, QUERY);
});

const MANY = `CREATE TABLE issues (id int PRIMARY KEY, title text);
  INSERT INTO issues SELECT g, repeat('x', 20) || g FROM generate_series(1, 2000) g`;
const SMALL_CHUNKS = ["--shape-chunk-bytes-threshold", "10000"];

inEverySetting(
  "many chunks, first of the snapshot, then of the log",
  { schema: MANY, flags: SMALL_CHUNKS, tapped: true },
  async (world) => {
    const { sql, disturb, tap } = world;
    const all = follow(world, { table: "issues" });
    await agrees(world, all, ALL);
    const chunks = tap.requests.filter(({ query }) => query.get("offset")?.startsWith("0_"));
    assert.ok(chunks.length > 5, `the snapshot came in ${chunks.length} further requests`);
    await disturb(() => sql("UPDATE issues SET title = 'y' || id WHERE id > 10"));
    await agrees(world, all, ALL);
    const late = follow(world, { table: "issues" });
    await agrees(world, late, ALL);
  },
);

inEverySetting("a TRUNCATE makes the client fetch again", { schema: ISSUES }, async (world) => {
  const { sql, disturb } = world;
  const all = follow(world, { table: "issues" });
  await agrees(world, all, ALL);
  const handle = all.stream.shapeHandle;
  await disturb(() => sql("BEGIN; TRUNCATE issues; INSERT INTO issues (id, title) VALUES (4, 'new'); COMMIT"));
  await agrees(world, all, ALL);
  assert.notEqual(all.stream.shapeHandle, handle, "a new handle for new contents");
  assert.ok(all.log.refetches >= 1, "the client was told to fetch again");
  await sql("UPDATE issues SET title = 'newer'; INSERT INTO issues (id, title) VALUES (5, 'five')");
  await agrees(world, all, ALL);
});

inEverySetting("writers at work all the time", { schema: MANY, flags: SMALL_CHUNKS }, async (world) => {
  const { database, disturb } = world;
  const followers = [follow(world, { table: "issues" })];
  const writers = await Promise.all([1, 2, 3].map((seed) => writer(database, seed)));
  await followers[0].shape.rows;
  followers.push(follow(world, { table: "issues", where: "id > 1000" }));
  await disturb();
  await Promise.all(writers.map(({ enough }) => enough()));
  await agrees(world, followers[0], ALL);
  await agrees(world, followers[1], `${ALL} WHERE id > 1000`);
});

const ROUNDS_MIN = 150;

/** One session that commits small transactions, and some that it takes back, until it is told that it is enough. */
async function writer(database, seed) {
  const session = await database.session();
  let stop = false;
  const work = (async () => {
    for (let round = 0; !stop || round < ROUNDS_MIN; round++) {
      const id = 1 + ((round * 7919 + seed * 104729) % 2200);
      const statements = [
        `INSERT INTO issues VALUES (${id}, 's${seed} r${round}') ON CONFLICT (id) DO UPDATE SET title = excluded.title`,
        `DELETE FROM issues WHERE id = ${id + 1}`,
        `UPDATE issues SET id = ${id + 10_000 * seed} WHERE id = ${id + 2} AND NOT EXISTS (SELECT FROM issues WHERE id = ${id + 10_000 * seed})`,
      ];
      await session.query(
        `BEGIN; ${statements.slice(0, 1 + (round % 3)).join("; ")}; ${round % 5 === 4 ? "ROLLBACK" : "COMMIT"}`,
      );
    }
  })();
  return {
    async enough() {
      stop = true;
      await work;
      await session.end();
    },
  };
}

inOneWorld(
  "a client that comes back with offset and handle gets only what it missed",
  { schema: ISSUES, tapped: true },
  async (world) => {
    const { sql, server, tap } = world;
    const aborter = new AbortController();
    const first = follow(world, { table: "issues" }, { signal: aborter.signal });
    await agrees(world, first, ALL);
    await sql("INSERT INTO issues (id, title) VALUES (3, 'three')");
    await agrees(world, first, ALL);
    const [offset, handle] = [first.stream.lastOffset, first.stream.shapeHandle];
    aborter.abort();
    await server.kill();
    await sql("UPDATE issues SET title = 'drei' WHERE id = 3");
    await server.resume();
    tap.clear();
    const second = follow(world, { table: "issues" }, { offset, handle });
    await equal(
      "only the missed update arrives",
      () => second.log.changes.map(({ headers, value }) => [headers.operation, value]),
      [["update", { id: 3n, title: "drei" }]],
    );
    assert.equal(second.stream.shapeHandle, handle, "the handle survives the server's death");
    assert.ok(
      tap.requests.every(({ query }) => query.get("offset") !== "-1"),
      "nothing was fetched from the start",
    );
  },
);
