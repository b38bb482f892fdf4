// Proves that a handle that was declared dead by a 409 is never served again: whoever asks anew right after the 409
// gets a new handle with the new contents, however young the shape was and however many ask at the same moment.
import assert from "node:assert/strict";
import { inOneWorld } from "./harness/world.mjs";

const NOTES = `CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes VALUES (1, 'one')`;
const ROUNDS = 12;

/** Follows a shape until it is told to start again, and then starts again at once. */
async function untilReset(shape, started) {
  const ask = async (query) => {
    const answer = await fetch(`${shape}&${query}`);
    return {
      status: answer.status,
      handle: answer.headers.get("electric-handle"),
      offset: answer.headers.get("electric-offset"),
      text: await answer.text(),
    };
  };
  let answer = await ask("offset=-1");
  const { handle } = answer;
  assert.equal(answer.status, 200, answer.text);
  started();
  while (answer.status === 200)
    answer = await ask(`offset=${answer.offset}&handle=${handle}${answer.offset === "0_0" ? "" : "&live=true"}`);
  assert.equal(answer.status, 409, answer.text);
  const anew = await ask("offset=-1");
  assert.equal(anew.status, 200, anew.text);
  const rows = JSON.parse(anew.text)
    .filter(({ value }) => value)
    .map(({ value }) => value.body);
  return { dead: handle, replacement: answer.handle, handle: anew.handle, rows };
}

const CASES = [
  { what: "a shape that is watched", watched: true },
  { what: "a shape that is watched, kill -9 in the middle", watched: true, killed: true },
  { what: "a shape that was just made", watched: false },
];

for (const { what, watched, killed } of CASES) {
  inOneWorld(
    `no answer carries a handle after its 409, ${what}`,
    { schema: NOTES, killed, longPoll: "10s" },
    async ({ sql, url, disturb }) => {
      const dead = new Set();
      for (let round = 1; round <= ROUNDS; round++) {
        if (round === ROUNDS / 2) await disturb();
        const filters = [
          "id > 0",
          "id > 1",
          "body IS NOT NULL",
          `id > -${round}`,
          `id < ${100 + round}`,
          `body <> 'r${round}'`,
        ];
        let ready;
        const allStarted = new Promise((resolve) => (ready = resolve));
        let count = 0;
        const following = filters.map((filter) =>
          untilReset(
            `${url}?table=notes&where=${encodeURIComponent(filter)}`,
            () => ++count >= (watched ? filters.length : 1) && ready(),
          ),
        );
        const failed = Promise.all(following).then(() => new Promise(() => {}));
        await Promise.race([allStarted, failed]);
        await sql(`TRUNCATE notes; INSERT INTO notes VALUES (${round + 1}, 'round ${round}')`);
        // Shapes that were made after it have not noticed: for them there is another.
        const again =
          count < filters.length && sql(`TRUNCATE notes; INSERT INTO notes VALUES (${round + 1}, 'round ${round}')`);
        const resets = await Promise.all(following);
        await again;
        for (const one of resets) dead.add(one.dead);
        for (const [at, { handle, replacement, rows }] of resets.entries()) {
          const filter = filters[at];
          assert.ok(!dead.has(handle), `round ${round}: ${filter} came with the dead handle ${handle}`);
          assert.ok(!dead.has(replacement), `round ${round}: ${filter} was sent on to the dead handle ${replacement}`);
          const expected = (await sql(`SELECT body FROM notes WHERE ${filter}`)).map(({ body }) => body);
          assert.deepEqual(rows, expected, `round ${round}: ${filter}`);
        }
      }
    },
  );
}
