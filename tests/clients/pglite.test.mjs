// Proves that PGlite, fed by its sync plugin, ends up with the contents of the Postgres that it follows: one table or
// several in step, with every way to load the first rows, and again after PGlite itself was closed and opened.
import assert from "node:assert/strict";
import { PGlite } from "@electric-sql/pglite";
import { electricSync } from "@electric-sql/pglite-sync";
import { streamOptions } from "./harness/electric.mjs";
import { folder } from "./harness/processes.mjs";
import { equal, within } from "./harness/wait.mjs";
import { inEverySetting, inOneWorld } from "./harness/world.mjs";

const ISSUES = `CREATE TABLE issues (id int8 PRIMARY KEY, title text NOT NULL, done bool, price numeric(8,2), tags text[],
  doc jsonb, at timestamptz, token uuid)`;
const BANK = `CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
  CREATE TABLE transfers (id int PRIMARY KEY, source int NOT NULL, target int NOT NULL)`;
const SAMPLE = `INSERT INTO issues SELECT g, 'it''s "' || g || '"', g % 2 = 0, g * 1.25, ARRAY['a', '', g::text],
  jsonb_build_object('g', g, 'text', E'tab\\t "quoted"'), '2026-08-04 10:00+00'::timestamptz + g * interval '1 min', md5(g::text)::uuid FROM generate_series(1, 500) g;
  INSERT INTO issues (id, title) VALUES (-1, '')`;

// The plugin writes neither arrays nor objects as CSV, and no 64-bit integers as JSON.
const PLAIN =
  "CREATE TABLE issues (id int PRIMARY KEY, title text NOT NULL, done bool, price numeric(8,2), at timestamptz, token uuid)";
const PLAIN_SAMPLE = `INSERT INTO issues SELECT g, 'it''s, "' || g || '"', g % 2 = 0, g * 1.25, '2026-08-04 10:00+00'::timestamptz + g * interval '1 min',
  md5(g::text)::uuid FROM generate_series(1, 500) g; INSERT INTO issues (id, title) VALUES (-1, E'two\nlines')`;

/** A PGlite with the plugin; it is closed with its test. */
async function open({ onEnd }, schema, directory) {
  const pglite = await PGlite.create({ dataDir: directory, extensions: { electric: electricSync() } });
  if (schema) await pglite.exec(`SET timezone = 'UTC'; ${schema}`);
  onEnd(() => close(pglite));
  return pglite;
}

/** Closes behind the plugin, which does not wait for its own last transaction. */
async function close(pglite) {
  if (pglite.closed) return;
  await pglite.transaction(() => {});
  await pglite.close();
}

/** Both databases print their rows in the same way, so that text can be compared. */
const printed = (table) => `SELECT ${table}::text AS row FROM ${table} ORDER BY id`;

async function agree({ sql }, pglite, ...tables) {
  for (const table of tables) {
    const here = async () => (await pglite.query(printed(table))).rows;
    await equal(`PGlite's ${table}`, here, () => sql(printed(table)));
  }
}

/** Resolves once the first rows are in; errors of the sync reject. */
async function initial({ onEnd }, start) {
  let loaded, failed;
  const initialSync = new Promise((resolve, reject) => ([loaded, failed] = [resolve, reject]));
  const sync = await start({ onInitialSync: loaded, onError: failed });
  onEnd(sync.unsubscribe);
  await within("the initial sync", initialSync);
  return sync;
}

for (const initialInsertMethod of ["insert", "csv", "json"]) {
  const [schema, sample] = initialInsertMethod === "insert" ? [ISSUES, SAMPLE] : [PLAIN, PLAIN_SAMPLE];
  inEverySetting(
    `one table, first rows by ${initialInsertMethod}`,
    { schema: `${schema}; ${sample}` },
    async (world) => {
      const { sql, disturb } = world;
      const pglite = await open(world, schema);
      const shape = streamOptions(world, { table: "issues" });
      await initial(world, (events) =>
        pglite.electric.syncShapeToTable({
          shape,
          table: "issues",
          primaryKey: ["id"],
          shapeKey: null,
          initialInsertMethod,
          ...events,
        }),
      );
      await agree(world, pglite, "issues");
      await sql(
        "UPDATE issues SET at = NULL, token = NULL, price = price * 2 WHERE id % 3 = 0; DELETE FROM issues WHERE id % 7 = 0",
      );
      await disturb(() => sql("INSERT INTO issues (id, title, price) VALUES (1000, 'late', 'NaN')"));
      await sql(
        "BEGIN; UPDATE issues SET id = -id WHERE id BETWEEN 100 AND 110; DELETE FROM issues WHERE id = 1; INSERT INTO issues (id, title) VALUES (1, 'again'); COMMIT",
      );
      await agree(world, pglite, "issues");
      await sql("TRUNCATE issues; INSERT INTO issues (id, title) VALUES (5, 'anew')");
      await agree(world, pglite, "issues");
    },
  );
}

