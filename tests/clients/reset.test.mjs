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

/** A promise and what resolves it. */
function signal() {
  let give;
  return Object.assign(new Promise((resolve) => (give = resolve)), { give });
}

const filtersOf = (round) => [
  "id > 0",
  "id > 1",
  "body IS NOT NULL",
  `id > -${round}`,
  `id < ${100 + round}`,
  `body <> 'r${round}'`,
];

/** One round: shapes are followed, the table is emptied and filled, and everybody starts again at once. */
async function reset({ sql, url }, round, watched) {
  const filters = filtersOf(round);
  const [ready, over] = [signal(), { yet: false }];
  let count = 0;
  const start = () => ++count >= (watched ? filters.length : 1) && ready.give();
  const following = Promise.all(
    filters.map((filter) => untilReset(`${url}?table=notes&where=${encodeURIComponent(filter)}`, start)),
  ).finally(() => (over.yet = true));
  await Promise.race([ready, following]);
  const refill = () => sql(`TRUNCATE notes; INSERT INTO notes VALUES (${round + 1}, 'round ${round}')`);
  await refill();
  // Shapes that were made after a TRUNCATE do not notice it: for them there is another.
  while (!watched && !over.yet) {
    await Promise.race([following, new Promise((resolve) => setTimeout(resolve, 200))]);
    if (!over.yet) await refill();
  }
  return (await following).map((one, at) => ({ ...one, filter: filters[at] }));
}

const CASES = [
  { what: "a shape that is watched", watched: true },
  { what: "a shape that is watched, kill -9 in the middle", watched: true, killed: true },
  { what: "a shape that was just made", watched: false },
];

for (const { what, watched, killed } of CASES) {
  const options = { schema: NOTES, killed, longPoll: "10s" };
  inOneWorld(`no answer carries a handle after its 409, ${what}`, options, async (world) => {
    const dead = new Set();
    for (let round = 1; round <= ROUNDS; round++) {
      if (round === ROUNDS / 2) await world.disturb();
      const resets = await reset(world, round, watched);
      for (const one of resets) dead.add(one.dead);
      for (const { filter, handle, replacement, rows } of resets) {
        assert.ok(!dead.has(handle), `round ${round}: ${filter} came with the dead handle ${handle}`);
        assert.ok(!dead.has(replacement), `round ${round}: ${filter} was sent on to the dead handle ${replacement}`);
        // Young shapes may have been reset for what an earlier round wrote.
        if (!watched) continue;
        const expected = (await world.sql(`SELECT body FROM notes WHERE ${filter}`)).map(({ body }) => body);
        assert.deepEqual(rows, expected, `round ${round}: ${filter}`);
      }
    }
  });
}
