// A real nginx as the cache in front of the server: it honours the origin's cache-control and collapses requests.
import { writeFileSync, mkdirSync } from "node:fs";
import { connect } from "node:net";
import { once } from "node:events";
import { userInfo } from "node:os";
import { join } from "node:path";
import { Child, folder, freePort, program, removeFolder } from "./processes.mjs";
import { until } from "./wait.mjs";

/** How a cache may treat the query parameters whose names are given. */
const TREATMENTS = {
  // All entries of the cache key count: the ordinary cache.
  keep: () => ({ key: "$request_uri", uri: "$request_uri" }),
  // The origin sees the parameters, but they are no part of the cache's key.
  ignore: () => ({ key: "$uri?$reduced", uri: "$request_uri" }),
  // Neither the key nor the origin sees them.
  strip: () => ({ key: "$uri?$reduced", uri: "$uri?$reduced" }),
};

export class Nginx {
  static async start(origin, { treatment = "keep", parameters = [] } = {}) {
    const nginx = new Nginx();
    const binary = program("nginx", [
      "/usr/sbin/nginx",
      "/usr/bin/nginx",
      "/usr/local/sbin/nginx",
      "/opt/homebrew/bin/nginx",
    ]);
    nginx.folder = folder("nginx");
    nginx.port = await freePort();
    nginx.address = `http://127.0.0.1:${nginx.port}`;
    mkdirSync(join(nginx.folder, "cache"));
    const file = join(nginx.folder, "nginx.conf");
    writeFileSync(file, configuration(nginx, origin, TREATMENTS[treatment](), parameters));
    nginx.child = new Child(binary, ["-p", nginx.folder, "-c", file, "-e", "stderr"], { lastSignal: "SIGTERM" });
    await until("nginx listens", async () => {
      if (nginx.child.ended) return true;
      const socket = connect(nginx.port, "127.0.0.1");
      await once(socket, "connect");
      socket.destroy();
      return true;
    });
    if (nginx.child.ended) throw new Error(`nginx ended:\n${nginx.child.output()}`);
    return nginx;
  }

  /** How many requests it is answering just now, this one not counted. */
  async answering() {
    const status = await (await fetch(`${this.address}/status`)).text();
    return Number(/Writing: (\d+)/.exec(status)[1]) - 1;
  }

  async stop() {
    await this.child.stop("SIGTERM");
    removeFolder(this.folder);
  }
}

/** Each `map` takes one parameter out of the query string, wherever it stands. */
function reductions(parameters) {
  const maps = parameters.map((name, at) => {
    const from = at === 0 ? "$args" : `$reduced_${at - 1}`;
    return `map ${from} $reduced_${at} {
    default ${from};
    "~^(?<head_${at}>.*&|)${name}=[^&]*&?(?<tail_${at}>.*)$" $head_${at}$tail_${at};
  }`;
  });
  const last = parameters.length ? `$reduced_${parameters.length - 1}` : "$args";
  return [...maps, `map ${last} $reduced { default ${last}; }`].join("\n  ");
}

function configuration({ folder, port }, origin, { key, uri }, parameters) {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `daemon off;
${userInfo().uid === 0 ? "user root;" : ""}
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join("\n  ")}
  proxy_cache_path ${folder}/cache keys_zone=shapes:16m max_size=256m use_temp_path=off;
  ${reductions(parameters)}
  upstream origin { server ${new URL(origin).host} max_fails=0; keepalive 64; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /status { stub_status; }
    location / {
      proxy_pass http://origin${uri};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      # Longer than any long poll, else waiting clients would be cut or let through one by one.
      proxy_read_timeout 90s;
      proxy_cache shapes;
      proxy_cache_key "${key}";
      proxy_cache_lock on;
      proxy_cache_lock_age 90s;
      proxy_cache_lock_timeout 90s;
      proxy_cache_background_update on;
      proxy_cache_use_stale updating;
      add_header x-cache $upstream_cache_status always;
    }
  }
}
`;
}
