// Proves what ShapeStream offers beyond rows: full replicas with old values, changes only, mapped columns, own
// parsers, and errors from which a handler recovers.
import assert from "node:assert/strict";
import { FetchError, snakeCamelMapper } from "@electric-sql/client";
import { agrees, byId, follow } from "./harness/electric.mjs";
import { equal, until } from "./harness/wait.mjs";
import { inEverySetting, inOneWorld } from "./harness/world.mjs";

const TASKS = `
  CREATE TABLE tasks (id int PRIMARY KEY, task_title text NOT NULL, assigned_to text, due_at timestamptz);
  INSERT INTO tasks VALUES (1, 'one', 'ann', '2026-08-04 10:00+00'), (2, 'two', NULL, NULL)`;
const ALL = "SELECT * FROM tasks";

const told = ({ log }) => log.changes.map(({ headers, value, old_value }) => [headers.operation, value, old_value]);

inEverySetting("replica=full tells whole rows and old values", { schema: TASKS }, async (world) => {
  const { sql, disturb } = world;
  const full = follow(world, { table: "tasks", replica: "full", columns: ["id", "task_title", "assigned_to"] });
  await agrees(world, full, "SELECT id, task_title, assigned_to FROM tasks");
  const snapshot = told(full).length;
  await sql("UPDATE tasks SET assigned_to = 'bob' WHERE id = 1");
  await disturb(() => sql("UPDATE tasks SET due_at = now() WHERE id = 1"));
  await sql("DELETE FROM tasks WHERE id = 1");
  await sql("UPDATE tasks SET id = 20, assigned_to = 'eve' WHERE id = 2");
  const one = { id: 1, task_title: "one", assigned_to: "bob" };
  const two = { id: 2, task_title: "two", assigned_to: null };
  await equal("every change with its whole row", () => told(full).slice(snapshot), [
    ["update", one, { assigned_to: "ann" }],
    ["delete", one, undefined],
    ["delete", two, undefined],
    ["insert", { ...two, id: 20, assigned_to: "eve" }, undefined],
  ]);
  await agrees(world, full, "SELECT id, task_title, assigned_to FROM tasks");
});

inEverySetting("replica=default tells keys and what changed", { schema: TASKS }, async (world) => {
  const { sql, disturb } = world;
  const lean = follow(world, { table: "tasks" });
  await agrees(world, lean, ALL);
  const snapshot = told(lean).length;
  await disturb(() => sql("UPDATE tasks SET assigned_to = 'bob', task_title = task_title WHERE id = 1"));
  await sql("DELETE FROM tasks WHERE id = 2");
  await equal("every change, lean", () => told(lean).slice(snapshot), [
    ["update", { id: 1, assigned_to: "bob" }, undefined],
    ["delete", { id: 2 }, undefined],
  ]);
});

inEverySetting("log=changes_only starts without rows", { schema: TASKS }, async (world) => {
  const { sql, disturb } = world;
  const changes = follow(world, { table: "tasks" }, { log: "changes_only" });
  await until("up to date", () => changes.stream.isUpToDate);
  assert.deepEqual(changes.rows(), []);
  await disturb(() => sql("INSERT INTO tasks VALUES (3, 'three')"));
  await sql("UPDATE tasks SET task_title = 'eins' WHERE id = 1; UPDATE tasks SET task_title = 'drei' WHERE id = 3");
  await equal(
    "all changes arrive",
    () => told(changes).map(([operation, { id, task_title }]) => [operation, id, task_title]),
    [
      ["insert", 3, "three"],
      ["update", 1, "eins"],
      ["update", 3, "drei"],
    ],
  );
  await equal("the client keeps what it was told from the start", changes.rows, () => sql(`${ALL} WHERE id = 3`));
});

