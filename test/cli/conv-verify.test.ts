import test from 'tape';
import { type ConvOperands, makeOperands } from '../../src/cli/bench/operands.ts';
import { methodFor, type VerifyMethod, verify } from '../../src/cli/bench/verify.ts';
import { type ConvShape, convExtents, parseShape } from '../../src/cli/shapes/index.ts';
import { convolve } from './support.ts';

const METHODS: readonly VerifyMethod[] = ['every element', 'sampled elements'];

function operandsOf(text: string): ConvOperands {
  const shape = parseShape(text);
  if (shape.kind !== 'conv') throw new Error(`${text} is no convolution`);
  return makeOperands(shape);
}

test('conv verify: right answers pass, with a small error', (t) => {
  const shapes = [
    'conv 1x1x1x1 1 1x1',
    'conv 2x3x7x5 4 3x3 p1 bias',
    'conv 1x6x13x11 8 5x3 s2.1 p1.0.2.1 d1.2 g2 relu',
    'conv 1x12x9x9 12 3x3 s2 p0.0.1.1 g12 bias hardSwish',
    'conv 1x4x8x8 8 3x3 p1 g4 bias leakyRelu=0.1',
    'conv 1x5x6x6 3 1x1 s2 silu',
    'conv 1x5x6x6 3 1x1 clip=-0.5:0.5',
  ];
  for (const text of shapes) {
    const operands = operandsOf(text);
    const y = convolve(operands, operands.w);
    for (const method of METHODS) {
      const verdict = verify(operands, y, method);
      t.ok(verdict.ok, `${text} by ${method}${verdict.ok ? '' : `: ${verdict.reason}`}`);
      if (!verdict.ok) continue;
      const { maxAbsError = 1, relativeError = 1 } = verdict;
      t.ok(maxAbsError < 1e-5 && relativeError < 1e-6, `max error ${maxAbsError}, relative ${relativeError}`);
    }
  }
  t.end();
});

/** Answers that wrong implementations would give. */
const WRONG: Readonly<Record<string, (operands: ConvOperands) => Float32Array>> = {
  'no padding: the image moved': ({ shape, ...rest }) => {
    const [top, left, bottom, right] = shape.padding;
    const moved: ConvShape = { ...shape, padding: [0, 0, top + bottom, left + right] };
    return convolve({ ...rest, shape: moved }, rest.w);
  },
  'padding on the other side': ({ shape, ...rest }) => {
    const [top, left, bottom, right] = shape.padding;
    return convolve({ ...rest, shape: { ...shape, padding: [bottom, right, top, left] } }, rest.w);
  },
  'filters turned by 180 degrees': (operands) =>
    convolve(
      operands,
      mapTaps(operands, (tap, taps) => taps - 1 - tap),
    ),
  'filters transposed': (operands) => {
    const { kH, kW } = operands.shape;
    return convolve(
      operands,
      mapTaps(operands, (tap) => (tap % kH) * kW + Math.floor(tap / kH)),
    );
  },
  'two filters swapped': (operands) => {
    const { terms } = convExtents(operands.shape);
    const w = operands.w.slice();
    w.set(operands.w.subarray(terms, 2 * terms));
    w.set(operands.w.subarray(0, terms), terms);
    return convolve(operands, w);
  },
  'one tap forgotten': (operands) => {
    const w = operands.w.slice();
    w[w.length - 1] = 0;
    return convolve(operands, w);
  },
  'no bias': (operands) => convolve({ ...operands, bias: undefined }, operands.w),
  'no activation': ({ shape, ...rest }) =>
    convolve({ ...rest, shape: { ...shape, activation: 'none' } }, rest.w),
  'one element off': (operands) => spoiled(operands, 77, 0.01),
  'one element never written': (operands) => spoiled(operands, 133, Number.NaN),
  'the last element never written': (operands) => spoiled(operands, -1, Number.NaN),
};

/** Inside each channel's filter, the tap that stands at another's place. */
function mapTaps({ shape, w }: ConvOperands, from: (tap: number, taps: number) => number): Float32Array {
  const taps = shape.kH * shape.kW;
  return w.map((_, i) => w[i - (i % taps) + from(i % taps, taps)] ?? Number.NaN);
}

