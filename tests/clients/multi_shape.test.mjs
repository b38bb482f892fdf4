// Proves that several shapes can be kept in step by their log positions: a transaction over two tables is delivered
// as one, in its own order, however busy both tables are.
import assert from "node:assert/strict";
import { isChangeMessage, isControlMessage } from "@electric-sql/client";
import { MultiShapeStream, TransactionalMultiShapeStream, matchBy, matchStream } from "@electric-sql/experimental";
import { byId, streamOptions } from "./harness/electric.mjs";
import { equal, until, within } from "./harness/wait.mjs";
import { inEverySetting } from "./harness/world.mjs";

const BANK = `
  CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
  CREATE TABLE transfers (id int PRIMARY KEY, source int NOT NULL, target int NOT NULL);
  INSERT INTO accounts SELECT g, 100 FROM generate_series(1, 10) g`;

/** Moves one coin, in one transaction over both tables. */
const transfer = (id) => {
  const [source, target] = [1 + (id % 10), 1 + ((id * 3 + 1) % 10)];
  return `BEGIN; UPDATE accounts SET balance = balance - 1 WHERE id = ${source}; INSERT INTO transfers VALUES (${id}, ${source}, ${target});
    UPDATE accounts SET balance = balance + 1 WHERE id = ${target}; COMMIT`;
};

const shapes = (world) => ({
  accounts: streamOptions(world, { table: "accounts", replica: "full" }),
  transfers: streamOptions(world, { table: "transfers" }),
});

/** Tables as the messages leave them. */
class Tables {
  accounts = new Map();
  transfers = new Map();

  apply(message) {
    const { shape, key, value, headers } = message;
    if (headers.control === "must-refetch") this[shape].clear();
    if (!isChangeMessage(message)) return;
    if (headers.operation === "delete") this[shape].delete(key);
    else this[shape].set(key, { ...this[shape].get(key), ...value });
  }

  rows = (name) => () => byId([...this[name].values()]);
}

async function agree({ sql }, tables) {
  for (const name of ["accounts", "transfers"])
    await equal(`all ${name}`, tables.rows(name), () => sql(`SELECT * FROM ${name} ORDER BY id`));
}

inEverySetting("a transaction over two tables is delivered as one", { schema: BANK }, async (world) => {
  const { sql, disturb } = world;
  const stream = new TransactionalMultiShapeStream({ shapes: shapes(world) });
  const [tables, batches, odd] = [new Tables(), [], []];
  stream.subscribe((messages) => {
    batches.push(messages);
    messages.forEach((message) => tables.apply(message));
    const moved = [...tables.accounts.values()].reduce((sum, { balance }) => sum + balance, 0);
    if (tables.accounts.size !== 10 || moved !== 1000) odd.push(`${tables.accounts.size} accounts hold ${moved}`);
  });
  await agree(world, tables);
  let last = 0;
  const send = async (count) => {
    for (const end = last + count; last < end;) await sql(transfer(++last));
  };
  await send(30);
  await agree(world, tables);
  await disturb(() => send(30));
  await send(30);
  await agree(world, tables);
  assert.deepEqual(odd, [], "no coin is ever under way");
  const transactions = batches.flatMap((messages) => [...grouped(messages)]);
  const sizes = transactions.filter(([at]) => at !== undefined).map(([, messages]) => messages.length);
  assert.equal(sizes.length, last, "every transaction came in one batch");
  assert.ok(
    sizes.every((size) => size === 3),
    `sizes ${[...new Set(sizes)]}`,
  );
  for (const [, messages] of transactions.filter(([at]) => at !== undefined)) {
    assert.deepEqual(
      messages.map(({ shape }) => shape),
      ["accounts", "transfers", "accounts"],
      "in the order of its statements",
    );
  }
});

const lsn = ({ headers }) => headers.lsn;

function grouped(messages) {
  const groups = new Map();
  for (const message of messages) groups.set(lsn(message), [...(groups.get(lsn(message)) ?? []), message]);
  return groups.entries();
}

inEverySetting(
  "a quiet shape learns within moments how far the busy one is",
  { schema: BANK, longPoll: "20s" },
  async (world) => {
    const { sql, disturb } = world;
    const stream = new MultiShapeStream({ shapes: shapes(world) });
    const [tables, reached] = [new Tables(), { accounts: 0n, transfers: 0n }];
    stream.subscribe((messages) =>
      messages.forEach((message) => {
        tables.apply(message);
        if (isControlMessage(message) && message.headers.control === "up-to-date")
          reached[message.shape] = BigInt(message.headers.global_last_seen_lsn);
      }),
    );
    await until("both are up to date", () => stream.isUpToDate);
    await sql("UPDATE accounts SET balance = 7 WHERE id = 7");
    await agree(world, tables);
    // The client asks the quiet shape again after 100 ms; the 20 s of a long poll are not waited for.
    await until(
      "the quiet shape has caught up",
      () => reached.transfers >= reached.accounts && reached.accounts > 0n,
      5_000,
    );
    await disturb(() => sql("INSERT INTO transfers VALUES (1, 1, 2)"));
    await agree(world, tables);
    await until("and the other way round", () => reached.accounts >= reached.transfers, 5_000);
  },
);

inEverySetting("matchStream finds a change", { schema: BANK }, async (world) => {
  const { sql, disturb } = world;
  const stream = new MultiShapeStream({ shapes: shapes(world) });
  stream.subscribe(() => {});
  await until("both are up to date", () => stream.isUpToDate);
  const found = matchStream(stream.shapes.transfers, ["insert"], matchBy("id", 77), 30_000);
  await disturb(() => sql("INSERT INTO transfers VALUES (76, 1, 2), (77, 3, 4)"));
  const { value } = await within("the match", found);
  assert.deepEqual({ ...value }, { id: 77, source: 3, target: 4 });
});
