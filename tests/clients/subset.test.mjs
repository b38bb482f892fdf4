// Proves subset requests of the published client, by GET and by POST: Postgres' own answer in Postgres' own order,
// and afterwards a stream that neither loses nor repeats a change, whoever writes meanwhile.
import assert from "node:assert/strict";
import { isControlMessage } from "@electric-sql/client";
import { byId, follow } from "./harness/electric.mjs";
import { equal, plain, until } from "./harness/wait.mjs";
import { inEverySetting, inOneWorld } from "./harness/world.mjs";

const PARTS = `
  CREATE TABLE parts (id int PRIMARY KEY, label text NOT NULL, weight numeric(8,2), made timestamptz, flag bool);
  INSERT INTO parts SELECT g, 'part ' || g % 10, g * 1.5, '2026-01-01'::timestamptz + g * interval '1 hour', g % 3 = 0 FROM generate_series(1, 200) g`;

/** Subsets, with the same said to Postgres. */
const QUERIES = [
  [
    { where: "label = $1", params: { 1: "part 7" }, orderBy: "id DESC", limit: 5 },
    "WHERE label = 'part 7' ORDER BY id DESC LIMIT 5",
  ],
  [
    {
      where: `"label" = ANY($1)`,
      params: { 1: "{part 1,part 2}" },
      orderBy: `"weight" ASC NULLS FIRST`,
      limit: 7,
      offset: 3,
    },
    "WHERE label = ANY('{part 1,part 2}') ORDER BY weight ASC NULLS FIRST LIMIT 7 OFFSET 3",
  ],
  [
    { where: `"made" < $1 OR "flag" IS NULL`, params: { 1: "2026-01-02T00:00:00.000Z" }, orderBy: "id ASC" },
    "WHERE made < '2026-01-02T00:00:00.000Z' OR flag IS NULL ORDER BY id",
  ],
  [
    { where: "label ILIKE $1 AND NOT flag", params: { 1: "PART 4%" }, orderBy: "label, id" },
    "WHERE label ILIKE 'PART 4%' AND NOT flag ORDER BY label, id",
  ],
  [{ where: "true = true", orderBy: "id", limit: 3 }, "ORDER BY id LIMIT 3"],
  [{ where: "id < 0" }, "WHERE id < 0"],
];

for (const method of ["GET", "POST"]) {
  inEverySetting(`subsets by ${method} are Postgres' answer`, { schema: PARTS, tapped: true }, async (world) => {
    const { sql, disturb, tap } = world;
    const parts = follow(world, { table: "parts" }, { log: "changes_only", offset: "now", subsetMethod: method });
    await until("up to date", () => parts.stream.isUpToDate);
    await disturb(() => sql("UPDATE parts SET weight = NULL WHERE id % 50 = 1"));
    for (const [subset, clause] of QUERIES) {
      const { data, metadata } = await parts.stream.fetchSnapshot(subset);
      assert.deepEqual(
        plain(data.map(({ value }) => value)),
        plain(await sql(`SELECT * FROM parts ${clause}`)),
        clause,
      );
      assert.ok(
        data.every(({ headers }) => headers.operation === "insert" && headers.snapshot_mark === metadata.snapshot_mark),
      );
      assert.match(metadata.database_lsn, /^\d+$/);
    }
    const asked = tap.requests.filter((one) =>
      method === "POST" ? one.method === "POST" : [...one.query.keys()].some((key) => key.startsWith("subset__")),
    );
    assert.ok(asked.length >= QUERIES.length, `${asked.length} subset requests by ${method}`);
    assert.ok(
      asked.every(({ headers }) => headers["electric-snapshot"] === "true" && headers["cache-control"] === "no-cache"),
    );
  });

  inEverySetting(`subsets by ${method} within a shape and its columns`, { schema: PARTS }, async (world) => {
    const { sql, disturb } = world;
    const shape = { table: "parts", where: "id > $1 OR id = 3", params: ["150"], columns: ["id", "label"] };
    const parts = follow(world, shape, { log: "changes_only", offset: "now", subsetMethod: method });
    await until("up to date", () => parts.stream.isUpToDate);
    await disturb();
    await parts.stream.requestSnapshot({ where: "label = $1", params: { 1: "part 3" }, orderBy: "id", limit: 100 });
    const QUERY = "SELECT id, label FROM parts WHERE (id > 150 OR id = 3) AND label = 'part 3'";
    await equal("the subset is in the client", parts.rows, async () => byId(await sql(QUERY)));
    await disturb(() => sql("UPDATE parts SET label = 'part 3' WHERE id = 3; DELETE FROM parts WHERE id = 153"));
    await equal("changes of loaded rows arrive", parts.rows, async () => byId(await sql(QUERY)));
    const kinds = parts.log.messages.filter(isControlMessage).map(({ headers }) => headers.control);
    assert.ok(kinds.includes("snapshot-end") && kinds.includes("subset-end"));
  });

  inOneWorld(`subsets by ${method} while others write`, { schema: PARTS, longPoll: "500ms" }, async (world) => {
    const { sql, database } = world;
    const parts = follow(
      world,
      { table: "parts", replica: "full" },
      { log: "changes_only", offset: "now", subsetMethod: method },
    );
    const session = await database.session();
    let stop = false;
    const writing = (async () => {
      for (let round = 0; !stop; round++) {
        const id = 1 + (round % 200);
        await session.query(`BEGIN; UPDATE parts SET weight = ${round} WHERE id = ${id}; DELETE FROM parts WHERE id = ${((id + 100) % 200) + 1};
          INSERT INTO parts VALUES (${1000 + round}, 'part 3', ${round}, NULL, NULL); COMMIT`);
      }
    })();
    for (let decile = 0; decile < 10; decile++) {
      const { lastOffset } = parts.stream;
      await parts.stream.requestSnapshot({
        where: "label = $1",
        params: { 1: `part ${decile}` },
        orderBy: "id",
        limit: 10_000,
      });
      // The client takes many restarts at one offset for a loop, so the stream has to get on between two subsets.
      await until("the stream gets on", () => parts.stream.lastOffset !== lastOffset && parts.stream.isUpToDate);
    }
    stop = true;
    await writing;
    await session.end();
    await equal("all subsets together are the table", parts.rows, async () => byId(await sql("SELECT * FROM parts")));
  });
}

inOneWorld("a subset that Postgres refuses is a 400 with its place", { schema: PARTS }, async (world) => {
  const parts = follow(world, { table: "parts" }, { log: "changes_only", offset: "now" });
  await until("up to date", () => parts.stream.isUpToDate);
  for (const [subset, place] of [
    [{ where: "nobody = 1" }, "where"],
    [{ where: "id = 1", limit: 5 }, "order_by"],
    [{ where: "id IN (SELECT id FROM parts)" }, "where"],
    [{ where: "true = true", orderBy: "length(label)", limit: 1 }, "order_by"],
  ]) {
    for (const method of ["GET", "POST"]) {
      const refused = await parts.stream.fetchSnapshot({ ...subset, method }).then(
        () => undefined,
        (error) => error,
      );
      assert.equal(refused?.status, 400, `${method} ${JSON.stringify(subset)}`);
      assert.ok(refused.json.errors.subset[place], JSON.stringify(refused.json));
    }
  }
});
