/**
 * Decoding and pre-processing of frames in processes beside the network's, one frame each. (Threads would spare copying the pixels, a
 * millisecond or two; but the entry that starts them is also run from its TypeScript sources, which threads do not load on Node 20.)
 */
import { answerAll, Child, ChildError } from '../bench/child.ts';
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
  answerAll(look);
}

/** A process that looks at one frame after the other. */
export class Eye {
  readonly #child = new Child<RawFrame>(EYE_ARGUMENT);

  async look(frame: RawFrame): Promise<FaceFrame> {
    try {
      return (await this.#child.request(frame)) as FaceFrame;
    } catch (error) {
      if (error instanceof ChildError && error.hint !== undefined)
        throw new UsageError(error.message, error.hint);
      throw error;
    }
  }

  close(): void {
    this.#child.kill();
  }
}
