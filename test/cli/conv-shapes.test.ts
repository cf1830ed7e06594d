import test from 'tape';
import { bytesOf, flopsOf, isMemoryBound } from '../../src/cli/bench/operands.ts';
import {
  type ConvShape,
  convExtents,
  convKind,
  parseShape,
  parseShapeFile,
  printShape,
  shapeList,
} from '../../src/cli/shapes/index.ts';
import { parseActivation } from '../../src/cli/shapes/syntax.ts';

function conv(text: string): ConvShape {
  const shape = parseShape(text);
  if (shape.kind !== 'conv') throw new Error(`${text} is no convolution`);
  return shape;
}

test('conv shapes: text', (t) => {
  const full = conv('conv 2x6x20x30 9 3x5 s2.1 p0.1.2.3 d1.2 g3 bias clip=0:6');
  t.deepEqual([full.batch, full.inC, full.inH, full.inW, full.outC], [2, 6, 20, 30, 9], 'extents');
  t.deepEqual([full.kH, full.kW, full.groups, full.bias], [3, 5, 3, true], 'filter, groups, bias');
  t.deepEqual(
    [full.stride, full.dilation],
    [
      [2, 1],
      [1, 2],
    ],
    'vertical, then horizontal',
  );
  t.deepEqual(full.padding, [0, 1, 2, 3], 'top, left, bottom, right');
  t.deepEqual(conv('conv 1x3x8x8 4 3x3 p1.2').padding, [1, 2, 1, 2], 'two paddings: vertical, horizontal');
  const plain = conv(' CONV 1 x 3 × 8*8 4 3x3 ');
  t.deepEqual([plain.stride, plain.padding, plain.dilation, plain.groups], [[1, 1], [0, 0, 0, 0], [1, 1], 1]);
  t.equal(printShape(plain), 'conv 1x3x8x8 4 3x3 s1 p0', 'stride and padding are always printed');
  t.equal(printShape(full), 'conv 2x6x20x30 9 3x5 s2.1 p0.1.2.3 d1.2 g3 bias clip=0:6');
  t.equal(
    printShape(conv('conv 1x8x8x8 8 1x1 HARDSWISH')),
    'conv 1x8x8x8 8 1x1 s1 p0 hardSwish',
    'one spelling of an activation',
  );
  t.deepEqual(parseActivation('leakyRelu=0.1'), { kind: 'leakyRelu', slope: 0.1 });
  t.end();
});

test('conv shapes: printing and parsing are inverses', (t) => {
  const words = ['s1', 's2', 's3.1'].flatMap((s) => ['p0', 'p1', 'p2.1', 'p0.1.1.0'].map((p) => `${s} ${p}`));
  for (const word of words) {
    for (const rest of ['', ' d2', ' d1.2 g4', ' g2 bias', ' bias silu', ' leakyRelu=0.25', ' clip=-1:0.5']) {
      const shape = conv(`conv 1x8x11x13 12 3x2 ${word}${rest}`);
      t.deepEqual({ ...conv(printShape(shape)) }, { ...shape }, printShape(shape));
    }
  }
  t.end();
});

test('conv shapes: bad text is refused with a reason', (t) => {
  const cases: readonly (readonly [text: string, reason: RegExp])[] = [
    ['conv', /"conv" is no shape; write conv batch/],
    ['conv 3x8x8 4 3x3', /is no shape/],
    ['conv 1x3x8x8 3x3', /is no shape/],
    ['conv 1x3x8x8 4 3', /is no shape/],
    ['conv 1x3x8x8 4 3x3 q1', /unknown word "q1"; known are s1, p1/],
    ['conv 1x3x8x8 4 3x3 s1.2.3', /"s1.2.3" has 3 numbers, 1 or 2/],
    ['conv 1x3x8x8 4 3x3 p1.2.3', /"p1.2.3" has 3 numbers, 1 or 2 or 4/],
    ['conv 1x3x8x8 4 3x3 s0', /stride must be a whole number from 1 up/],
    ['conv 1x3x8x8 4 3x3 g2', /2 groups do not divide 3 and 4 channels/],
    ['conv 1x4x8x8 5 3x3 g2', /2 groups do not divide 4 and 5/],
    ['conv 0x3x8x8 4 3x3', /batch must be a whole number/],
    ['conv 1x3x8x8 4 9x9', /filter does not fit/],
    ['conv 1x3x99999x99999 4 3x3', /does not fit: an operand/],
    ['conv 1x3x8x8 4 3x3 leakyRelu=x', /leakyRelu needs a number/],
  ];
  for (const [text, reason] of cases) t.throws(() => parseShape(text), reason, text);
  t.end();
});