inEverySetting("log=changes_only from now on", { schema: TASKS }, async (world) => {
  const { sql, disturb } = world;
  const changes = follow(world, { table: "tasks", replica: "full" }, { log: "changes_only", offset: "now" });
  await until("up to date", () => changes.stream.isUpToDate);
  await sql("UPDATE tasks SET task_title = 'deux' WHERE id = 2");
  const two = { id: 2, assigned_to: null, due_at: null };
  const deux = ["update", { ...two, task_title: "deux" }, { task_title: "two" }];
  await equal("the change arrives whole", () => told(changes), [deux]);
  await disturb(() => sql("UPDATE tasks SET task_title = 'zwei' WHERE id = 2"));
  const zwei = ["update", { ...two, task_title: "zwei" }, { task_title: "deux" }];
  await equal("and the next one", () => told(changes), [deux, zwei]);
});

inEverySetting("mapped columns, in filters as well", { schema: TASKS }, async (world) => {
  const { sql, disturb } = world;
  const params = {
    table: "tasks",
    columns: ["id", "taskTitle", "assignedTo"],
    where: "assignedTo = $1",
    params: ["ann"],
  };
  const mapped = follow(world, params, { columnMapper: snakeCamelMapper() });
  const QUERY = `SELECT id, task_title AS "taskTitle", assigned_to AS "assignedTo" FROM tasks WHERE assigned_to = 'ann'`;
  await agrees(world, mapped, QUERY);
  await disturb(() =>
    sql("UPDATE tasks SET assigned_to = 'ann' WHERE id = 2; UPDATE tasks SET task_title = 'eins' WHERE id = 1"),
  );
  await agrees(world, mapped, QUERY);
});

inEverySetting("own parsers and a transformer", { schema: TASKS }, async (world) => {
  const { sql, disturb } = world;
  const parsed = follow(
    world,
    { table: "tasks", columns: ["id", "task_title", "due_at"] },
    {
      parser: { timestamptz: (value) => new Date(value), int4: (value) => Number(value) * 10 },
      transformer: (row) => (row.task_title ? { ...row, task_title: row.task_title.toUpperCase() } : row),
    },
  );
  const expected = async () => {
    const rows = await sql("SELECT id * 10 AS id, upper(task_title) AS task_title, due_at FROM tasks");
    return byId(rows.map((row) => ({ ...row, due_at: row.due_at && new Date(row.due_at) })));
  };
  const seen = () => parsed.rows().map((row) => ({ ...row, due_at: row.due_at?.toISOString() ?? null }));
  const wanted = async () => (await expected()).map((row) => ({ ...row, due_at: row.due_at?.toISOString() ?? null }));
  await equal("the snapshot is parsed", seen, wanted);
  await disturb(() =>
    sql("UPDATE tasks SET due_at = '2027-01-02 03:04:05.678+00' WHERE id = 2; INSERT INTO tasks VALUES (3, 'three')"),
  );
  await equal("changes are parsed", seen, wanted);
});

inEverySetting("a handler repairs a filter that was refused", { schema: TASKS, secret: "s3cret" }, async (world) => {
  const { sql, disturb } = world;
  const errors = [];
  const onError = (error) => {
    errors.push(error);
    if (error.status === 401) return { params: { secret: "s3cret" } };
    if (error.status === 400) return { params: { where: "assigned_to IS NOT NULL" } };
  };
  const repaired = follow(world, { table: "tasks", where: "nobody_knows > 1" }, { onError });
  await agrees(world, repaired, `${ALL} WHERE assigned_to IS NOT NULL`);
  assert.deepEqual(
    errors.map(({ status }) => status),
    [401, 400],
  );
  assert.ok(errors.every((error) => error instanceof FetchError));
  assert.match(JSON.stringify(errors[1].json), /"errors":\{"where":\[".*nobody_knows/);
  await disturb(() => sql("UPDATE tasks SET assigned_to = 'zoe' WHERE id = 2"));
  await agrees(world, repaired, `${ALL} WHERE assigned_to IS NOT NULL`);
});

inOneWorld("without a handler a refusal ends the stream", { schema: TASKS }, async (world) => {
  const errors = [];
  const refused = follow(world, { table: "nowhere" }, { onError: (error) => void errors.push(error) });
  await until("the stream ends", () => refused.stream.error);
  assert.equal(refused.stream.error.status, 400);
  assert.match(JSON.stringify(refused.stream.error.json), /nowhere/);
  assert.equal(errors.length, 1, "asked once");
});
