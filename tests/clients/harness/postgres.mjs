// One throw-away Postgres for a test file; every test gets a database of its own in it.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { Child, folder, freePort, program, removeFolder } from "./processes.mjs";

// Values as the published clients parse them, so that rows can be compared as they are.
const PARSERS = { 20: BigInt, 1082: String, 1114: String, 1184: String, 17: String };
const types = { getTypeParser: (oid, format) => PARSERS[oid] ?? pg.types.getTypeParser(oid, format) };

let cluster;

/** The file's cluster, started at the first call. */
export function postgres() {
  cluster ??= Cluster.start();
  return cluster;
}

/** Stops the file's cluster, if there is one. */
export async function stopPostgres() {
  if (cluster) await (await cluster).stop();
  cluster = undefined;
}

/** The newest Postgres of the machine. */
function bin() {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const paths = [...versions.map((version) => join(root, version, "bin")), ...process.env.PATH.split(":")];
  return join(
    program(
      "initdb",
      paths.map((path) => join(path, "initdb")),
    ),
    "..",
  );
}

/** Postgres refuses to run as root: then another user runs it. */
function owner() {
  if (userInfo().uid !== 0) return {};
  const id = (flag) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

class Cluster {
  #databases = 0;

  static async start() {
    const cluster = new Cluster();
    const as = owner();
    cluster.folder = folder("postgres");
    if (as.uid !== undefined) execFileSync("chown", ["postgres", cluster.folder]);
    const data = join(cluster.folder, "data");
    const options = { ...as, cwd: "/", stdio: ["ignore", "ignore", "inherit"] };
    execFileSync(
      join(bin(), "initdb"),
      ["-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-sync"],
      options,
    );
    cluster.port = await freePort();
    const parameters = {
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      wal_level: "logical",
      fsync: "off",
      max_connections: 300,
      max_wal_senders: 60,
      max_replication_slots: 60,
      // A walsender notices a killed server by itself soon, so that the slot is free for its successor.
      wal_sender_timeout: "5s",
    };
    const flags = Object.entries(parameters).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    cluster.child = new Child(join(bin(), "postgres"), ["-D", data, "-p", String(cluster.port), ...flags], {
      ...as,
      cwd: "/",
      lastSignal: "SIGQUIT",
    });
    await cluster.child.says("ready to accept connections");
    cluster.maintenance = await connect(cluster.url("postgres"));
    return cluster;
  }

  url(database) {
    return `postgresql://postgres@127.0.0.1:${this.port}/${database}`;
  }

  /** A new database with a connection to it. */
  async database() {
    const name = `test${++this.#databases}`;
    await this.maintenance.query(`CREATE DATABASE ${name}`);
    return new Database(name, this.url(name));
  }

  async stop() {
    await this.maintenance.end();
    await this.child.stop("SIGQUIT");
    removeFolder(this.folder);
  }
}

/** One database: what tests write, and Postgres' own answer. */
class Database {
  #connections;

  constructor(name, url) {
    this.name = name;
    this.url = url;
    this.#connections = new pg.Pool({ ...settings(url), max: 4 }).on("error", () => {});
  }

  /** Runs statements, in one transaction if there are several; the rows of the last one are returned. */
  async sql(text, values) {
    const result = await this.#connections.query(text, values);
    const last = Array.isArray(result) ? result.at(-1) : result;
    return last.rows.map((row) => ({ ...row }));
  }

  /** A connection of its own, for transactions that stay open. */
  session() {
    return connect(this.url);
  }

  async close() {
    await this.#connections.end();
  }
}

const settings = (connectionString) => ({
  connectionString,
  types,
  options: "-c timezone=UTC -c datestyle=ISO -c bytea_output=hex",
});

async function connect(url) {
  const client = new pg.Client(settings(url));
  // The cluster may stop before the last connection is closed: that is no failure.
  client.on("error", () => {});
  await client.connect();
  return client;
}
