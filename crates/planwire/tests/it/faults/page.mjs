// Drives a browser for page.rs: `open URL`, then `await N` answers with what the page shows once it counts N events.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [driver, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(driver);
// Root in a container has no sandbox of its own; the page is ours.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage();
let loads = 0;
const problems = [];
page.on("load", () => loads++);
page.on("pageerror", error => problems.push(String(error)));

const shown = () => page.evaluate(() => [...document.querySelectorAll("#tree .row .note")].map(note => note.textContent));
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, argument] = line.split(" ");
    if (command === "open") {
      await page.goto(argument);
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
