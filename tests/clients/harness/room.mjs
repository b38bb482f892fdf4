// A server that answers one request at a time for shapes that exist, and somebody who takes that place.
import { until } from "./wait.mjs";

export const ONE_PLACE = { flags: ["--max-concurrent-requests", '{"initial":2,"existing":1}'], longPoll: "20s" };

/** Takes the only place, with a poll that waits; the result gives it back. */
export async function takePlace({ server }, table) {
  const url = `${server.address}/v1/shape?table=${table}`;
  const first = await fetch(`${url}&offset=-1`);
  await first.text();
  const live = `${url}&offset=0_inf&handle=${first.headers.get("electric-handle")}`;
  return until("the only place is taken", async () => {
    const controller = new AbortController();
    const parked = fetch(`${live}&live=true`, { signal: controller.signal }).then(
      () => {},
      () => {},
    );
    const giveBack = () => {
      controller.abort();
      return parked;
    };
    // Whoever comes first has the place: if this request had it, the other one was turned away.
    if ((await fetch(live)).status === 503) return giveBack;
    await giveBack();
  });
}
