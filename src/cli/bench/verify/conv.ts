/**
 * Convolutions, against float64 sums over the taps, element by element: all of them, or in big results a sample that has
 * every channel's corners and centre, whole border rows and columns of several channels (where padding is decided), and
 * seeded places anywhere. Every element must be finite in both cases, so that one that was never written into the
 * poisoned output cannot hide between the samples.
 */
import { convExtents } from '../../shapes/index.ts';
import { type ConvOperands, randomSource } from '../operands.ts';
import {
  activate,
  afterActivation,
  at,
  FULL_CHECK_LIMIT,
  roundingOf,
  SLACK,
  type Verdict,
  type VerifyMethod,
} from './tolerance.ts';

/**
 * Winograd's F(4x4, 3x3) computes the same sums from differences and multiples (up to 8) of neighbouring pixels that
 * cancel again (Lavin & Gray 2016; Barabasz et al. 2020): its rounding is some three times that of a plain sum over many
 * channels and thirty times over one, and depends on the whole tile rather than on the element's own taps. Largest found
 * with our kernels, in the units of SLACK: 6 over 64 to 512 channels, 14 over 3, 26 over 1, and by F(4x4, 5x5) 8, 26 and 38; plain
 * sums stay below 2. All contestants are held to the same bound where anybody may use it, and the largest error stands in the report beside the
 * time. One forgotten tap of 9 x 512 errs by some 25 times the bound.
 */
const WINOGRAD_SLACK = 64;

/** Channels whose borders are checked all along. */
const BORDER_CHANNELS = 8;

/** What an element costs beside its terms, in terms. */
const ELEMENT_COST = 16;

/** Of the limit, what goes into places anywhere; corners and borders come on top. */
const SEEDED_SHARE = 1 / 4;

export function methodForConv({ shape }: ConvOperands): VerifyMethod {
  const { output, terms } = convExtents(shape);
  return output * (terms + ELEMENT_COST) <= FULL_CHECK_LIMIT ? 'every element' : 'sampled elements';
}

export function verifyConv(operands: ConvOperands, y: Float32Array, method: VerifyMethod): Verdict {
  const { output } = convExtents(operands.shape);
  const fail = (reason: string): Verdict => ({ ok: false, method, reason });
  if (y.length !== output) return fail(`the result has ${y.length} elements instead of ${output}`);
  const unwritten = y.findIndex((value) => !Number.isFinite(value));
  if (unwritten >= 0) return fail(`element [${placeOf(operands, unwritten)}] is ${y[unwritten]}`);
  const places = method === 'every element' ? everyPlace(output) : samplePlaces(operands);
  const reference = referenceFor(operands);
  const slack = SLACK + (allowsWinograd(operands) ? WINOGRAD_SLACK : 0);
  let [worst, maxAbsError, largest] = [0, 0, 0];
  for (const place of places) {
    const { expected, magnitude } = reference(place);
    const rounding = roundingOf(magnitude + Math.abs(expected), slack);
    const allowed = afterActivation(operands.shape.activation, rounding);
    const error = Math.abs(at(y, place) - expected);
    if (!(error <= allowed)) {
      const where = placeOf(operands, place);
      const bound = `(allowed error ${allowed.toExponential(1)})`;
      return fail(`element [${where}] is ${y[place]} instead of ${expected} ${bound}`);
    }
    worst = Math.max(worst, allowed === 0 ? 0 : error / allowed);
    maxAbsError = Math.max(maxAbsError, error);
    largest = Math.max(largest, Math.abs(expected));
  }
  return { ok: true, method, worst, maxAbsError, relativeError: largest === 0 ? 0 : maxAbsError / largest };
}

function allowsWinograd({ shape }: ConvOperands): boolean {
  const { kH, kW, stride, dilation, groups } = shape;
  return (
    kH === kW &&
    (kH === 3 || kH === 5) &&
    groups === 1 &&
    [...stride, ...dilation].every((step) => step === 1)
  );
}

