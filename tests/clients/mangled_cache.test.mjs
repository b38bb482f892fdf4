// Proves that caches which ignore or drop the parameters meant for them do not keep a client from the truth: after
// every change of the handle it shows Postgres' rows again, within a bounded number of requests.
import assert from "node:assert/strict";
import { agrees, follow } from "./harness/electric.mjs";
import { inOneWorld } from "./harness/world.mjs";

const NOTES = "CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes VALUES (1, 'one'), (2, 'two')";
const ALL = "SELECT * FROM notes";
// A client that is handed stale answers tries 17 times at most until it starts over; twice that where a cache is filled
// with another stale answer meanwhile.
const REQUESTS_MAX = 34;

const MANGLED = [
  [],
  ["cache-buster"],
  ["expired_handle"],
  ["cache-buster", "expired_handle"],
  ["cursor"],
  ["log"],
  ["cache-buster", "expired_handle", "cursor", "log"],
];
const CASES = ["ignore", "strip"]
  .flatMap((treatment) => MANGLED.map((parameters) => ({ treatment, parameters })))
  .slice(1);
// What an answer is about must at least reach the origin; a cache may still confuse it.
CASES.push({ treatment: "ignore", parameters: ["handle"] });

/** The client with its requests counted. */
function counted(world) {
  const client = { requests: [] };
  const fetchClient = (url, init) => {
    client.requests.push(String(url));
    return fetch(url, init);
  };
  return Object.assign(
    client,
    follow(world, { table: "notes" }, { fetchClient, onError: (error) => void (client.error = error) }),
  );
}

for (const cache of CASES) {
  const what = cache.parameters.length ? `${cache.treatment}s ${cache.parameters.join(", ")}` : "keeps everything";
  inOneWorld(
    `a cache that ${what}`,
    { schema: NOTES, cached: true, tapped: true, cache, longPoll: "1s" },
    async (world) => {
      const { t, sql, server } = world;
      const old = counted(world);
      await agrees(world, old, ALL);
      const counts = [];
      for (let turn = 1; turn <= 3; turn++) {
        const before = old.requests.length;
        await sql(`BEGIN; TRUNCATE notes; INSERT INTO notes VALUES (${turn}, 'turn ${turn}'); COMMIT`);
        await settles(world, old, counts, before);
        // Somebody who comes now may be handed whatever the cache still holds.
        const late = counted(world);
        await settles(world, late, counts, 0);
        await sql(`INSERT INTO notes VALUES (${turn + 10}, 'later')`);
        await agrees(world, old, ALL, { strict: false });
        await agrees(world, late, ALL, { strict: false });
        if (turn === 2) {
          await server.kill();
          await server.resume();
        }
      }
      t.diagnostic(`requests until the rows were right: ${counts.join(" ")}`);
      assert.ok(Math.max(...counts) <= REQUESTS_MAX, `requests: ${counts}`);
    },
  );
}

async function settles(world, client, counts, before) {
  await agrees(world, client, ALL, { strict: false }).catch((error) => {
    throw new Error(
      `${error.message}\n${client.error ?? ""}\n${client.requests.slice(before).slice(0, 60).join("\n")}`,
    );
  });
  counts.push(client.requests.length - before);
}
