// The server under test: its own storage folder, a fixed port, and death at any moment.
import { fileURLToPath } from "node:url";
import { Child, folder, freePort, program, removeFolder } from "./processes.mjs";
import { until } from "./wait.mjs";

const BINARY = process.env.BROOKLET_BIN ?? fileURLToPath(new URL("../../../target/debug/brooklet", import.meta.url));

export class Server {
  /** Starts a server of a database. `flags` go to the command line; without a secret it is open. */
  static async start(database, { secret, flags = [], longPoll = "2s" } = {}) {
    const server = new Server();
    server.secret = secret;
    server.folder = folder("storage");
    server.port = await freePort();
    server.address = `http://127.0.0.1:${server.port}`;
    server.arguments = [
      "serve",
      ...["--database-url", database.url],
      // Slots are the cluster's, and its databases are many.
      ...["--stream-id", database.name],
      ...["--storage-dir", server.folder],
      ...["--port", String(server.port)],
      ...["--listen", "127.0.0.1"],
      ...["--long-poll-timeout", longPoll],
      ...(secret ? ["--secret", secret] : ["--insecure"]),
      ...flags,
    ];
    await server.resume();
    return server;
  }

  /** Starts it (again) on the same port and folder, and waits until it serves. */
  async resume() {
    const binary = program("the server's binary", [BINARY]);
    this.child = new Child(binary, this.arguments, { cwd: this.folder, env: { RUST_BACKTRACE: "0" } });
    await until("the server is healthy", async () => {
      if (this.child.ended) return true;
      return (await fetch(`${this.address}/v1/health`)).status === 200;
    });
    if (this.child.ended) throw new Error(`the server ended:\n${this.child.output()}`);
  }

  /** `kill -9`. */
  kill() {
    return this.child.stop("SIGKILL");
  }

  async stop() {
    await this.child.stop("SIGTERM");
    removeFolder(this.folder);
  }
}
