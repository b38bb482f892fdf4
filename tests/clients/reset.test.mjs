// Proves that a handle that was declared dead by a 409 is never served again: whoever asks anew right after the 409
// gets a new handle with the new contents, however many ask at the same moment.
import assert from "node:assert/strict";
import { inOneWorld } from "./harness/world.mjs";

const TABLES = `CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes VALUES (1, 'one')`;
const FILTERS = ["id > 0", "id > 1", "id >= 1", "body IS NOT NULL", "body = 'one'", "id < 100"];

inOneWorld("no answer carries a handle after its 409", { schema: TABLES, longPoll: "10s" }, async ({ sql, url }) => {
  const shape = (filter) => `${url}?table=notes&where=${encodeURIComponent(filter)}`;
  const dead = [];
  for (let round = 1; round <= 15; round++) {
    const handles = await Promise.all(
      FILTERS.map(async (filter) => {
        const answer = await fetch(`${shape(filter)}&offset=-1`);
        await answer.text();
        return answer.headers.get("electric-handle");
      }),
    );
    const refetched = FILTERS.map(async (filter, at) => {
      const parked = await fetch(`${shape(filter)}&offset=0_inf&handle=${handles[at]}&live=true`);
      assert.equal(parked.status, 409, await parked.text());
      const anew = await fetch(`${shape(filter)}&offset=-1`);
      const rows = (await anew.json()).filter(({ value }) => value).map(({ value }) => value.body);
      return { filter, handle: anew.headers.get("electric-handle"), rows };
    });
    await sql(`TRUNCATE notes; INSERT INTO notes VALUES (${round + 1}, 'round ${round}')`);
    for (const [at, { filter, handle, rows }] of (await Promise.all(refetched)).entries()) {
      dead.push(handles[at]);
      const expected = (await sql(`SELECT body FROM notes WHERE ${filter}`)).map(({ body }) => body);
      if (dead.includes(handle)) assert.fail(`round ${round}: ${filter} came with the dead handle ${handle}`);
      assert.deepEqual(rows, expected, `round ${round}: ${filter}`);
    }
  }
});
