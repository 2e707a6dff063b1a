// Drives a browser for browser.rs: `open URL`, then `await N` answers with what the page shows once it counts
// N events; `rows WORD` with all rows of the tree once one holds the word; `head WORD` with what stands above the tree once
// it holds the word; `asks N` with the open questions once there are N, `wrong` once an answer was refused; `type TEXT` and
// `press BUTTON` answer. `detail NAME` opens the pane of the first row of that name; `pane WORD` answers with what it shows
// once it holds the word, and with how much of it stood there the last time; `whole` has it fetch a large payload. `streams`
// answers with how many streams the page has open.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [driver, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(driver);
// Root in a container has no sandbox of its own; the page is ours.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage();
let loads = 0;
const problems = [];
await page.addInitScript(() => {
  window.sources = [];
  window.EventSource = class extends EventSource { constructor(url) { super(url); window.sources.push(this); } };
});
page.on("load", () => loads++);
page.on("pageerror", error => problems.push(String(error)));

const shown = () => page.evaluate(() => [...document.querySelectorAll("#tree .row .note")].map(note => note.textContent));
const rows = () => page.evaluate(() => [...document.querySelectorAll("#tree summary, #tree .row")].map(row => ({
  text: row.innerText, state: ["open", "done", "failed", "unknown"].find(state => row.classList.contains(state)) ?? "",
  side: row.querySelector(".side").innerText, level: ["near", "over"].find(level => row.querySelector(".side").classList.contains(level)) ?? "" })));
const head = () => page.evaluate(() => [...document.querySelectorAll("#head .facts span")].filter(fact => !fact.hidden).map(fact => [fact.innerText, fact.className]));
const pane = () => page.evaluate(() => {
  const events = [...document.querySelectorAll("#detail section")], stood = events.filter(event => event.stood).length;
  for (const event of events) event.stood = true;
  return { events: events.length, stood, note: document.querySelector("#detail .note").innerText };
});
const asks = () => page.evaluate(() => [...document.querySelectorAll("#asks .ask")].map(ask => ask.innerText));
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, ...words] = line.split(" "), argument = words.join(" ");
    if (command === "open") {
      await page.goto(argument);
    } else if (command === "rows") {
      await page.waitForFunction(word => document.getElementById("tree").innerText.includes(word), argument, { timeout: 60_000 });
      console.log(JSON.stringify({ rows: await rows(), problems }));
    } else if (command === "head") {
      await page.waitForFunction(word => document.getElementById("head").innerText.includes(word), argument, { timeout: 60_000 });
      console.log(JSON.stringify({ head: await head(), problems }));
    } else if (command === "asks") {
      await page.waitForFunction(count => document.querySelectorAll("#asks .ask").length === count, Number(argument), { timeout: 60_000 });
      console.log(JSON.stringify({ asks: await asks(), problems }));
    } else if (command === "type") {
      await page.fill("#asks input", argument);
      await page.press("#asks input", "Enter");
    } else if (command === "wrong") {
      await page.waitForFunction(() => document.querySelector("#asks .wrong:not(:empty)"), undefined, { timeout: 60_000 });
      console.log(JSON.stringify({ asks: await asks(), problems }));
    } else if (command === "detail") {
      await page.click(`#tree .name:text-is("${argument}")`);
    } else if (command === "pane") {
      await page.waitForFunction(word => document.getElementById("detail").innerText.includes(word), argument, { timeout: 60_000 });
      console.log(JSON.stringify({ pane: await pane(), problems }));
    } else if (command === "whole") {
      await page.click("#detail .more");
    } else if (command === "streams") {
      console.log(JSON.stringify({ streams: await page.evaluate(() => sources.filter(source => source.readyState !== EventSource.CLOSED).length), problems }));
    } else if (command === "press") {
      await page.click(`#asks button:text-is("${argument}")`);
    } else {
      await page.waitForFunction(text => document.getElementById("events").textContent === text, `${argument} events`, { timeout: 60_000 });
      console.log(JSON.stringify({ notes: await shown(), loads, problems }));
    }
  }
} catch (error) {
  const text = await page.evaluate(() => document.body.innerText).catch(() => "");
  console.log(JSON.stringify({ problems: [...problems, String(error), text] }));
} finally {
  await browser.close();
}
