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

/** Another size, by two neighbours in each direction; made smaller, each pixel is the mean of those that it covers. */
export function resizePicture(picture: Picture, width: number, height: number): Picture {
  if (width === picture.width && height === picture.height) return picture;
  const across = linesOf(picture.width, width);
  const down = linesOf(picture.height, height);
  const rows = new Float32Array(picture.height * width * 4);
  for (let y = 0; y < picture.height; y++)
    for (let x = 0; x < width; x++)
      for (const { at, weight } of across[x]!)
        for (let c = 0; c < 4; c++)
          rows[(y * width + x) * 4 + c]! += weight * picture.data[(y * picture.width + at) * 4 + c]!;
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++)
    for (let i = 0; i < width * 4; i++) {
      let sum = 0;
      for (const { at, weight } of down[y]!) sum += weight * rows[at * width * 4 + i]!;
      data[y * width * 4 + i] = Math.round(sum);
    }
  return { width, height, data };
}

/** Which pixels a pixel of the result is made of, and how much of each. */
function linesOf(from: number, to: number): { at: number; weight: number }[][] {
  const scale = from / to;
  const reach = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale - 0.5;
    const parts: { at: number; weight: number }[] = [];
    for (let at = Math.floor(centre - reach); at <= Math.ceil(centre + reach); at++) {
      const weight = Math.max(0, 1 - Math.abs(at - centre) / reach);
      if (weight > 0) parts.push({ at: Math.max(0, Math.min(from - 1, at)), weight });
    }
    const total = parts.reduce((sum, { weight }) => sum + weight, 0);
    return parts.map(({ at, weight }) => ({ at, weight: weight / total }));
  });
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
