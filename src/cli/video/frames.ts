/** Where frames come from: a folder of pictures at a camera's pace, or raw pixels from a stream. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../errors.ts';

/** A frame as the decoder takes it. */
export type RawFrame =
  | { readonly path: string }
  | { readonly rgb: Uint8Array<ArrayBuffer>; readonly width: number; readonly height: number };

const PICTURE = /\.(png|jpe?g)$/i;

/** The pictures of a folder, in the order of their names (numbers as numbers). */
export function pictureFiles(folder: string): readonly string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    throw new UsageError(`${folder} is no folder that can be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  const found = names.filter((name) => PICTURE.test(name));
  if (found.length === 0) throw new UsageError(`there are no pictures in ${folder}`, 'PNG and JPEG are.');
  return found.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).map((name) => join(folder, name));
}

/** Frames at a pace; 0: as soon as they are asked for. */
export async function* paced(files: readonly string[], fps: number): AsyncGenerator<RawFrame> {
  const start = performance.now();
  for (const [index, path] of files.entries()) {
    const wait = fps > 0 ? start + (1000 * index) / fps - performance.now() : 0;
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    yield { path };
  }
}

/** Frames of width x height pixels, three bytes each (`ffmpeg -f rawvideo -pix_fmt rgb24`). */
export async function* rawFrames(
  stream: AsyncIterable<Uint8Array>,
  width: number,
  height: number,
): AsyncGenerator<RawFrame> {
  const bytes = 3 * width * height;
  let rgb = new Uint8Array(bytes);
  let filled = 0;
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + bytes - filled);
      rgb.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < bytes) continue;
      yield { rgb, width, height };
      rgb = new Uint8Array(bytes);
      filled = 0;
    }
  }
  if (filled > 0)
    throw new UsageError(
      `the stream ends ${bytes - filled} bytes before the end of a frame`,
      `A frame of ${width}x${height} has ${bytes} bytes: three for each pixel. Is --size right?`,
    );
}
