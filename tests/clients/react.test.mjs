// Proves that useShape renders what Postgres holds: while loading, after writes, with a selector, for one shape in two
// components, after its options change, and that it says so when the server refuses.
import { element } from "./harness/dom.mjs";
import assert from "node:assert/strict";
import { useShape } from "@electric-sql/react";
import { createElement as h } from "react";
import { createRoot } from "react-dom/client";
import { streamOptions } from "./harness/electric.mjs";
import { equal, until } from "./harness/wait.mjs";
import { inEverySetting, inOneWorld } from "./harness/world.mjs";

const ISSUES = `CREATE TABLE issues (id int PRIMARY KEY, title text NOT NULL, done bool NOT NULL DEFAULT false);
  INSERT INTO issues VALUES (1, 'one', true), (2, '<b>two</b>', false)`;

const line = ({ id, title, done }) => `${id} ${title} ${done}`;
const byNumber = (a, b) => parseInt(a) - parseInt(b);

function Issues({ name, options, seen }) {
  const { data, isLoading, isError, error } = useShape(options);
  seen?.add(isLoading ? "loading" : "loaded");
  if (isError) return h("p", { id: name }, error.message);
  if (isLoading) return h("p", { id: name }, "loading");
  return h(
    "ul",
    { id: name },
    data.map((row) => h("li", { key: row.id }, line(row))),
  );
}

function Count({ name, options }) {
  const count = useShape({ ...options, selector: ({ data }) => data.filter(({ done }) => done).length });
  return h("p", { id: name }, String(count));
}

const shown = (root, name) => () =>
  [...root.querySelectorAll(`#${name} li`)].map((item) => item.textContent).sort(byNumber);

inEverySetting("useShape renders a shape and every change of it", { schema: ISSUES, tapped: true }, async (world) => {
  const { sql, disturb, tap } = world;
  const expected = (where) => async () => (await sql(`SELECT * FROM issues ${where}`)).map(line).sort(byNumber);
  const [root, seen] = [element(), new Set()];
  const app = createRoot(root);
  const render = (where) => {
    const all = streamOptions(world, { table: "issues" });
    const some = streamOptions(world, { table: "issues", where });
    app.render([
      h(Issues, { key: 1, name: "first", options: all, seen }),
      h(Issues, { key: 2, name: "second", options: all }),
      h(Count, { key: 3, name: "count", options: all }),
      h(Issues, { key: 4, name: "some", options: some }),
    ]);
  };
  const agrees = async (where) => {
    await equal("the first list", shown(root, "first"), expected(""));
    await equal("the second list", shown(root, "second"), expected(""));
    await equal("the filtered list", shown(root, "some"), expected(`WHERE ${where}`));
    await equal(
      "the count",
      () => root.querySelector("#count").textContent,
      async () => String((await expected("WHERE done")()).length),
    );
  };
  try {
    render("done = true");
    await agrees("done");
    assert.deepEqual([...seen], ["loading", "loaded"]);
    const starts = tap.requests.filter(({ query }) => query.get("offset") === "-1" && !query.has("where"));
    assert.equal(starts.length, 1, "three components share one stream");
    await sql("INSERT INTO issues VALUES (3, 'three', true); UPDATE issues SET done = true WHERE id = 2");
    await agrees("done");
    await disturb(() => sql("DELETE FROM issues WHERE id = 1; UPDATE issues SET id = 10, title = 'ten' WHERE id = 3"));
    await agrees("done");
    render("id > 2");
    await agrees("id > 2");
    await sql("TRUNCATE issues");
    await agrees("id > 2");
    await sql("INSERT INTO issues SELECT g, 'new ' || g FROM generate_series(1, 50) g");
    await agrees("id > 2");
  } finally {
    app.unmount();
  }
});

inOneWorld("useShape shows why the server refuses", { schema: ISSUES }, async (world) => {
  const root = element();
  const app = createRoot(root);
  // Without a handler the client lets the stream end with a rejection that belongs to nobody.
  const options = streamOptions(world, { table: "issues", where: "nobody = 1" }, { onError: () => {} });
  app.render(h(Issues, { name: "refused", options }));
  try {
    await until("the error is shown", () => /400.*nobody/s.test(root.textContent));
  } finally {
    app.unmount();
  }
});
