// Proves that live changes come as server-sent events when the client asks for them, and that it never falls back to
// long polling: the requests on the wire are looked at.
import assert from "node:assert/strict";
import { agrees, follow } from "./harness/electric.mjs";
import { inEverySetting } from "./harness/world.mjs";

const NOTES = "CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes VALUES (1, 'one')";
const ALL = "SELECT * FROM notes";

// A client of events resumes at the start of the last transaction it knows: what follows in it may come twice.
const converges = (world, notes) => agrees(world, notes, ALL, { strict: false });

/** The live requests that were seen, by whether they were answered as events. */
function live(tap) {
  const requests = tap.requests.filter(({ query }) => query.has("live"));
  const isEvents = ({ headers }) => headers?.["content-type"]?.startsWith("text/event-stream");
  return { events: requests.filter(isEvents), polls: requests.filter((one) => one.status === 200 && !isEvents(one)) };
}

for (const option of ["liveSse", "experimentalLiveSse"]) {
  inEverySetting(`${option} streams changes`, { schema: NOTES, tapped: true }, async (world) => {
    const { sql, disturb, tap } = world;
    const notes = follow(world, { table: "notes" }, { [option]: true });
    await converges(world, notes);
    for (let id = 2; id <= 20; id++) {
      await sql(`INSERT INTO notes VALUES (${id}, 'note ${id}')`);
      if (id % 5 === 0) await converges(world, notes);
    }
    await converges(world, notes);
    assert.ok(live(tap).events.length >= 1, "changes came as events");
    assert.ok(live(tap).events.length <= 3, `19 changes on ${live(tap).events.length} streams`);
    await disturb(() => sql("UPDATE notes SET body = 'changed' WHERE id % 2 = 0"));
    await converges(world, notes);
    await sql(
      "BEGIN; DELETE FROM notes WHERE id < 5; INSERT INTO notes VALUES (30, 'thirty'); UPDATE notes SET id = 31 WHERE id = 30; COMMIT",
    );
    await converges(world, notes);
    assert.deepEqual(
      live(tap).polls.map(({ url }) => url),
      [],
      "no long poll was answered",
    );
  });

  inEverySetting(`${option} and a TRUNCATE`, { schema: NOTES, tapped: true }, async (world) => {
    const { sql, disturb, tap } = world;
    const notes = follow(world, { table: "notes" }, { [option]: true });
    await converges(world, notes);
    await sql("INSERT INTO notes VALUES (2, 'two')");
    await converges(world, notes);
    await disturb(() => sql("TRUNCATE notes"));
    await converges(world, notes);
    await sql("INSERT INTO notes VALUES (3, 'three')");
    await converges(world, notes);
    assert.equal(notes.log.refetches, 1);
    // Killed and truncated within a second looks like a proxy that cuts streams: then the client may fall back.
    if (!world.killed)
      assert.deepEqual(
        live(tap).polls.map(({ url }) => url),
        [],
        "no long poll was answered",
      );
  });
}
