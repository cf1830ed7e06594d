/** Pictures and arrays in files: PNG and JPEG by pngjs and jpeg-js (small, without native code), NumPy's .npy by its own short format. */
import { readFileSync, writeFileSync } from 'node:fs';
import jpeg from 'jpeg-js';
import { PNG } from 'pngjs';
import type { ElementType } from '../onnx/index.ts';
import { UsageError } from './errors.ts';

/** Four bytes a pixel: red, green, blue, opacity. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Pictures beyond this are refused before they are unpacked. */
const MOST_MEGAPIXELS = 100;
const MOST_MEGABYTES = 1024;

export function readPicture(path: string): Picture {
  const bytes = readFileSync(path);
  try {
    if (bytes[0] === 0x89) {
      const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
      if (width * height > MOST_MEGAPIXELS * 1e6) throw new Error(`${width} x ${height} pixels are too many`);
      return PNG.sync.read(bytes);
    }
    return jpeg.decode(bytes, {
      useTArray: true,
      maxResolutionInMP: MOST_MEGAPIXELS,
      maxMemoryUsageInMB: MOST_MEGABYTES,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${path} is no picture that can be read: ${reason}`, 'PNG and JPEG are.');
  }
}

export function writePicture(path: string, { width, height, data }: Picture): void {
  const png = new PNG({ width, height });
  png.data.set(data);
  writeFileSync(path, PNG.sync.write(png));
}

/** A part of a picture; what of it lies outside of the picture is black. */
export interface Part {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Another size, by two neighbours in each direction; made smaller, each pixel is the mean of those that it covers. Of a part of the
 * picture, where one is given.
 */
export function resizePicture(picture: Picture, width: number, height: number, part?: Part): Picture {
  if (!part && width === picture.width && height === picture.height) return picture;
  const { left, top, width: wide, height: tall } = part ?? { left: 0, top: 0, ...picture };
  const across = tapsOf({ first: left, length: wide, all: picture.width }, width);
  const down = tapsOf({ first: top, length: tall, all: picture.height }, height);
  // down first: it reads rows that lie together
  const rows = new Float32Array(height * picture.width * 4);
  const pitch = 4 * picture.width;
  for (let y = 0; y < height; y++)
    for (let tap = down.first[y]!; tap < down.first[y + 1]!; tap++) {
      const [from, weight] = [down.at[tap]! * pitch, down.weight[tap]!];
      for (let i = 0, to = y * pitch; i < pitch; i++) rows[to + i]! += weight * picture.data[from + i]!;
    }
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      let [red, green, blue, opacity] = [0.5, 0.5, 0.5, 0.5];
      for (let tap = across.first[x]!; tap < across.first[x + 1]!; tap++) {
        const [from, weight] = [y * pitch + 4 * across.at[tap]!, across.weight[tap]!];
        red += weight * rows[from]!;
        green += weight * rows[from + 1]!;
        blue += weight * rows[from + 2]!;
        opacity += weight * rows[from + 3]!;
      }
      const to = 4 * (y * width + x);
      data[to] = red;
      data[to + 1] = green;
      data[to + 2] = blue;
      data[to + 3] = opacity;
    }
  return { width, height, data };
}

/** Which pixels each pixel of the result is made of, and how much of each; those of pixel i are from `first[i]` to `first[i + 1]`. */
interface Taps {
  readonly first: Int32Array;
  readonly at: Int32Array;
  readonly weight: Float32Array;
}

interface Line {
  readonly first: number;
  readonly length: number;
  /** Pixels that there are. */
  readonly all: number;
}

/** Behind the ends of a line its last pixels go on; behind those of the picture, where the line is longer, there is nothing. */
function tapsOf(line: Line, to: number): Taps {
  const scale = line.length / to;
  const reach = Math.max(1, scale);
  const most = Math.ceil(2 * reach) + 2;
  const [first, at, weight] = [
    new Int32Array(to + 1),
    new Int32Array(to * most),
    new Float32Array(to * most),
  ];
  let count = 0;
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale - 0.5;
    let total = 0;
    for (let place = Math.floor(centre - reach); place <= Math.ceil(centre + reach); place++) {
      const part = Math.max(0, 1 - Math.abs(place - centre) / reach);
      if (part === 0) continue;
      total += part;
      const pixel = line.first + Math.max(0, Math.min(line.length - 1, place));
      if (pixel < 0 || pixel >= line.all) continue;
      at[count] = pixel;
      weight[count++] = part;
    }
    for (let tap = first[i]!; tap < count; tap++) weight[tap]! /= total;
    first[i + 1] = count;
  }
  return { first, at, weight };
}

export interface PixelOptions {
  /** (v / scale - mean) / deviation, for red, green, blue in the order in which they are stored. */
  readonly scale: number;
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  readonly isBgr: boolean;
  readonly layout: 'nchw' | 'nhwc';
}

/** The numbers of a picture's pixels, as networks take them. */
export function pixelsOf({ width, height, data }: Picture, options: PixelOptions): Float32Array {
  const { scale, mean, deviation, isBgr, layout } = options;
  const out = new Float32Array(3 * width * height);
  const pixels = width * height;
  for (let i = 0; i < pixels; i++)
    for (let c = 0; c < 3; c++) {
      const value = data[4 * i + (isBgr ? 2 - c : c)]! / scale;
      const to = layout === 'nchw' ? c * pixels + i : 3 * i + c;
      out[to] = (value - (mean[c] ?? mean[0] ?? 0)) / (deviation[c] ?? deviation[0] ?? 1);
    }
  return out;
}

const NPY = {
  '<f4': (buffer: ArrayBuffer) => new Float32Array(buffer),
  '<f8': (buffer: ArrayBuffer) => new Float64Array(buffer),
  '<i4': (buffer: ArrayBuffer) => new Int32Array(buffer),
  '|u1': (buffer: ArrayBuffer) => new Uint8Array(buffer),
  '|i1': (buffer: ArrayBuffer) => new Int8Array(buffer),
  '|b1': (buffer: ArrayBuffer) => new Uint8Array(buffer),
  '<i8': (buffer: ArrayBuffer) => new BigInt64Array(buffer),
} as const;

/** The types of ONNX by those of NumPy. */
export const NPY_TYPES: Readonly<Record<keyof typeof NPY, ElementType>> = {
  ...{ '<f4': 'float32', '<f8': 'float64', '<i4': 'int32', '|u1': 'uint8', '|i1': 'int8' },
  ...{ '|b1': 'bool', '<i8': 'int64' },
};

export interface ArrayFile {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly data: ReturnType<(typeof NPY)[keyof typeof NPY]>;
}

/** numpy.lib.format, version 1 to 3: C order, little-endian numbers. */
export function readArray(path: string): ArrayFile {
  const bytes = readFileSync(path);
  const wrong = (why: string) => new UsageError(`${path} is no .npy file that can be read: ${why}`);
  if (bytes.toString('latin1', 1, 6) !== 'NUMPY') throw wrong('it does not begin as one');
  const isShort = bytes[6] === 1;
  const length = isShort ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8);
  const start = isShort ? 10 : 12;
  const header = bytes.toString('latin1', start, start + length);
  const descr = /'descr':\s*'([^']+)'/.exec(header)?.[1];
  if (descr === undefined || !Object.hasOwn(NPY, descr)) throw wrong(`of type ${descr}`);
  if (/'fortran_order':\s*True/.test(header)) throw wrong('it is stored by columns');
  const dims = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? '')
    .split(',')
    .map((text) => text.trim())
    .filter(Boolean)
    .map(Number);
  const own = bytes.subarray(start + length);
  const buffer = new Uint8Array(own).buffer as ArrayBuffer;
  const type = descr as keyof typeof NPY;
  return { type: NPY_TYPES[type], dims, data: NPY[type](buffer) };
}

export function writeArray(
  path: string,
  type: string,
  data: NodeJS.TypedArray,
  dims: readonly number[],
): void {
  const descr = Object.entries(NPY_TYPES).find(([, name]) => name === type)?.[0] ?? '<f4';
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(', ');
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const head = Buffer.alloc(10);
  head.write('\x93NUMPY\x01\x00', 'latin1');
  head.writeUInt16LE(length, 8);
  const body = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  writeFileSync(path, Buffer.concat([head, Buffer.from(`${text.padEnd(length - 1)}\n`, 'latin1'), body]));
}
