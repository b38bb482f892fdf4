// Proves that Y.Docs converge through the server: updates as bytea rows, awareness as a second shape from now on, and a
// document that comes back from its stored position without fetching everything again.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { ElectricProvider, parseToDecoder } from "@electric-sql/y-electric";
import { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import { streamOptions } from "./harness/electric.mjs";
import { freePort } from "./harness/processes.mjs";
import { equal, until } from "./harness/wait.mjs";
import { inEverySetting } from "./harness/world.mjs";

const TABLES = `
  CREATE TABLE updates (id serial PRIMARY KEY, room text NOT NULL, op bytea NOT NULL);
  CREATE TABLE awareness (client_id text, room text NOT NULL, op bytea NOT NULL, at timestamptz DEFAULT now(), PRIMARY KEY (client_id, room))`;

/** The application's own write path: what a provider sends becomes a row. */
async function writePath({ sql, onEnd }) {
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [op, { pathname, searchParams }] = [Buffer.concat(chunks), new URL(request.url, "http://localhost")];
    try {
      if (pathname === "/updates") await sql("INSERT INTO updates (room, op) VALUES ('room', $1)", [op]);
      else {
        const upsert =
          "INSERT INTO awareness VALUES ($1, 'room', $2) ON CONFLICT (client_id, room) DO UPDATE SET op = excluded.op, at = now()";
        await sql(upsert, [searchParams.get("client"), op]);
      }
      response.end();
    } catch (error) {
      response.writeHead(500).end(error.message);
    }
  });
  server.listen(await freePort(), "127.0.0.1");
  await once(server, "listening");
  onEnd(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** A document with its provider. */
function join(world, writes, { doc = new Y.Doc(), resumeState } = {}) {
  const awareness = new Awareness(doc);
  const options = { parser: parseToDecoder };
  const shape = (table) => streamOptions(world, { table, where: "room = $1", params: ["room"] }, options);
  const provider = new ElectricProvider({
    doc,
    documentUpdates: { shape: shape("updates"), sendUrl: `${writes}/updates`, getUpdateFromRow: ({ op }) => op },
    awarenessUpdates: {
      shape: shape("awareness"),
      sendUrl: `${writes}/awareness?client=${doc.clientID}`,
      protocol: awareness,
      getUpdateFromRow: ({ op }) => op,
    },
    resumeState,
  });
  const peer = {
    doc,
    awareness,
    provider,
    text: () => doc.getText("text").toString(),
    list: () => doc.getArray("list").toJSON(),
  };
  provider.on("resumeState", (state) => (peer.resumeState = structuredClone(state)));
  const leave = () => {
    awareness.destroy();
    provider.destroy();
  };
  world.onEnd(leave);
  return { ...peer, leave, resume: () => peer.resumeState };
}

/** What a document holds that nobody but Postgres has told. */
async function stored({ sql }) {
  const doc = new Y.Doc();
  for (const { op } of await sql("SELECT op::text FROM updates ORDER BY id")) {
    const decoder = parseToDecoder.bytea(op);
    while (decoder.pos < decoder.arr.length) Y.applyUpdate(doc, readVarBytes(decoder));
  }
  return doc;
}

function readVarBytes(decoder) {
  let [length, shift] = [0, 0];
  for (let byte = 0x80; byte & 0x80; shift += 7) length |= ((byte = decoder.arr[decoder.pos++]) & 0x7f) << shift;
  return decoder.arr.subarray(decoder.pos, (decoder.pos += length));
}

async function agree(world, ...peers) {
  for (const { text, list } of peers) {
    const expected = async () => {
      const doc = await stored(world);
      return [doc.getText("text").toString(), doc.getArray("list").toJSON()];
    };
    await equal("the document agrees with what is stored", () => [text(), list()], expected);
  }
}

inEverySetting("documents converge", { schema: TABLES }, async (world) => {
  const writes = await writePath(world);
  const [ann, bob] = [join(world, writes), join(world, writes)];
  await until("both are in sync", () => ann.provider.synced && bob.provider.synced);
  ann.doc.getText("text").insert(0, "Hello ");
  await until("Bob reads it", () => bob.text() === "Hello ");
  await world.disturb(() => {
    ann.doc.getText("text").insert(6, "world");
    bob.doc.getText("text").insert(0, "¡");
    for (let at = 0; at < 20; at++) [ann, bob][at % 2].doc.getArray("list").push([at]);
  });
  await until("every edit is everywhere", () => ann.list().length === 20 && bob.list().length === 20);
  await agree(world, ann, bob);
  assert.equal(ann.text(), bob.text());
  assert.equal(ann.text(), "¡Hello world");
  const late = join(world, writes);
  await until("the late one is in sync", () => late.provider.synced);
  await agree(world, late);
});

inEverySetting("awareness comes, changes and goes", { schema: TABLES }, async (world) => {
  const writes = await writePath(world);
  const [ann, bob] = [join(world, writes), join(world, writes)];
  await until("both are connected", () => ann.provider.connected && bob.provider.connected);
  const seenByBob = () => bob.awareness.getStates().get(ann.doc.clientID)?.cursor;
  // The awareness shape starts now, whenever that is: telling again is what real editors do.
  let cursor = 0;
  await until("Bob sees Ann's cursor", () => {
    ann.awareness.setLocalStateField("cursor", ++cursor);
    return seenByBob() > 0;
  });
  await world.disturb();
  await until("Bob sees it move", () => {
    ann.awareness.setLocalStateField("cursor", (cursor = Math.max(cursor, 1000) + 1));
    return seenByBob() > 1000;
  });
  await until("nothing is under way any more", () => seenByBob() === cursor);
  await world.sql("DELETE FROM awareness WHERE client_id = $1", [String(ann.doc.clientID)]);
  await until("Bob sees her leave", () => !bob.awareness.getStates().has(ann.doc.clientID));
});

inEverySetting("a document resumes from its stored position", { schema: TABLES, tapped: true }, async (world) => {
  const writes = await writePath(world);
  const [ann, bob] = [join(world, writes), join(world, writes)];
  await until("both are in sync", () => ann.provider.synced && bob.provider.synced);
  ann.doc.getText("text").insert(0, "before ");
  await until(
    "Bob reads it and remembers where he is",
    () => bob.text() === "before " && bob.resume()?.document.offset !== "0_inf",
  );
  bob.leave();
  ann.doc.getText("text").insert(7, "after");
  await until("it is stored", async () => (await stored(world)).getText("text").toString() === "before after");
  await world.disturb();
  // Bob's document as he had it, with an edit that he made while he was away.
  const doc = new Y.Doc();
  Y.applyUpdate(doc, Y.encodeStateAsUpdate(bob.doc));
  doc.getArray("list").push(["offline"]);
  world.tap.clear();
  const back = join(world, writes, { doc, resumeState: bob.resume() });
  await until("Bob is back", () => back.text() === "before after" && ann.list().length === 1);
  await agree(world, ann, back);
  const starts = world.tap.requests.filter(
    ({ query }) => query.get("table") === "updates" && query.get("offset") === "-1",
  );
  assert.equal(starts.length, 0, "nothing was fetched from the start");
});
