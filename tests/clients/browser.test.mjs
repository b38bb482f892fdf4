// Proves in a real Chromium, on a page from another origin with the published client as ES modules: a row shows within
// a second of its commit, every exposed header is readable, and preflights let subset requests and conditions through.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import puppeteer from "puppeteer-core";
import { folder, freePort, program, removeFolder } from "./harness/processes.mjs";
import { ONE_PLACE, takePlace } from "./harness/room.mjs";
import { equal, until, within } from "./harness/wait.mjs";
import { inEverySetting, inOneWorld } from "./harness/world.mjs";

const NOTES =
  "CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes VALUES (1, 'one'), (2, '<b>two</b>')";
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"];

const resolve = createRequire(import.meta.url).resolve;
const packageFolder = (name) => dirname(resolve(`${name}/package.json`));
const MODULES = {
  "/client.mjs": join(packageFolder("@electric-sql/client"), "dist/index.browser.mjs"),
  "/fetch-event-source.mjs": join(
    dirname(createRequire(resolve("@electric-sql/client")).resolve("@microsoft/fetch-event-source")),
    "../esm",
  ),
};

const PAGE = `<!doctype html><meta charset="utf-8"><title>notes</title><ul id="notes"></ul>
<script type="importmap">{ "imports": { "@electric-sql/client": "/client.mjs", "@microsoft/fetch-event-source": "/esm/index.js" } }</script>
<script type="module">
  import * as electric from "@electric-sql/client";
  window.electric = electric;
  window.follow = (options) => {
    const stream = new electric.ShapeStream({ warnOnHttp: false, ...options });
    new electric.Shape(stream).subscribe(({ rows }) => {
      const items = rows.map(({ id, body }) => Object.assign(document.createElement("li"), { textContent: id + " " + body }));
      document.getElementById("notes").replaceChildren(...items);
    });
    return stream;
  };
  window.tell?.("ready");
</script>`;

