import test from 'tape';
import { flopsOf, makeOperands } from '../../src/cli/bench/operands.ts';
import {
  parseMatmul,
  parseShape,
  parseShapeFile,
  printShape,
  SHAPE_LISTS,
  shapeList,
} from '../../src/cli/shapes/index.ts';
import { roundToHalf } from '../../src/core/half.ts';

test('shapes: text', (t) => {
  const plain = parseMatmul('1x4096x11008');
  t.deepEqual([plain.m, plain.k, plain.n, plain.batch], [1, 4096, 11008, undefined], 'm x k x n');
  const batched = parseMatmul(' 12 x 128 X 64 × 197 transposeB ');
  t.deepEqual(
    [batched.batch, batched.m, batched.k, batched.n],
    [12, 128, 64, 197],
    'batch first, spaces allowed',
  );
  t.equal(batched.transposeB, true, 'words after the extents');
  t.deepEqual(
    parseMatmul('4x4x4 clip=-1:6').activation,
    { kind: 'clip', min: -1, max: 6 },
    'clip with bounds',
  );
  t.equal(parseMatmul('4x8x4 F16').half, true, 'operands that a GPU keeps as halves');
  t.equal(printShape(parseShape('4x8x4 f16')), '4x8x4 f16');
  const [json] = parseShapeFile('[{ "m": 4, "k": 8, "n": 4, "half": true }]');
  t.equal(json && printShape(json), '4x8x4 f16', 'the same in JSON');
  const chain = parseShape('2x8x8 f16 chain=4');
  t.equal(printShape(chain), '2x8x8 f16 chain=4');
  t.equal(flopsOf(chain), 4 * flopsOf(parseShape('2x8x8')), 'all products count');
  t.end();
});

test('shapes: operands of halves are halves', (t) => {
  const { a, b } = makeOperands(parseMatmul('7x33x9 f16'));
  for (const values of [a, b]) {
    t.ok(
      values.every((value) => roundToHalf(value) === value),
      'each of them',
    );
    t.ok(new Set(values).size > values.length / 4, 'and they differ');
  }
  t.end();
});

test('shapes: bad text is refused with a reason', (t) => {
  t.throws(() => parseShape('4096x4096'), /"4096x4096" is no shape/, 'two extents');
  t.throws(() => parseShape('1x2x3x4x5'), /no shape/, 'five extents');
  t.throws(() => parseShape(''), /no shape/, 'nothing');
  t.throws(() => parseShape('1x-2x3'), /no shape/, 'negative');
  t.throws(() => parseShape('1x2.5x3'), /no shape/, 'fraction');
  t.throws(() => parseShape('0x2x3'), /m must be a whole number from 1 up, got 0/, 'zero');
  t.throws(() => parseShape('4x4x4 rellu'), /unknown word "rellu"/, 'unknown word');
  t.throws(() => parseShape('4x4x4 clip=6:0'), /smaller one first/, 'clip upside down');
  t.throws(() => parseShape('4x4x4 chain=1'), /from 2 to 64/, 'a chain of one');
  t.throws(() => parseShape('4x8x4 chain=2'), /n = k/, 'a chain that does not fit itself');
  t.throws(() => parseShape('4x4x4 chain=2 relu'), /no other word/, 'a chain with more');
  t.throws(() => parseShape('99999x99999x99999'), /does not fit/, 'larger than a memory');
  t.end();
});

test('shapes: files', (t) => {
  const text = parseShapeFile('# mine\n\n64x64x64\n1x4096x4096 prepacked  # decode\r\n');
  t.deepEqual(
    text.map(printShape),
    ['64x64x64', '1x4096x4096 prepacked'],
    'one a line, comments, blank lines',
  );
  const json = parseShapeFile(
    '[\n "8x8x8",\n {"name": "mine", "m": 2, "k": 3, "n": 4, "bias": "column", "activation": {"kind": "clip", "min": 0, "max": 6}}\n]',
  );
  t.deepEqual(json.map(printShape), ['8x8x8', '2x3x4 bias=column clip=0:6'], 'JSON of texts and objects');
  t.equal(json[1]?.name, 'mine', 'a name of its own');
  t.end();
});

test('shapes: a bad line is named by its number', (t) => {
  t.throws(() => parseShapeFile('8x8x8\n# fine\nfoo\n'), /line 3: "foo"/, 'text');
  t.throws(() => parseShapeFile('[\n"8x8x8",\n\n{"m": 1, "k": 2}\n]'), /line 4: n must be/, 'JSON object');
  t.throws(() => parseShapeFile('["a,[b", "8x8x8"]'), /line 1: "a,\[b"/, 'brackets inside a text');
  t.throws(
    () => parseShapeFile('[{"m":1,"k":1,"n":1,"transposeC":true}]'),
    /unknown field "transposeC"/,
    'unknown field',
  );
  t.throws(
    () => parseShapeFile('[{"m":1,"k":1,"n":1,"activation":"rellu"}]'),
    /unknown activation "rellu"/,
    'activation',
  );
  t.throws(() => parseShapeFile('["8x8x8",\n'), /not valid JSON/, 'broken JSON');
  t.throws(() => parseShapeFile('# nothing\n'), /no shapes in it/, 'empty');
  t.end();
});

test('shapes: the named lists', (t) => {
  const names = SHAPE_LISTS.map(({ name }) => name);
  t.equal(new Set(names).size, names.length, 'list names are unique');
  for (const { name, shapes } of SHAPE_LISTS) {
    const keys = shapes.map(printShape);
    t.ok(shapes.length > 0 && new Set(keys).size === keys.length, `${name}: no shape twice`);
    t.deepEqual(
      keys.map((key) => printShape(parseShape(key))),
      keys,
      `${name}: the printed form parses back`,
    );
  }
  const regret = shapeList('regret')?.shapes ?? [];
  t.ok(regret.length >= 40, 'regret has at least 40 shapes');
  t.ok(
    regret.every((shape) => flopsOf(shape) <= 3e8),
    'each of at most 300 MFLOP',
  );
  t.end();
});
