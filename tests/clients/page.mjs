// Opens the server's page in headless Chromium and tells what it shows.
// Usage: node page.mjs URL CHROMIUM. Lines: `state <word>`, `changes <number>`, `rows <number>`, `problem <text>`.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const [url, executablePath] = process.argv.slice(2);
const userDataDir = await mkdtemp(join(tmpdir(), "brooklet-page-"));
const browser = await puppeteer.launch({
  executablePath,
  userDataDir,
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
process.on("SIGTERM", async () => {
  await browser.close();
  await rm(userDataDir, { recursive: true, force: true });
  process.exit(0);
});

const page = await browser.newPage();
page.on("pageerror", (error) => console.log(`problem ${error.message}`));
page.on("console", (message) => message.type() === "error" && console.log(`problem ${message.text()}`));
page.on("requestfailed", (request) => console.log(`failed ${request.url()} ${request.failure()?.errorText}`));

// The page tells of every change of an element by itself: nothing is polled.
await page.exposeFunction("tell", (name, value) => console.log(`${name} ${value}`));
await page.evaluateOnNewDocument(() => {
  document.addEventListener("DOMContentLoaded", () => {
    for (const name of ["state", "changes", "rows"]) {
      const element = document.getElementById(name);
      const tell = () => window.tell(name, element.textContent.trim());
      new MutationObserver(tell).observe(element, { childList: true, characterData: true, subtree: true });
      tell();
    }
  });
});
await page.goto(url);
