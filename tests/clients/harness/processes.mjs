// Child processes, folders and ports that never outlive the test file, whatever ends it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

// With the signal that makes each take its own children along.
const children = new Map();
const folders = new Set();

// The last line of defence: runs synchronously even when a test file is torn down in its middle.
process.on("exit", () => {
  for (const [child, signal] of children) kill(child, signal);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

/** A program with its output kept, so that a failure can show it. */
export class Child {
  #lines = [];
  #watchers = new Set();

  constructor(program, args, { env = {}, lastSignal = "SIGKILL", ...options } = {}) {
    this.name = program.split("/").pop();
    this.process = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
      ...options,
    });
    children.set(this.process, lastSignal);
    this.exited = new Promise((resolve) => {
      this.process.once("error", (error) => this.#take(`cannot start ${program}: ${error.message}`, resolve));
      this.process.once("exit", (code, signal) => this.#take(`${this.name} ended with ${signal ?? code}`, resolve));
    }).then(() => children.delete(this.process));
    for (const stream of [this.process.stdout, this.process.stderr]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (text) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop();
        lines.forEach((line) => this.#take(line));
      });
    }
  }

  get ended() {
    return !children.has(this.process);
  }

  #take(line, then) {
    this.#lines.push(line);
    for (const watcher of this.#watchers) watcher(line);
    then?.();
  }

  /** Waits for a line that contains the text, or fails with everything the program said. */
  async says(text, milliseconds = 30_000) {
    const earlier = this.#lines.find((line) => line.includes(text));
    if (earlier) return earlier;
    let watcher, timer;
    const said = new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`${this.name} never said "${text}" (${why}):\n${this.output()}`));
      watcher = (line) => line.includes(text) && resolve(line);
      timer = setTimeout(() => fail(`waited ${milliseconds} ms`), milliseconds);
      this.exited.then(() => fail("it ended"));
    });
    this.#watchers.add(watcher);
    try {
      return await said;
    } finally {
      clearTimeout(timer);
      this.#watchers.delete(watcher);
    }
  }

  /** The end of what it said. */
  output() {
    return this.#lines.slice(-60).join("\n");
  }

  /** Ends the program with a signal and waits until it is gone. */
  async stop(signal = "SIGTERM") {
    const impatience = setTimeout(() => kill(this.process, "SIGKILL"), 10_000);
    kill(this.process, signal);
    await this.exited;
    clearTimeout(impatience);
  }
}

function kill(child, signal) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
}

/** A new folder that anybody may enter: Postgres refuses to run as root. */
export function folder(name) {
  const path = mkdtempSync(join(tmpdir(), `brooklet-clients-${name}-`));
  chmodSync(path, 0o755);
  folders.add(path);
  return path;
}

export function removeFolder(path) {
  rmSync(path, { recursive: true, force: true });
  folders.delete(path);
}

/** A free port below the ephemeral range: no outgoing connection can take it while a server is down. */
export async function freePort() {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer();
    probe.listen(port, "127.0.0.1");
    const event = await Promise.race([
      once(probe, "listening").then(() => true),
      once(probe, "error").then(() => false),
    ]).catch(() => false);
    if (!event) continue;
    probe.close();
    await once(probe, "close");
    return port;
  }
  throw new Error("no free port in 50 attempts");
}

/** The first of the paths that exists; a missing program fails the test and says what to install. */
export function program(name, paths) {
  const found = paths.find((path) => existsSync(path));
  if (!found)
    throw new Error(
      `${name} was not found in ${paths.join(", ")}: run ./tests/run, which installs what the tests need`,
    );
  return found;
}
