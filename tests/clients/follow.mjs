// Follows a shape with the published TypeScript client and prints its rows after every change.
// Usage: node follow.mjs URL PARAMS_JSON [OFFSET HANDLE]. Every line is `rows <JSON>`, rows sorted by id.
import { Shape, ShapeStream } from "@electric-sql/client";

const [url, params, offset, handle] = process.argv.slice(2);
const stream = new ShapeStream({
  url,
  params: JSON.parse(params),
  ...(offset && { offset, handle }),
  onError: (error) => {
    console.log(`error ${error.name}: ${error.message}`);
    process.exit(1);
  },
});
const shape = new Shape(stream);

const text = (_, value) => (typeof value === "bigint" ? `${value}n` : value);
const print = (rows) => {
  const sorted = [...rows].sort((a, b) => Number(a.id) - Number(b.id));
  console.log(`rows ${JSON.stringify(sorted, text)}`);
};

shape.subscribe(({ rows }) => print(rows));
print(await shape.rows);
