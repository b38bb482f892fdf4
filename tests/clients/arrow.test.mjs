// Proves that the examples of docs/arrow.md, the very files, load a shape and keep it live, through its end and rebirth.
import { copyFileSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Child, program } from "./harness/processes.mjs";
import { inOneWorld } from "./harness/world.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const EXAMPLES = path("../../docs/examples/");
const PYTHON = process.env.BROOKLET_PYTHON ?? path("../../target/python/bin/python");

const ISSUES = `
  CREATE TABLE issues (id int8 PRIMARY KEY, title text, price numeric(8,2), due date, tags text[], doc jsonb, ref uuid);
  INSERT INTO issues SELECT g, 'issue ' || g, g * 1.5, '2024-02-29', '{a,NULL}', '{"x": [1]}', gen_random_uuid()
    FROM generate_series(1, 3) g`;

/** Packages are found from where a file is: the JavaScript example gets a place among them. */
function script() {
  const place = path("./node_modules/.examples/");
  mkdirSync(place, { recursive: true });
  copyFileSync(`${EXAMPLES}arrow.mjs`, `${place}arrow.mjs`);
  return [process.execPath, `${place}arrow.mjs`];
}

const python = (file) => [program("Python for the examples", [PYTHON]), `${EXAMPLES}${file}`];

for (const [name, command] of Object.entries({
  "apache-arrow": script,
  Polars: () => python("arrow_polars.py"),
  DuckDB: () => python("arrow_duckdb.py"),
})) {
  inOneWorld(`the example for ${name}`, { schema: ISSUES }, async ({ sql, url, onEnd }) => {
    const [executable, file] = command();
    const env = { PYTHONDONTWRITEBYTECODE: "1" };
    const example = new Child(executable, [file, `${url}?table=issues`], { env });
    onEnd(() => example.stop());
    await example.says("3 rows");
    await example.says("issue 3");
    await sql("INSERT INTO issues (id, title) VALUES (4, 'fourth'), (5, 'fifth'); DELETE FROM issues WHERE id = 9");
    await example.says("5 rows");
    await sql("UPDATE issues SET title = 'changed' WHERE id = 2");
    await example.says("changed");
    await sql("UPDATE issues SET id = 77 WHERE id = 3; DELETE FROM issues WHERE id = 1");
    await example.says("4 rows");
    await example.says("77");
    await sql("TRUNCATE issues; INSERT INTO issues (id, title) VALUES (8, 'anew')");
    await example.says("1 rows");
    await example.says("anew");
  });
}
