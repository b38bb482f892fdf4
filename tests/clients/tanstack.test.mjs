// Proves TanStack DB collections over the server: all three sync modes, live queries that agree with Postgres while
// others write, and optimistic writes that settle when the stream shows their transaction.
import assert from "node:assert/strict";
import {
  BTreeIndex,
  and,
  createCollection,
  createLiveQueryCollection,
  eq,
  gte,
  ilike,
  inArray,
  isNull,
  not,
  or,
} from "@tanstack/db";
import { electricCollectionOptions } from "@tanstack/electric-db-collection";
import { byId, streamOptions } from "./harness/electric.mjs";
import { equal, within } from "./harness/wait.mjs";
import { inEverySetting, inOneWorld } from "./harness/world.mjs";

const TODOS = `
  CREATE TABLE todos (id int PRIMARY KEY, text text NOT NULL, done bool NOT NULL, rank int NOT NULL, note text, at timestamptz);
  CREATE TABLE lists (id int PRIMARY KEY, name text NOT NULL);
  INSERT INTO lists SELECT g, 'list ' || g FROM generate_series(0, 9) g;
  INSERT INTO todos SELECT g, 'todo ' || g % 10, g % 3 = 0, (g * 37) % 1000, CASE WHEN g % 4 = 0 THEN 'note ' || g END,
    '2026-01-01'::timestamptz + g * interval '1 hour' FROM generate_series(1, 300) g`;

const MODES = ["eager", "on-demand", "progressive"];

function collection(world, syncMode, { table = "todos", ...options } = {}) {
  const shapeOptions = streamOptions(world, { table, ...(syncMode === "on-demand" && { replica: "full" }) });
  // With indexes a query for the first ten rows loads ten rows, and then what comes after them.
  const indexes = { autoIndex: "eager", defaultIndexType: BTreeIndex };
  const id = `${table}-${syncMode}-${Math.random()}`;
  const made = createCollection({
    ...electricCollectionOptions({ id, shapeOptions, syncMode, getKey: (row) => row.id, ...options }),
    ...indexes,
  });
  world.onEnd(() => made.cleanup());
  return made;
}

/** Live queries, with the same said to Postgres. */
const QUERIES = [
  [
    (q, todos) => q.from({ t: todos }).where(({ t }) => and(eq(t.done, true), gte(t.rank, 500))),
    "SELECT * FROM todos WHERE done AND rank >= 500",
  ],
  [
    (q, todos) =>
      q
        .from({ t: todos })
        .where(({ t }) => or(inArray(t.text, ["todo 1", "todo 2"]), isNull(t.note)))
        .orderBy(({ t }) => t.id),
    "SELECT * FROM todos WHERE text = ANY('{todo 1,todo 2}') OR note IS NULL",
  ],
  [
    (q, todos) => q.from({ t: todos }).where(({ t }) => and(ilike(t.text, "TODO 7%"), not(eq(t.done, true)))),
    "SELECT * FROM todos WHERE text ILIKE 'TODO 7%' AND NOT done",
  ],
  [
    (q, todos) =>
      q
        .from({ t: todos })
        .orderBy(({ t }) => t.rank, "desc")
        .limit(10),
    "SELECT * FROM (SELECT * FROM todos ORDER BY rank DESC LIMIT 10) t",
  ],
];

async function agree({ sql }, live, query, what) {
  await equal(
    `${what}: ${query}`,
    () => byId(live.toArray.map(own)),
    async () => byId(await sql(query)),
  );
}

/** A row without what the library adds to it. */
const own = (row) => Object.fromEntries(Object.entries(row).filter(([name]) => !name.startsWith("$")));

/** Looks at the wire: an eager collection loads everything, one on demand only subsets. */
function assertHowLoaded(mode, { requests }) {
  const subsets = requests.filter(({ query }) => query.has("subset__where") || query.has("subset__limit"));
  if (mode === "eager") assert.equal(subsets.length, 0);
  if (mode !== "on-demand") return;
  assert.ok(subsets.length >= QUERIES.length, `${subsets.length} subsets`);
  assert.ok(
    subsets.some(({ query }) => query.get("subset__limit") === "10"),
    "the first rows only",
  );
  assert.ok(
    requests.every(({ query }) => query.get("log") === "changes_only"),
    "nothing was loaded whole",
  );
}