/** [image, channel, row, column] of a flat index. */
function placeOf({ shape }: ConvOperands, place: number): string {
  const { outH, outW } = convExtents(shape);
  const [row, plane] = [Math.floor(place / outW), Math.floor(place / (outW * outH))];
  return [Math.floor(plane / shape.outC), plane % shape.outC, row % outH, place % outW].join(', ');
}

function* everyPlace(count: number): Generator<number> {
  for (let place = 0; place < count; place++) yield place;
}

function* samplePlaces({ shape }: ConvOperands): Generator<number> {
  const { batch, outC } = shape;
  const { outH, outW, output, terms } = convExtents(shape);
  const planes = batch * outC;
  const [lastRow, lastColumn, size] = [outH - 1, outW - 1, outH * outW];
  const centre = Math.floor(outH / 2) * outW + Math.floor(outW / 2);
  for (let plane = 0; plane < planes; plane++) {
    for (const corner of [0, lastColumn, lastRow * outW, size - 1, centre]) yield plane * size + corner;
  }
  const bordered = Math.min(planes, BORDER_CHANNELS);
  for (let i = 0; i < bordered; i++) {
    const base = Math.round((i * (planes - 1)) / Math.max(1, bordered - 1)) * size;
    for (let column = 0; column < outW; column++) {
      yield base + column;
      yield base + lastRow * outW + column;
    }
    for (let row = 0; row < outH; row++) {
      yield base + row * outW;
      yield base + row * outW + lastColumn;
    }
  }
  const random = randomSource(0x7e55e7ae);
  const seeded = Math.floor((SEEDED_SHARE * FULL_CHECK_LIMIT) / (terms + ELEMENT_COST));
  for (let i = 0; i < seeded; i++) yield Math.floor(random() * output);
}

interface Reference {
  /** The element in float64. */
  readonly expected: number;
  /** Sum of the magnitudes of everything that was added up for it. */
  readonly magnitude: number;
}

/** Taps that are not in the padding. Their bounds are found before the loop: with a test for each tap in it Node 22 (V8 12.4) computed NaN
 *  for single elements, in two of some thirty processes. */
function inside(first: number, step: number, taps: number, extent: number): { from: number; to: number } {
  const from = Math.max(0, Math.ceil(-first / step));
  return { from, to: Math.min(taps, Math.ceil((extent - first) / step)) };
}

function referenceFor({ shape, x, w, bias }: ConvOperands): (place: number) => Reference {
  const { inC, inH, inW, outC, kH, kW, stride, padding, dilation, groups, activation } = shape;
  const { outH, outW, terms } = convExtents(shape);
  const [inPerGroup, outPerGroup] = [inC / groups, outC / groups];
  return (place) => {
    const plane = Math.floor(place / (outH * outW));
    const channel = plane % outC;
    const firstC = Math.floor(plane / outC) * inC + Math.floor(channel / outPerGroup) * inPerGroup;
    const top = (Math.floor(place / outW) % outH) * stride[0] - padding[0];
    const left = (place % outW) * stride[1] - padding[1];
    const [rows, columns] = [inside(top, dilation[0], kH, inH), inside(left, dilation[1], kW, inW)];
    let sum = bias === undefined ? 0 : at(bias, channel);
    let magnitude = Math.abs(sum);
    for (let c = 0; c < inPerGroup; c++) {
      for (let i = rows.from; i < rows.to; i++) {
        const line = ((firstC + c) * inH + top + i * dilation[0]) * inW + left;
        const taps = channel * terms + (c * kH + i) * kW;
        for (let j = columns.from; j < columns.to; j++) {
          const product = x[line + j * dilation[1]]! * w[taps + j]!;
          sum += product;
          magnitude += Math.abs(product);
        }
      }
    }
    return { expected: activate(activation, sum), magnitude };
  };
}