test('conv shapes: files, beside products', (t) => {
  const lines = parseShapeFile('conv 1x3x8x8 4 3x3 p1 relu # first\n8x8x8\n');
  t.deepEqual(lines.map(printShape), ['conv 1x3x8x8 4 3x3 s1 p1 relu', '8x8x8']);
  const json = parseShapeFile(
    '["conv 1x3x8x8 4 3x3", {"shape": "conv 1x1x5x5 1 5x5", "name": "mine", "source": "here"}]',
  );
  t.deepEqual([json[1]?.name, json[1]?.source], ['mine', 'here'], 'a text with a name of its own');
  t.throws(() => parseShapeFile('[{"shape": "8x8x8", "m": 3}]'), /unknown field "m"/);
  t.throws(() => parseShapeFile('8x8x8\nconv 1x2x3 4'), /line 2: "conv 1x2x3 4" is no shape/);
  t.end();
});

test('conv shapes: extents, work and kinds', (t) => {
  const conv1 = conv('conv 1x3x224x224 64 7x7 s2 p3');
  t.deepEqual([convExtents(conv1).outH, convExtents(conv1).outW], [112, 112]);
  t.equal(flopsOf(conv1), 2 * 64 * 112 * 112 * 147, 'multiply-adds of the whole window, padding included');
  const uneven = convExtents(conv('conv 1x24x128x128 24 5x5 s2 p1.1.2.2 g24'));
  t.deepEqual([uneven.outH, uneven.outW, uneven.terms], [64, 64, 25], 'asymmetric padding');
  t.equal(convExtents(conv('conv 1x1x20x20 1 3x3 d4')).outH, 12, 'dilation');
  const depthwise = conv('conv 1x32x56x56 32 3x3 p1 g32');
  t.equal(bytesOf(depthwise), 4 * 2 * 32 * 56 * 56, 'images in and out');
  t.deepEqual([isMemoryBound(depthwise), isMemoryBound(conv1)], [true, false]);
  const kinds = [
    ['conv 1x64x56x56 64 3x3 p1', '3x3, stride 1'],
    ['conv 1x64x56x56 64 3x3 s2 p1', 'other'],
    ['conv 1x64x56x56 64 3x3 d2 p2', 'other'],
    ['conv 1x64x56x56 64 5x5 p2', 'other'],
    ['conv 1x64x56x56 64 3x3 p1 g2', 'other'],
    ['conv 1x64x56x56 64 1x1 s2', '1x1'],
    ['conv 1x3x56x56 64 3x3 p1', 'first layer'],
    ['conv 1x64x56x56 64 3x3 p1 g64', 'depthwise'],
    ['conv 1x64x56x56 128 3x3 p1 g64', 'depthwise'],
  ] as const;
  for (const [text, kind] of kinds) t.equal(convKind(conv(text)), kind, text);
  t.end();
});

test('conv shapes: the lists', (t) => {
  const all = shapeList('conv')?.shapes ?? [];
  t.ok(all.length > 100, `${all.length} layers`);
  t.ok(
    all.every((shape) => shape.kind === 'conv' && shape.source !== 'given'),
    'each with its source',
  );
  t.equal(new Set(all.map(({ name }) => name)).size, all.length, 'each with a name of its own');
  const keys = new Set(all.map(printShape));
  for (const network of [
    'resnet50',
    'mobilenetv2',
    'mobilenetv3',
    'yolo',
    'superres',
    'ppocr',
    'blazeface',
  ]) {
    const shapes = shapeList(`conv-${network}`)?.shapes ?? [];
    t.ok(
      shapes.length > 5 && shapes.every((shape) => keys.has(printShape(shape))),
      `conv-${network} is in it`,
    );
  }
  t.equal(shapeList('conv-quick')?.shapes.length, 8);
  t.end();
});
