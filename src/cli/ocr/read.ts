/** Text in pictures by PP-OCRv4: where it is, then what it says. */
import { type InferenceSession, Tensor } from '../../onnx/index.ts';
import { type Picture, type PixelOptions, pixelsOf, resizePicture } from '../images.ts';
import { type Box, boxesIn } from './boxes.ts';

export interface TextLine {
  readonly text: string;
  /** Mean probability of its letters. */
  readonly confidence: number;
  readonly box: Box;
}

/** Longer sides are made shorter: text stays legible, and the network's work is bounded. */
const MOST_SIDE = 960;
/** The network halves its image five times. */
const MULTIPLE = 32;
const HEIGHT = 48;
/** Widths are rounded up to this, so that few shapes are planned. */
const WIDTH_STEP = 96;
const LEAST_CONFIDENCE = 0.5;

/** ImageNet's, in the order in which the channels are stored, as the network was trained. */
const DETECTION: PixelOptions = {
  ...{ scale: 255, mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] },
  isBgr: true,
  layout: 'nchw',
};
const RECOGNITION: PixelOptions = { ...DETECTION, mean: [0.5], deviation: [0.5] };

function roundTo(value: number, step: number): number {
  return Math.max(step, Math.round(value / step) * step);
}

/** Boxes in the picture's own pixels. */
export async function findText(session: InferenceSession, picture: Picture): Promise<Box[]> {
  const scale = Math.min(1, MOST_SIDE / Math.max(picture.width, picture.height));
  const width = roundTo(picture.width * scale, MULTIPLE);
  const height = roundTo(picture.height * scale, MULTIPLE);
  const data = pixelsOf(resizePicture(picture, width, height), DETECTION);
  const [name] = session.inputNames;
  const results = await session.run({ [name!]: new Tensor('float32', data, [1, 3, height, width]) });
  const map = results[session.outputNames[0]!]!.data as Float32Array;
  const [x, y] = [picture.width / width, picture.height / height];
  return boxesIn(map, width, height).map(({ left, top, right, bottom }) => ({
    left: Math.floor(left * x),
    top: Math.floor(top * y),
    right: Math.min(picture.width, Math.ceil(right * x)),
    bottom: Math.min(picture.height, Math.ceil(bottom * y)),
  }));
}

export function crop(picture: Picture, { left, top, right, bottom }: Box): Picture {
  const [width, height] = [right - left, bottom - top];
  const data = new Uint8Array(4 * width * height);
  for (let y = 0; y < height; y++) {
    const from = 4 * ((top + y) * picture.width + left);
    data.set(picture.data.subarray(from, from + 4 * width), 4 * y * width);
  }
  return { width, height, data };
}

/** A line's numbers, zeros (the middle grey) behind its end. */
function lineTensor(picture: Picture): Tensor<'float32'> {
  const width = Math.max(1, Math.round((picture.width * HEIGHT) / picture.height));
  const padded = Math.ceil(width / WIDTH_STEP) * WIDTH_STEP;
  const pixels = pixelsOf(resizePicture(picture, width, HEIGHT), RECOGNITION);
  const data = new Float32Array(3 * HEIGHT * padded);
  for (let row = 0; row < 3 * HEIGHT; row++)
    data.set(pixels.subarray(row * width, (row + 1) * width), row * padded);
  return new Tensor('float32', data, [1, 3, HEIGHT, padded]);
}

/** Best class of each step, repeats and blanks left out (Graves et al., "Connectionist temporal classification", 2006). */
export function decode(
  scores: ArrayLike<number>,
  steps: number,
  classes: number,
  letters: readonly string[],
): { text: string; confidence: number } {
  let text = '';
  let [before, sum, count] = [0, 0, 0];
  for (let step = 0; step < steps; step++) {
    let best = 0;
    for (let c = 1; c < classes; c++)
      if (scores[step * classes + c]! > scores[step * classes + best]!) best = c;
    if (best !== 0 && best !== before) {
      text += letters[best - 1] ?? ' ';
      sum += scores[step * classes + best]!;
      count++;
    }
    before = best;
  }
  return { text, confidence: count === 0 ? 0 : sum / count };
}

export async function readLine(
  session: InferenceSession,
  picture: Picture,
  letters: readonly string[],
): Promise<{ text: string; confidence: number }> {
  const [name] = session.inputNames;
  const results = await session.run({ [name!]: lineTensor(picture) });
  const { data, dims } = results[session.outputNames[0]!]!;
  return decode(data as Float32Array, dims[1]!, dims[2]!, letters);
}

export async function readPage(
  detection: InferenceSession,
  recognition: InferenceSession,
  letters: readonly string[],
  picture: Picture,
): Promise<TextLine[]> {
  const lines: TextLine[] = [];
  for (const box of await findText(detection, picture)) {
    if (box.right - box.left < 2 || box.bottom - box.top < 2) continue;
    const { text, confidence } = await readLine(recognition, crop(picture, box), letters);
    if (text.trim() !== '' && confidence >= LEAST_CONFIDENCE)
      lines.push({ text: text.trim(), confidence, box });
  }
  return lines;
}
