// Runs pieces of JavaScript with a page of Chromium, for tests/support/tab.rs: one JSON line each in and out. The
// arguments are the folder of the tools, and the options of Playwright's `newContext`.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [tools, options] = process.argv.slice(-2);
const require = createRequire(`${tools}/`);
const { chromium } = require('playwright-core');
const AsyncFunction = (async () => {}).constructor;

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium' });
const context = await browser.newContext(JSON.parse(options));
context.setDefaultTimeout(60_000);
const page = await context.newPage();
const seen = { console: [], requests: [] };
page.on('console', (message) => seen.console.push(message.text()));
page.on('pageerror', (error) => seen.console.push(String(error)));
page.on('request', (request) => seen.requests.push(request.url()));
const axe = readFileSync(require.resolve('axe-core'), 'utf8');

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    const run = new AsyncFunction('page', 'seen', 'axe', JSON.parse(line));
    reply = { value: (await run(page, seen, axe)) ?? null };
  } catch (error) {
    reply = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
await browser.close();
