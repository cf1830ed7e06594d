/**
 * Decoding and pre-processing of frames in processes beside the network's, one frame each. (Threads would spare copying the pixels, a
 * millisecond or two; but the entry that starts them is also run from its TypeScript sources, which threads do not load on Node 20.)
 */
import { type ChildProcess, fork } from 'node:child_process';
import { selfCommand } from '../bench/remote.ts';
import { UsageError } from '../errors.ts';
import { faceInput } from '../faces/find.ts';
import { type Picture, readPicture } from '../images.ts';
import { EYE_ARGUMENT } from './argument.ts';
import type { RawFrame } from './frames.ts';

export interface FaceFrame {
  readonly width: number;
  readonly height: number;
  readonly input: Float32Array;
  readonly decodeMs: number;
  readonly prepareMs: number;
}

type Answer =
  | { readonly value: FaceFrame }
  | { readonly error: { readonly message: string; readonly hint: string } };

function decode(frame: RawFrame): Picture {
  if ('path' in frame) return readPicture(frame.path);
  const { rgb, width, height } = frame;
  const data = new Uint8Array(4 * width * height).fill(255);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    data[to] = rgb[from]!;
    data[to + 1] = rgb[from + 1]!;
    data[to + 2] = rgb[from + 2]!;
  }
  return { width, height, data };
}

function look(frame: RawFrame): FaceFrame {
  const start = performance.now();
  const picture = decode(frame);
  const decoded = performance.now();
  const input = faceInput(picture);
  const { width, height } = picture;
  return { width, height, input, decodeMs: decoded - start, prepareMs: performance.now() - decoded };
}

/** What runs in the process. */
export function runEye(): void {
  process.on('message', (frame: RawFrame) => {
    process.send?.(answerTo(frame));
  });
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole group; the parent decides what it means
  process.on('SIGINT', () => undefined);
}

function answerTo(frame: RawFrame): Answer {
  try {
    return { value: look(frame) };
  } catch (error) {
    // classes do not travel
    if (error instanceof UsageError) return { error: { message: error.message, hint: error.hint } };
    return { error: { message: String(error), hint: 'This is a fault of the command.' } };
  }
}

/** A process that looks at one frame after the other. */
export class Eye {
  readonly #child: ChildProcess;
  #settle: ((answer: Answer) => void) | undefined;
  #gone: Answer | undefined;

  constructor({ entry, execArgv } = selfCommand()) {
    this.#child = fork(entry, [EYE_ARGUMENT], {
      execArgv: [...execArgv],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#child.on('message', (answer: Answer) => this.#hear(answer));
    this.#child.on('error', (error) => this.#end(String(error)));
    this.#child.on('exit', (code, signal) => this.#end(`it ended (${signal ?? `exit ${code}`})`));
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  #hear(answer: Answer): void {
    this.#settle?.(answer);
    this.#settle = undefined;
  }

  #end(why: string): void {
    this.#gone = {
      error: { message: `a process that reads frames is gone: ${why}`, hint: 'Start the command again.' },
    };
    this.#hear(this.#gone);
  }

  async look(frame: RawFrame): Promise<FaceFrame> {
    const answer = await new Promise<Answer>((resolve) => {
      if (this.#gone) return resolve(this.#gone);
      this.#settle = resolve;
      this.#child.send(frame, (error) => error && this.#end(error.message));
    });
    if ('error' in answer) throw new UsageError(answer.error.message, answer.error.hint);
    return answer.value;
  }
}
