// A transparent proxy that remembers every request and how it was answered: what really went over the wire.
import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import { freePort } from "./processes.mjs";

export class Tap {
  /** All requests in order: method, url, status, headers of the answer. */
  requests = [];

  static async start(target) {
    const tap = new Tap();
    const agent = new Agent({ keepAlive: true });
    tap.server = createServer((incoming, outgoing) => tap.#pass(target, agent, incoming, outgoing));
    tap.server.keepAliveTimeout = 60_000;
    tap.server.listen(await freePort(), "127.0.0.1");
    await once(tap.server, "listening");
    tap.port = tap.server.address().port;
    tap.address = `http://127.0.0.1:${tap.port}`;
    return tap;
  }

  #pass(target, agent, incoming, outgoing) {
    const seen = { method: incoming.method, url: incoming.url, query: new URL(incoming.url, target).searchParams };
    this.requests.push(seen);
    const { hostname, port } = new URL(target);
    const { method, url: path, headers } = incoming;
    const onward = request({ agent, hostname, port, method, path, headers }, (answer) => {
      Object.assign(seen, { status: answer.statusCode, headers: answer.headers });
      outgoing.writeHead(answer.statusCode, answer.headers);
      outgoing.flushHeaders();
      answer.pipe(outgoing);
      answer.on("error", () => outgoing.destroy());
      answer.on("aborted", () => outgoing.destroy());
    });
    // A dead server looks dead through the tap as well.
    onward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => onward.destroy());
    incoming.pipe(onward);
  }

  /** Forgets what was seen so far. */
  clear() {
    this.requests.length = 0;
  }

  async stop() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }
}
