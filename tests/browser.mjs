// Opens a page in Chromium at two widths, light and dark, and says what is wrong with it.
// node browser.mjs MODULES CHROMIUM PAGE -> JSON on stdout
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [modules, chromium, file] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/package.json`));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"], headless: true });
const found = [];
for (const width of [390, 1280]) {
  for (const scheme of ["light", "dark"]) {
    const page = await browser.newPage();
    const said = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("request", (request) => { if (!/^(file|data):/.test(request.url())) said.push(request.url()); });
    await page.setViewport({ width, height: 800 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.goto(pathToFileURL(file).href);
    await page.keyboard.press("Tab");
    const first = await page.evaluate(() => document.activeElement.className);
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
    const scrolls = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    const colours = await page.evaluate(() => {
      const text = document.querySelector("svg.chart text");
      return [getComputedStyle(document.body).backgroundColor, text ? getComputedStyle(text).fill : ""];
    });
    await page.evaluate(axe); // from outside the page: its policy lets nothing in
    const result = await page.evaluate(async (rules) => {
      const { violations, passes } = await axe.run(document, { runOnly: rules });
      return { passes: passes.length, violations: violations.map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 200)}`) };
    }, RULES);
    found.push({ width, scheme, first, scrolls, colours, said, ...result });
    await page.close();
  }
}
const page = await browser.newPage();
await page.setViewport({ width: 800, height: 1100 });
await page.goto(pathToFileURL(file).href);
await page.emulateMediaType("print");
const print = await page.evaluate(() => {
  const [first, ...others] = document.querySelectorAll("figure details");
  first.open = true;
  const seen = (one) => one.querySelector("table").offsetHeight;
  return { opened: seen(first), closed: Math.max(...others.map(seen)), scrolls: document.documentElement.scrollWidth - innerWidth };
});
await page.evaluate(() => { document.querySelector("figure details").open = false; });
const focusable = await page.evaluate(() => document.querySelectorAll("a, summary, [tabindex='0']").length);
await page.emulateMediaType("screen");
let reached = 0;
for (let k = 0; k < focusable + 5; k += 1) { // what is closed is reached once it is open
  await page.keyboard.press("Tab");
  const name = await page.evaluate(() => document.activeElement.tagName);
  if (name === "BODY") break;
  reached += 1;
}
const closed = await page.evaluate(() => document.querySelectorAll("details:not([open]) [tabindex='0'], details:not([open]) a").length);
await browser.close();
console.log(JSON.stringify({ pages: found, print, focusable, closed, reached }));
