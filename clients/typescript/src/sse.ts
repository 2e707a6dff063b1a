/** The text of server-sent events, in pieces of any size (WHATWG HTML, section 9.2). */

import { AnswerError } from "./error.js";
import { FRAME_CHARS_MAX } from "./limits.js";

/** What stands between two blank lines. A frame that was cut off never becomes one. */
export interface Frame {
  /** The type that the server names; empty if it names none. */
  event: string;
  /** The lines of data, joined; empty in heartbeats. */
  data: string;
  /** The cursor of the frame, if it has one. */
  id: string | undefined;
  /** Milliseconds after which to come back, if the frame says so. */
  retryMs: number | undefined;
}

/** Takes the bytes of a stream and gives its frames. */
export class SseParser {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #frame = empty();
  #chars = 0;
  /** The last piece ended in CR: an LF at the beginning of the next one belongs to it. */
  #afterReturn = false;

  /** The frames that are whole with these bytes. Throws {@link AnswerError} if one is larger than any of ours. */
  take(bytes: Uint8Array): Frame[] {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return [];
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    this.#afterReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? "";
    const frames: Frame[] = [];
    for (const line of lines) this.#line(line, frames);
    if (this.#chars + this.#rest.length > FRAME_CHARS_MAX) {
      throw new AnswerError(`a frame of the stream has more than ${FRAME_CHARS_MAX} characters`);
    }
    return frames;
  }

  #line(line: string, frames: Frame[]): void {
    if (line === "") {
      frames.push(this.#frame);
      this.#frame = empty();
      this.#chars = 0;
      return;
    }
    this.#chars += line.length;
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "event") this.#frame.event = value;
    else if (name === "data") this.#frame.data += this.#frame.data === "" ? value : `\n${value}`;
    else if (name === "id" && !value.includes("\0")) this.#frame.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.#frame.retryMs = Number(value);
  }
}

function empty(): Frame {
  return { event: "", data: "", id: undefined, retryMs: undefined };
}