function spoiled(operands: ConvOperands, index: number, by: number): Float32Array {
  const y = convolve(operands, operands.w);
  const place = index < 0 ? y.length + index : index;
  y[place] = (y[place] ?? 0) + by;
  return y;
}

test('conv verify: planted errors are caught', (t) => {
  const operands = operandsOf('conv 1x6x17x19 10 3x3 p0.1.1.0 bias relu');
  for (const [name, make] of Object.entries(WRONG)) {
    for (const method of METHODS) {
      const verdict = verify(operands, make(operands), method);
      t.notOk(verdict.ok, `${name}, by ${method}`);
    }
  }
  const short = verify(operands, new Float32Array(3));
  t.match(short.ok ? '' : short.reason, /3 elements instead of 2880/, 'wrong length');
  t.end();
});

test('conv verify: a sample sees every channel, the borders and elements that are not finite', (t) => {
  const operands = operandsOf('conv 1x4x150x150 64 3x3 p1 bias');
  const { output, outH, outW } = convExtents(operands.shape);
  t.equal(methodFor(operands), 'sampled elements', `${output} elements`);
  const y = convolve(operands, operands.w);
  const verdict = verify(operands, y);
  t.ok(verdict.ok, verdict.ok ? 'right' : verdict.reason);
  const size = outH * outW;
  for (let channel = 0; channel < 64; channel++) {
    const wrong = y.slice();
    wrong[channel * size] = (wrong[channel * size] ?? 0) + 0.01;
    if (verify(operands, wrong).ok) t.fail(`the first pixel of channel ${channel} is not looked at`);
  }
  // One at a time: seeded places alone see a fifth of them.
  for (let i = 3; i < 140; i += 29) {
    const sides = { left: i * outW, right: i * outW + outW - 1, top: i, bottom: (outH - 1) * outW + i };
    for (const [side, place] of Object.entries(sides)) {
      const wrong = y.slice();
      wrong[place] = (wrong[place] ?? 0) + 0.01;
      if (verify(operands, wrong).ok) t.fail(`pixel ${i} of the ${side} border is not looked at`);
    }
  }
  for (const place of [12_345, 700_001, output - 2]) {
    const hole = y.slice();
    hole[place] = Number.NaN;
    const found = verify(operands, hole);
    t.match(found.ok ? '' : found.reason, /is NaN/, `element ${place} was never written`);
  }
  t.end();
});

test('conv verify: where Winograd applies more rounding is allowed, yet no forgotten tap', (t) => {
  for (const [text, allowed] of [
    ['conv 1x512x7x7 4 3x3 p1', true],
    ['conv 1x512x7x7 4 3x3 s2 p1', false],
    ['conv 1x512x7x7 4 5x5 p2', true],
    ['conv 1x512x7x7 4 7x7 p3', false],
  ] as const) {
    const operands = operandsOf(text);
    const y = convolve(operands, operands.w);
    const { terms } = convExtents(operands.shape);
    const magnitudes = convolve({ ...operands, x: operands.x.map(Math.abs) }, operands.w.map(Math.abs));
    const wobbled = (units: number) =>
      y.map((value, i) => value + (i === 30 ? units * 2 ** -23 * (magnitudes[30] ?? 0) : 0));
    t.equal(verify(operands, wobbled(40)).ok, allowed, `${text}: rounding as of a transform`);
    t.notOk(verify(operands, wobbled(200)).ok, `${text}: more than that`);
    const w = operands.w.slice();
    w[terms - 5] = 0;
    t.notOk(verify(operands, convolve(operands, w)).ok, `${text}: a forgotten tap`);
  }
  t.end();
});

test('conv operands: seeded by the shape, magnitudes differ by row and by filter', (t) => {
  const [a, b] = [operandsOf('conv 1x2x9x9 3 3x3'), operandsOf('conv 1x2x9x9 3 3x3')];
  t.deepEqual([a.x, a.w], [b.x, b.w]);
  t.notDeepEqual(a.x, operandsOf('conv 1x2x9x9 3 3x3 relu').x);
  t.equal(a.bias, undefined);
  t.ok(new Set(a.x).size > 150, 'values differ');
  t.end();
});
