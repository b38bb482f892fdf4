// Proves that the tests can fail: the strict reader objects, waits end and say why, missing programs are named, and
// nothing stays behind, however a test ends.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { Log, agrees, byId } from "./harness/electric.mjs";
import { program } from "./harness/processes.mjs";
import { equal, until, within } from "./harness/wait.mjs";

const message = (operation, key) => ({ key, value: {}, headers: { operation } });

function read(...messages) {
  let deliver;
  const log = new Log({ subscribe: (callback) => (deliver = callback) });
  deliver(messages);
  return log;
}

test("the strict reader takes an exact log", () => {
  const again = { headers: { control: "must-refetch" } };
  const log = read(
    message("insert", "a"),
    message("update", "a"),
    message("delete", "a"),
    message("insert", "a"),
    again,
    message("insert", "a"),
  );
  assert.deepEqual(log.breaches, []);
  assert.equal(log.refetches, 1);
});

test("the strict reader objects to what comes twice or from nowhere", () => {
  const log = read(message("insert", "a"), message("insert", "a"), message("update", "b"), message("delete", "c"));
  assert.deepEqual(log.breaches, ["insert of a, known", "update of b, unknown", "delete of c, unknown"]);
});

test("the right rows by a wrong log are a failure", async () => {
  const rows = [{ id: 1 }];
  const world = { sql: async () => rows };
  await agrees(world, { rows: () => rows, log: read(message("insert", "a")) }, "SELECT");
  const follower = { rows: () => rows, log: read(message("insert", "a"), message("insert", "a")) };
  await assert.rejects(agrees(world, follower, "SELECT"), /not exact.*insert of a/s);
});

test("rows are sorted by id, then by content", () => {
  assert.deepEqual(byId([{ id: 10 }, { id: 9n }, { id: 2, a: 2 }, { id: 2, a: 1 }]), [
    { id: 2, a: 1 },
    { id: 2, a: 2 },
    { id: 9n },
    { id: 10 },
  ]);
});

test("waits end and say what they waited for", async () => {
  await assert.rejects(within("the answer", new Promise(() => {}), 20), /the answer: not within 20 ms/);
  await assert.rejects(
    until("a truth", () => 0, 20),
    /a truth: not within 20 ms, last seen 0/,
  );
  await assert.rejects(
    equal("rows", () => [1], [2], 20),
    /rows: not within 20 ms.*expected \[ 2 \].*actual +\[ 1 \]/s,
  );
});

test("a missing program is named, with what to do", () => {
  assert.throws(
    () => program("nginx", ["/nowhere/nginx"]),
    /nginx was not found in \/nowhere\/nginx: run .\/tests\/run/,
  );
});

const WORLD = `
  import { Nginx } from "./harness/nginx.mjs";
  import { postgres } from "./harness/postgres.mjs";
  import { Server } from "./harness/server.mjs";
  const cluster = await postgres();
  const server = await Server.start(await cluster.database());
  const nginx = await Nginx.start(server.address);
  console.log(JSON.stringify([cluster, server, nginx].map(({ folder, child }) => ({ folder, pid: child.process.pid }))));
  setInterval(() => {}, 1000);`;

for (const [how, end] of [
  ["SIGTERM", ""],
  ["an exception", "throw new Error('on purpose');"],
  ["its own end", "process.exit(0);"],
]) {
  test(`nothing stays behind after ${how}`, { timeout: 60_000 }, async () => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", WORLD + end], {
      cwd: new URL(".", import.meta.url),
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    const started = JSON.parse(line);
    assert.equal(started.length, 3);
    if (!end) child.kill(how);
    await once(child, "exit");
    for (const { folder, pid } of started) {
      await until(`process ${pid} has gone`, () => !isAlive(pid), 10_000);
      assert.ok(!existsSync(folder), folder);
    }
  });
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