for (const mode of MODES) {
  inEverySetting(`live queries, ${mode}`, { schema: TODOS, tapped: true }, async (world) => {
    const { sql, disturb, onEnd, tap } = world;
    const todos = collection(world, mode);
    const lives = QUERIES.map(([query]) => createLiveQueryCollection({ query: (q) => query(q, todos) }));
    onEnd(() => Promise.all(lives.map((live) => live.cleanup())));
    await within("all queries are loaded", Promise.all(lives.map((live) => live.preload())));
    const all = async (what) => {
      for (const [at, [, query]] of QUERIES.entries()) await agree(world, lives[at], query, what);
    };
    await all("loaded");
    assertHowLoaded(mode, tap);
    await sql("UPDATE todos SET done = NOT done WHERE id % 5 = 0");
    await all("after updates");
    await disturb(() =>
      sql(
        "DELETE FROM todos WHERE id % 11 = 0; INSERT INTO todos SELECT 1000 + g, 'todo 7', false, 2000 + g, NULL, NULL FROM generate_series(1, 5) g",
      ),
    );
    await all("after deletes and inserts");
    await sql("UPDATE todos SET rank = rank + 3000, text = 'todo 1' WHERE id BETWEEN 20 AND 25");
    await all("after rows moved into the queries");
  });

  inEverySetting(`optimistic writes settle by transaction id, ${mode}`, { schema: TODOS }, async (world) => {
    const { sql, disturb, onEnd } = world;
    const write = async (statement, values) => {
      const [{ txid }] = await sql(`${statement} RETURNING pg_current_xact_id()::xid::text AS txid`, values);
      return { txid: Number(txid), timeout: 20_000 };
    };
    const todos = collection(world, mode, {
      onInsert: ({ transaction: { mutations } }) => {
        const { id, text, done, rank } = mutations[0].modified;
        return write("INSERT INTO todos VALUES ($1, $2, $3, $4)", [id, text, done, rank]);
      },
      onUpdate: ({ transaction: { mutations } }) =>
        write("UPDATE todos SET done = $2 WHERE id = $1", [mutations[0].original.id, mutations[0].changes.done]),
      onDelete: ({ transaction: { mutations } }) =>
        write("DELETE FROM todos WHERE id = $1", [mutations[0].original.id]),
    });
    const QUERY = "SELECT * FROM todos WHERE text = 'todo 3'";
    const live = createLiveQueryCollection({
      query: (q) => q.from({ t: todos }).where(({ t }) => eq(t.text, "todo 3")),
    });
    onEnd(() => live.cleanup());
    await within("the query is loaded", live.preload());
    const row = { id: 5000, text: "todo 3", done: false, rank: 1, note: null, at: null };
    await within("the insert settles", todos.insert(row).isPersisted.promise);
    await agree(world, live, QUERY, "after the insert");
    const update = todos.update(5000, (draft) => void (draft.done = true));
    await disturb();
    await within("the update settles", update.isPersisted.promise);
    await agree(world, live, QUERY, "after the update");
    await within("the delete settles", todos.delete(5000).isPersisted.promise);
    await agree(world, live, QUERY, "after the delete");
    const { txid } = await write("UPDATE todos SET rank = -1 WHERE id = 3");
    assert.equal(await todos.utils.awaitTxId(txid, 10_000), true, "somebody else's transaction");
  });
}

inOneWorld("a transaction of before the snapshot counts as seen", { schema: TODOS }, async (world) => {
  const [{ txid }] = await world.sql(
    "UPDATE todos SET rank = 1 WHERE id = 1 RETURNING pg_current_xact_id()::xid::text AS txid",
  );
  const todos = collection(world, "eager");
  await within("the collection is loaded", todos.preload());
  assert.equal(await todos.utils.awaitTxId(Number(txid), 1_000), true);
  await assert.rejects(todos.utils.awaitTxId(Number(txid) + 1_000_000, 200), /[Tt]imeout/);
});

inEverySetting("a join of two collections", { schema: TODOS }, async (world) => {
  const { sql, disturb, onEnd } = world;
  const [todos, lists] = [collection(world, "eager"), collection(world, "eager", { table: "lists" })];
  const live = createLiveQueryCollection({
    query: (q) =>
      q
        .from({ t: todos })
        .innerJoin({ l: lists }, ({ t, l }) => eq(t.rank, l.id))
        .select(({ t, l }) => ({ id: t.id, name: l.name })),
  });
  onEnd(() => live.cleanup());
  await within("the join is loaded", live.preload());
  const QUERY = "SELECT t.id, l.name FROM todos t JOIN lists l ON t.rank = l.id";
  await agree(world, live, QUERY, "loaded");
  await sql("UPDATE todos SET rank = id % 10 WHERE id < 30; DELETE FROM lists WHERE id = 3");
  await agree(world, live, QUERY, "after a change of both");
  await disturb(() => sql("UPDATE lists SET name = name || '!'"));
  await agree(world, live, QUERY, "after new names");
});

inEverySetting("a TRUNCATE empties and refills a collection", { schema: TODOS }, async (world) => {
  const { sql, disturb } = world;
  const todos = collection(world, "eager");
  await within("the collection is loaded", todos.preload());
  await agree(world, todos, "SELECT * FROM todos", "loaded");
  await disturb(() => sql("TRUNCATE todos; INSERT INTO todos VALUES (1, 'anew', false, 1, NULL, NULL)"));
  await agree(world, todos, "SELECT * FROM todos", "after the TRUNCATE");
  await sql("INSERT INTO todos VALUES (2, 'more', false, 1, NULL, NULL)");
  await agree(world, todos, "SELECT * FROM todos", "after more");
});