/** A tiny static server: the page's origin is not the server's. */
async function origin({ onEnd }) {
  const server = createServer(async ({ url }, response) => {
    const path = new URL(url, "http://localhost").pathname;
    const file = MODULES[path] ?? (path.startsWith("/esm/") && join(MODULES["/fetch-event-source.mjs"], path.slice(5)));
    try {
      const text = path === "/" ? PAGE : await readFile(/\.m?js$/.test(file) ? file : `${file}.js`);
      response.writeHead(200, { "content-type": path === "/" ? "text/html" : "text/javascript" }).end(text);
    } catch {
      response.writeHead(404).end();
    }
  });
  server.listen(await freePort(), "127.0.0.1");
  await once(server, "listening");
  onEnd(() => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

/** A page that has loaded the client; it tells of every change of its list with the time. */
async function openPage(world) {
  const profile = folder("chromium");
  const args = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ];
  const browser = await puppeteer.launch({
    executablePath: program("Chromium", CHROMIUM),
    userDataDir: profile,
    headless: true,
    args,
  });
  world.onEnd(async () => {
    await browser.close();
    removeFolder(profile);
  });
  const page = await browser.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  const shown = new Map();
  let ready;
  const loaded = new Promise((done) => (ready = done));
  await page.exposeFunction("tell", (what) => {
    if (what === "ready") return ready();
    for (const line of what) if (!shown.has(line)) shown.set(line, performance.now());
  });
  await page.evaluateOnNewDocument(() => {
    document.addEventListener("DOMContentLoaded", () => {
      const list = document.getElementById("notes");
      new MutationObserver(() => window.tell([...list.children].map((item) => item.textContent))).observe(list, {
        childList: true,
      });
    });
  });
  await page.goto(await origin(world));
  await within("the client is loaded in the page", loaded).catch((error) => {
    throw new Error(`${error.message}\n${problems.join("\n")}`);
  });
  const lines = () => page.$$eval("#notes li", (items) => items.map((item) => item.textContent).sort());
  return { page, lines, shown, problems };
}

const expected =
  ({ sql }) =>
  async () =>
    (await sql("SELECT * FROM notes")).map(({ id, body }) => `${id} ${body}`).sort();

for (const [name, options] of [
  ["long polling", {}],
  ["events", { liveSse: true }],
]) {
  inEverySetting(
    `a row shows within a second of its commit, by ${name}`,
    { schema: NOTES, longPoll: "20s" },
    async (world) => {
      const { t, sql, url, disturb } = world;
      const { page, lines, shown, problems } = await openPage(world);
      await page.evaluate((options) => void window.follow(options), { url, params: { table: "notes" }, ...options });
      await equal("the page shows the table", lines, expected(world));
      const delays = [];
      for (let id = 10; id < 30; id++) {
        await sql(`INSERT INTO notes VALUES (${id}, 'row')`);
        const committed = performance.now();
        await until(`row ${id} shows`, () => shown.has(`${id} row`));
        delays.push(shown.get(`${id} row`) - committed);
      }
      delays.sort((a, b) => a - b);
      t.diagnostic(
        `commit to page: median ${delays[delays.length >> 1].toFixed(1)} ms, most ${delays.at(-1).toFixed(1)} ms`,
      );
      assert.ok(delays.at(-1) < 1_000, `${delays.at(-1)} ms`);
      await disturb(() => sql("UPDATE notes SET body = 'changed' WHERE id < 15; DELETE FROM notes WHERE id > 25"));
      await equal("the page shows the table again", lines, expected(world));
      const unexpected = problems.filter((text) => !/Failed to load resource|ERR_/.test(text));
      assert.deepEqual(unexpected, []);
    },
  );
}

/** A request of the page, with the answer's headers as the page may read them. */
function fetchIn(page, target, init) {
  const request = async (target, init) => {
    const answer = await fetch(target, init);
    return { status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text() };
  };
  return page.evaluate(request, target, init);
}

inOneWorld(
  "headers are readable and preflights pass across origins",
  { schema: NOTES, secret: "s3cret", longPoll: "500ms" },
  async (world) => {
    const { page, lines } = await openPage(world);
    const { url } = world;
    const ask = (query, init) => fetchIn(page, `${url}?secret=s3cret&table=notes&${query}`, init);
    const first = await ask("offset=-1");
    const handle = first.headers["electric-handle"];
    assert.equal(first.headers["electric-offset"], "0_0");
    assert.ok(
      JSON.parse(first.headers["electric-schema"]).id && handle && first.headers["electric-has-data"] === "true",
    );
    const live = await ask(`offset=0_inf&handle=${handle}&live=true`);
    assert.match(live.headers["electric-cursor"], /^\d+$/);
    assert.equal(live.headers["electric-up-to-date"], "");
    const moved = await ask("offset=0_inf&handle=unknown");
    assert.deepEqual([moved.status, moved.headers["electric-handle"]], [409, handle]);
    const refused = await ask("offset=zero");
    assert.deepEqual([refused.status, JSON.parse(refused.text).message], [400, "Invalid request"]);
    const posted = await ask(`log=changes_only&offset=now`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ where: "id = $1", params: { 1: "2" } }),
    });
    assert.equal(posted.status, 200, posted.text);
    assert.deepEqual(
      JSON.parse(posted.text).data.map(({ value }) => value),
      [{ id: "2", body: "<b>two</b>" }],
    );
    const conditional = await ask("offset=-1", {
      headers: { "if-none-match": '"other"', authorization: "Bearer nothing" },
    });
    assert.equal(conditional.status, 200, "the preflight lets these headers through");
    await page.evaluate(async (url) => {
      const stream = window.follow({
        url,
        params: { table: "notes", secret: "s3cret" },
        log: "changes_only",
        offset: "now",
        subsetMethod: "POST",
      });
      await stream.requestSnapshot({ where: "true = true", orderBy: "id", limit: 10 });
    }, url);
    await equal("the published client loads a subset by POST", lines, expected(world));
  },
);

inOneWorld("a page may read for how long it is turned away", { schema: NOTES, ...ONE_PLACE }, async (world) => {
  const { page } = await openPage(world);
  const first = await fetchIn(page, `${world.url}?table=notes&offset=-1`);
  const handle = first.headers["electric-handle"];
  const giveBack = await takePlace(world, "notes");
  const refused = await fetchIn(page, `${world.url}?table=notes&offset=0_inf&handle=${handle}`);
  assert.deepEqual([refused.status, refused.headers["cache-control"]], [503, "no-store"]);
  assert.match(refused.headers["retry-after"], /^\d+$/);
  assert.equal(refused.headers["electric-internal-known-error"], "true");
  await giveBack();
});