/** Moves a coin, in one transaction over both tables. */
const transfer = (id) => `BEGIN; INSERT INTO transfers VALUES (${id}, ${1 + (id % 10)}, ${1 + ((id + 3) % 10)});
  UPDATE accounts SET balance = balance - 1 WHERE id = ${1 + (id % 10)}; UPDATE accounts SET balance = balance + 1 WHERE id = ${1 + ((id + 3) % 10)}; COMMIT`;
const COINS = `${BANK}; INSERT INTO accounts SELECT g, 100 FROM generate_series(1, 10) g`;

/** What every transaction keeps: the coins, and that balances follow from the transfers. */
const INVARIANT = `SELECT sum(balance)::int AS coins, count(*)::int AS accounts, bool_and(balance = 100
    - (SELECT count(*) FROM transfers WHERE source = a.id) + (SELECT count(*) FROM transfers WHERE target = a.id)) AS fits FROM accounts a`;
const KEPT = { coins: 1000, accounts: 10, fits: true };

const bank = (world) => ({
  accounts: { shape: streamOptions(world, { table: "accounts" }), table: "accounts", primaryKey: ["id"] },
  transfers: { shape: streamOptions(world, { table: "transfers" }), table: "transfers", primaryKey: ["id"] },
});

for (const initialInsertMethod of ["insert", "csv"]) {
  inEverySetting(
    `several tables in one transaction, first rows by ${initialInsertMethod}`,
    { schema: COINS },
    async (world) => {
      const { sql, disturb } = world;
      for (let id = 1; id <= 20; id++) await sql(transfer(id));
      const pglite = await open(world, BANK);
      await initial(world, (events) =>
        pglite.electric.syncShapesToTables({ key: null, shapes: bank(world), initialInsertMethod, ...events }),
      );
      const [odd, reading] = [[], { on: true }];
      const reader = (async () => {
        while (reading.on) {
          const [row] = (await pglite.query(INVARIANT)).rows;
          if (JSON.stringify(row) !== JSON.stringify(KEPT)) odd.push(row);
          await new Promise(setImmediate);
        }
      })();
      for (let id = 21; id <= 60; id++) await sql(transfer(id));
      await disturb(async () => {
        for (let id = 61; id <= 80; id++) await sql(transfer(id));
      });
      for (let id = 81; id <= 100; id++) await sql(transfer(id));
      await agree(world, pglite, "accounts", "transfers");
      reading.on = false;
      await reader;
      assert.deepEqual(odd, [], "no half transaction is ever visible");
    },
  );
}

inEverySetting(
  "PGlite is closed and opened, and resumes by its key",
  { schema: COINS, tapped: true },
  async (world) => {
    const { sql, disturb, tap } = world;
    const directory = folder("pglite");
    const first = await open(world, BANK, directory);
    const start = (pglite) => (events) =>
      pglite.electric.syncShapesToTables({ key: "bank", shapes: bank(world), ...events });
    const sync = await initial(world, start(first));
    for (let id = 1; id <= 10; id++) await sql(transfer(id));
    await agree(world, first, "accounts", "transfers");
    sync.unsubscribe();
    await close(first);
    for (let id = 11; id <= 20; id++) await sql(transfer(id));
    await disturb();
    tap.clear();
    const second = await open(world, undefined, directory);
    await initial(world, start(second));
    await agree(world, second, "accounts", "transfers");
    await sql(transfer(21));
    await agree(world, second, "accounts", "transfers");
    const offsets = tap.requests.map(({ query }) => query.get("offset"));
    assert.ok(offsets.length > 0 && !offsets.includes("-1"), `resumed, not fetched again: ${offsets}`);
  },
);

inOneWorld("a shape that was reset while PGlite was closed is fetched again", { schema: COINS }, async (world) => {
  const { sql, onEnd } = world;
  const directory = folder("pglite");
  const first = await open(world, BANK, directory);
  const start = (pglite) => (events) =>
    pglite.electric.syncShapesToTables({ key: "bank", shapes: bank(world), ...events });
  const sync = await initial(world, start(first));
  await agree(world, first, "accounts", "transfers");
  sync.unsubscribe();
  await close(first);
  await sql("TRUNCATE accounts, transfers; INSERT INTO accounts VALUES (1, 5); INSERT INTO transfers VALUES (9, 9, 9)");
  const second = await open(world, undefined, directory);
  onEnd((await start(second)({})).unsubscribe);
  await agree(world, second, "accounts", "transfers");
});
