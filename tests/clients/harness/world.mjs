// What a test gets: a database, a server of it, an address for clients, and a disturbance to use in its middle.
import { after, test } from "node:test";
import { Nginx } from "./nginx.mjs";
import { postgres, stopPostgres } from "./postgres.mjs";
import { Server } from "./server.mjs";
import { Tap } from "./tap.mjs";

after(stopPostgres);

const TIMEOUT = 120_000;

/** The three ways in which every client has to work. */
export const SETTINGS = {
  "a fresh server": {},
  "kill -9 in the middle": { killed: true },
  "nginx with a cache": { cached: true },
};

/** Runs a scenario in every setting. */
export function inEverySetting(name, options, scenario) {
  for (const [setting, extra] of Object.entries(SETTINGS)) {
    test(`${name} (${setting})`, { timeout: TIMEOUT }, (t) => withWorld(t, { ...options, ...extra }, scenario));
  }
}

/** Runs a scenario once, against a fresh server unless the options say otherwise. */
export function inOneWorld(name, options, scenario) {
  test(name, { timeout: TIMEOUT }, (t) => withWorld(t, options, scenario));
}

/**
 * Options: `schema` (SQL before the server starts), `secret`, `flags`, `longPoll`, `killed`, `cached`, `tapped`,
 * `cache` (how nginx treats parameters).
 *
 * `world.disturb(meanwhile)` runs `meanwhile` while the server is dead in settings that kill it, and just so elsewhere.
 * `world.onEnd(stop)` runs `stop` at the test's end, last come first served, while the server is still there.
 */
async function withWorld(t, options, scenario) {
  const started = [];
  const start = async (thing) => (started.push(await thing), started.at(-1));
  const aborter = new AbortController();
  try {
    const database = await (await postgres()).database();
    started.push({ stop: () => database.close() });
    if (options.schema) await database.sql(options.schema);
    const server = await start(Server.start(database, options));
    started.push({ stop: () => aborter.abort() });
    let address = server.address;
    const tap = options.tapped && (await start(Tap.start(address)));
    if (tap) address = tap.address;
    const nginx = options.cached && (await start(Nginx.start(address, options.cache)));
    if (nginx) address = nginx.address;
    const disturb = async (meanwhile = () => {}) => {
      if (options.killed) await server.kill();
      await meanwhile();
      if (options.killed) await server.resume();
    };
    const sql = database.sql.bind(database);
    const onEnd = (stop) => started.push({ stop });
    const url = `${address}/v1/shape`;
    const world = {
      t,
      killed: options.killed,
      database,
      sql,
      server,
      tap,
      nginx,
      address,
      url,
      disturb,
      onEnd,
      signal: aborter.signal,
    };
    await scenario(world);
  } catch (error) {
    for (const { child } of started) if (child) t.diagnostic(`${child.name}:\n${child.output()}`);
    throw error;
  } finally {
    for (const thing of started.reverse()) await thing.stop();
  }
}
