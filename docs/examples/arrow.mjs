// Loads a shape and keeps it live with apache-arrow: node arrow.mjs 'http://localhost:3000/v1/shape?table=issues'
import { tableFromIPC } from "apache-arrow";

const url = process.argv[2];
const headers = { accept: "application/vnd.apache.arrow.stream" };
const rows = new Map();
let position = { offset: "-1" };
for (;;) {
  const answer = await fetch(`${url}&${new URLSearchParams(position)}`, { headers });
  const told = (name) => answer.headers.get(`electric-${name}`) ?? "";
  if (answer.status === 409) {
    // The shape has ended: another one has its place.
    rows.clear();
    position = { offset: "-1", handle: told("handle") };
    continue;
  }
  if (answer.status === 429 || answer.status === 503) {
    const seconds = Number(answer.headers.get("retry-after") ?? 1);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    continue;
  }
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  for (const { operation, key, value } of tableFromIPC(new Uint8Array(await answer.arrayBuffer()))) {
    // Rows are always whole.
    if (operation === "delete") rows.delete(key);
    else if (operation) rows.set(key, value.toJSON());
  }
  console.log(`${rows.size} rows`);
  console.table([...rows.values()]);
  const live = position.live || answer.headers.has("electric-up-to-date");
  position = { offset: told("offset"), handle: told("handle"), ...(live && { live: "true", cursor: told("cursor") }) };
}
