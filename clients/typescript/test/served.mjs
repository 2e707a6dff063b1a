// A real `planwire serve` with a folder of its own, at an address that stays the same when it is started again.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The program to test; tests that need it are skipped without. */
export const BIN = process.env.PLANWIRE_BIN;
export const skip = BIN === undefined ? "PLANWIRE_BIN does not name the program" : false;

/** Ports that the operating system gives to nobody by itself, so that a server finds its own again. */
const PORTS = [20_000, 30_000];

/** Starts a server that ends with the test. */
export async function serve(t, ...more) {
  const served = new Served(await freePort(), more);
  t.after(() => served.end());
  await served.start();
  return served;
}

class Served {
  #folder = mkdtempSync(join(tmpdir(), "planwire-ts-"));
  #more;
  #child;
  #ended;

  constructor(port, more) {
    this.address = `127.0.0.1:${port}`;
    this.url = `http://${this.address}`;
    this.#more = more;
    process.on("exit", () => this.#child?.kill("SIGKILL"));
  }

  /** Resolves when it answers. */
  async start() {
    const kept = Object.entries(process.env).filter(([name]) => !/^(PLANWIRE_|XDG_|NO_COLOR)/.test(name));
    const env = { ...Object.fromEntries(kept), PLANWIRE_DATA: join(this.#folder, "data"), HOME: this.#folder };
    const child = spawn(BIN, ["--json", "serve", "--listen", this.address, ...this.#more], { env, cwd: this.#folder, stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    this.#ended = new Promise(resolve => child.once("exit", resolve));
    const [line] = await Promise.race([
      new Promise(resolve => createInterface({ input: child.stdout }).once("line", line => resolve([line]))),
      this.#ended.then(code => [`ended with ${code}`]),
    ]);
    if (!line.startsWith("{")) throw new Error(`planwire serve: ${line}`);
  }

  /** Ends it as a power cut does. */
  async kill() {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  /** Ends it as a service manager does. */
  async stop() {
    this.#child.kill("SIGTERM");
    await this.#ended;
  }

  async end() {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function freePort() {
  for (;;) {
    const port = PORTS[0] + Math.floor(Math.random() * (PORTS[1] - PORTS[0]));
    const probe = createServer();
    const free = await new Promise(resolve => probe.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
    await new Promise(resolve => probe.close(resolve));
    if (free) return port;
  }
}
