/** Operators that few networks have, at random beside onnxruntime-node; the standard's own cases say what is usual. */
import test from 'tape';
import {
  floatAttribute,
  floatsAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
} from '../../src/cli/bench/peers/onnx-proto.ts';
import { InferenceSession } from '../../src/onnx/session.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { codeOf } from '../support/faulty.ts';
import { besideOrt, type Case, type Cases, floats, integers, modelFor } from '../support/operator-cases.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random } from '../support/seed.ts';

const FOUR = ['float32', 'float32', 'float32', 'float32'] as const;

const side = (random: Random) => random.int(1, 7);

const CASES: Cases = {
  GridSample: (random) => {
    const [n, c, h, w, outH, outW] = [1, 2, side(random), side(random), side(random), side(random)];
    const grid = floats(random, n, outH, outW, 2);
    return {
      op: 'GridSample',
      opset: 16,
      attributes: [
        stringAttribute('mode', random.pick(['bilinear', 'nearest', 'bicubic'])),
        stringAttribute('padding_mode', random.pick(['zeros', 'border', 'reflection'])),
        intAttribute('align_corners', random.int(0, 1)),
      ],
      inputs: {
        x: floats(random, n, c, h, w),
        // beyond the borders, too
        grid: new Tensor(
          'float32',
          (grid.data as Float32Array).map((value) => 1.4 * value),
          grid.dims,
        ),
      },
      outputs: ['float32'],
    };
  },
  RoiAlign: (random) => {
    const count = random.int(1, 3);
    const corners = Array.from({ length: count }, () => {
      const [x, y] = [random.int(0, 8), random.int(0, 8)];
      return [x, y, x + random.int(1, 7), y + random.int(1, 7)];
    });
    return {
      op: 'RoiAlign',
      opset: 16,
      attributes: [
        intAttribute('output_height', random.int(1, 4)),
        intAttribute('output_width', random.int(1, 4)),
        intAttribute('sampling_ratio', random.int(0, 2)),
        floatAttribute('spatial_scale', random.pick([1, 0.5])),
        stringAttribute('coordinate_transformation_mode', random.pick(['half_pixel', 'output_half_pixel'])),
      ],
      inputs: {
        x: floats(random, 2, 3, 12, 11),
        rois: new Tensor('float32', Float32Array.from(corners.flat()), [count, 4]),
        images: integers(corners.map(() => random.int(0, 1))),
      },
      outputs: ['float32'],
    };
  },
  LRN: (random) => ({
    op: 'LRN',
    opset: 13,
    attributes: [
      intAttribute('size', random.pick([1, 3, 5])),
      floatAttribute('alpha', 0.3),
      floatAttribute('bias', 2),
    ],
    inputs: { x: floats(random, 2, side(random), side(random), side(random)) },
    outputs: ['float32'],
  }),
  Det: (random) => {
    const n = random.int(1, 6);
    return {
      op: 'Det',
      opset: 11,
      attributes: [],
      inputs: { x: floats(random, 2, 2, n, n) },
      outputs: ['float32'],
    };
  },
  LayerNormalization: (random) => {
    const shape = [2, side(random), side(random)];
    const axis = random.int(1, 2);
    const lines = shape.slice(axis);
    return {
      op: 'LayerNormalization',
      opset: 17,
      attributes: [intAttribute('axis', axis), floatAttribute('epsilon', 1e-3)],
      inputs: {
        x: floats(random, ...shape),
        scale: floats(random, ...lines),
        bias: floats(random, ...lines),
      },
      outputs: ['float32', 'float32', 'float32'],
    };
  },
  'MaxPool with places': (random) => ({
    op: 'MaxPool',
    opset: 12,
    attributes: [
      intsAttribute('kernel_shape', [2, 3]),
      intsAttribute('strides', [random.int(1, 3), 2]),
      intsAttribute('pads', [random.int(0, 1), 1, 0, 2]),
      intAttribute('storage_order', random.int(0, 1)),
      intAttribute('ceil_mode', random.int(0, 1)),
    ],
    inputs: { x: floats(random, 2, 3, random.int(3, 8), random.int(4, 9)) },
    outputs: ['float32', 'int64'],
  }),
  MaxUnpool: (random) => {
    const places = [0, 3, 5, 6].map((at) => at + 16 * random.int(0, 2));
    return {
      op: 'MaxUnpool',
      opset: 11,
      attributes: [intsAttribute('kernel_shape', [2, 2]), intsAttribute('strides', [2, 2])],
      inputs: {
        x: floats(random, 1, 3, 2, 2),
        places: integers(
          [...places, ...places.map((p) => (p + 16) % 48), ...places.map((p) => (p + 32) % 48)],
          [1, 3, 2, 2],
        ),
      },
      outputs: ['float32'],
    };
  },
  // places that lie near one another, at one distance or another, or anywhere
  'Gather along the last axis': (random) => {
    const [lines, size, count] = [random.int(1, 5), random.int(4, 40), random.int(1, 45)];
    const step = random.pick([0, 0.25, 0.34, 0.5, 1, 1.34, 2]);
    const places = Array.from({ length: count }, (_, at) =>
      step === 0 ? random.int(0, size - 1) : Math.floor(at * step) % size,
    );
    return {
      op: 'Gather',
      opset: 13,
      attributes: [intAttribute('axis', 1)],
      inputs: {
        x: floats(random, lines, size),
        places: integers(random.chance(0.2) ? places.reverse() : places),
      },
      outputs: ['float32'],
    };
  },
  // as lines are enlarged, from anywhere on; sometimes all but one place
  'Gather of each place several times': (random) => {
    const [lines, start, distinct] = [random.int(1, 5), random.int(0, 5), random.int(1, 20)];
    const times = random.pick([1, 2, 2, 3, 4, 8, 12]);
    const places = Array.from({ length: distinct * times }, (_, at) => start + Math.floor(at / times));
    if (random.chance(0.3)) places[random.int(0, places.length - 1)] = random.int(0, start);
    return {
      op: 'Gather',
      opset: 13,
      attributes: [intAttribute('axis', 1)],
      inputs: { x: floats(random, lines, start + distinct), places: integers(places) },
      outputs: ['float32'],
    };
  },
  'Gather of short lines': (random) => {
    const [size, inner] = [random.int(1, 9), random.int(2, 13)];
    return {
      op: 'Gather',
      opset: 13,
      attributes: [intAttribute('axis', 1)],
      inputs: {
        x: floats(random, 2, size, inner),
        places: integers(Array.from({ length: 7 }, () => random.int(0, size - 1))),
      },
      outputs: ['float32'],
    };
  },
  Unique: (random) => {
    const hasAxis = random.chance(0.5);
    const data = Float32Array.from({ length: 24 }, () => random.int(0, 2));
    return {
      op: 'Unique',
      opset: 11,
      attributes: [
        intAttribute('sorted', random.int(0, 1)),
        ...(hasAxis ? [intAttribute('axis', random.int(0, 2))] : []),
      ],
      inputs: { x: new Tensor('float32', data, [4, 3, 2]) },
      outputs: ['float32', 'int64', 'int64', 'int64'],
    };
  },
  Attention: (random) => {
    const [batch, groups, shared] = [random.int(1, 2), random.int(1, 2), random.int(1, 2)];
    const [rows, depth, wide] = [side(random), 4 * random.int(1, 3), 4 * random.int(1, 2)];
    const isCausal = random.chance(0.4);
    const keys = isCausal ? rows : side(random);
    const past = random.chance(0.3) && !isCausal ? random.int(1, 4) : 0;
    const hasLengths = past === 0 && random.chance(0.3);
    const isFlat = random.chance(0.5);
    const heads = groups * shared;
    const cut = (count: number, places: number, width: number) =>
      isFlat ? floats(random, batch, places, count * width) : floats(random, batch, count, places, width);
    const total = past + keys;
    const mask = random.pick(['none', 'floats', 'booleans']);
    // what is left out of scores is another number of each engine's own
    const isWatched = random.chance(0.4) && mask !== 'booleans' && !isCausal;
    // the first key always takes part: of a line with none, engines think differently
    const booleans = () =>
      new Tensor(
        'bool',
        Uint8Array.from({ length: rows * total }, (_, i) => (i % total === 0 ? 1 : random.int(0, 1))),
        [rows, total],
      );
    return {
      op: 'Attention',
      opset: hasLengths ? 24 : 23,
      attributes: [
        intAttribute('is_causal', isCausal ? 1 : 0),
        ...(isFlat ? [intAttribute('q_num_heads', heads), intAttribute('kv_num_heads', groups)] : []),
        ...(isWatched ? [intAttribute('qk_matmul_output_mode', random.int(0, 3))] : []),
        ...(random.chance(0.4) ? [floatAttribute('scale', 0.3)] : []),
        ...(random.chance(0.3) ? [floatAttribute('softcap', 2)] : []),
      ],
      inputs: {
        q: cut(heads, rows, depth),
        k: cut(groups, keys, depth),
        v: cut(groups, keys, wide),
        ...(mask === 'floats' ? { mask: floats(random, batch, 1, rows, total) } : {}),
        ...(mask === 'booleans' ? { mask: booleans() } : {}),
        ...(past
          ? {
              pastKey: floats(random, batch, groups, past, depth),
              pastValue: floats(random, batch, groups, past, wide),
            }
          : {}),
        // a line that sees nothing is zeros in one engine, NaN in the standard's own, and a mean here
        ...(hasLengths
          ? { lengths: integers(Array.from({ length: batch }, () => random.int(isCausal ? rows : 1, keys))) }
          : {}),
      },
      names: [
        'q',
        'k',
        'v',
        mask === 'none' ? '' : 'mask',
        ...(past ? ['pastKey', 'pastValue'] : hasLengths ? ['', '', 'lengths'] : []),
      ],
      outputs: isWatched ? FOUR : past ? ['float32', 'float32', 'float32'] : ['float32'],
    };
  },
  RotaryEmbedding: (random) => {
    const [batch, heads, places, half] = [
      random.int(1, 2),
      random.int(1, 3),
      side(random),
      2 * random.int(1, 3),
    ];
    const [isFlat, hasTable, isPart] = [random.chance(0.5), random.chance(0.5), random.chance(0.4)];
    const depth = 2 * half + (isPart ? 4 : 0);
    const table = hasTable ? [places + 3, half] : [batch, places, half];
    const positions = Array.from({ length: batch * places }, () => random.int(0, places + 2));
    return {
      op: 'RotaryEmbedding',
      opset: 23,
      attributes: [
        intAttribute('interleaved', random.int(0, 1)),
        ...(isFlat || isPart ? [intAttribute('num_heads', heads)] : []),
        ...(isPart ? [intAttribute('rotary_embedding_dim', 2 * half)] : []),
      ],
      inputs: {
        x: isFlat
          ? floats(random, batch, places, heads * depth)
          : floats(random, batch, heads, places, depth),
        cos: floats(random, ...table),
        sin: floats(random, ...table),
        ...(hasTable ? { positions: integers(positions, [batch, places]) } : {}),
      },
      outputs: ['float32'],
    };
  },
  TfIdfVectorizer: (random) => ({
    op: 'TfIdfVectorizer',
    opset: 9,
    attributes: [
      stringAttribute('mode', random.pick(['TF', 'IDF', 'TFIDF'])),
      ...[intAttribute('min_gram_length', random.int(1, 2)), intAttribute('max_gram_length', 2)],
      intAttribute('max_skip_count', random.int(0, 3)),
      ...[intsAttribute('ngram_counts', [0, 3]), intsAttribute('ngram_indexes', [2, 0, 1, 4, 3, 6, 5])],
      intsAttribute('pool_int64s', [1, 2, 3, 1, 2, 3, 1, 2, 2, 1, 1]),
      floatsAttribute('weights', [0.5, 2, 3, 1.5, 0.25, 4, 7]),
    ],
    inputs: {
      x: integers(
        Array.from({ length: 18 }, () => random.int(0, 3)),
        random.chance(0.5) ? [18] : [2, 9],
      ),
    },
    outputs: ['float32'],
  }),
  TensorScatter: (random) => {
    const [batch, size, count] = [2, random.int(3, 8), random.int(1, 3)];
    const isCircular = random.chance(0.5);
    const start = () => random.int(0, isCircular ? size - 1 : size - count);
    return {
      op: 'TensorScatter',
      opset: 24,
      attributes: [stringAttribute('mode', isCircular ? 'circular' : 'linear')],
      inputs: {
        past: floats(random, batch, 3, size, 4),
        update: floats(random, batch, 3, count, 4),
        at: integers(Array.from({ length: batch }, start)),
      },
      outputs: ['float32'],
    };
  },
  BitwiseNot: (random) => ({
    ...{ op: 'BitwiseNot', opset: 18, attributes: [] },
    inputs: {
      x: new Tensor(
        'int32',
        Int32Array.from({ length: 9 }, () => random.int(-99, 99)),
        [9],
      ),
    },
    outputs: ['int32'],
  }),
  DFT: (random) => ({
    op: 'DFT',
    opset: 17,
    attributes: [intAttribute('axis', 1), intAttribute('onesided', random.int(0, 1))],
    inputs: { x: floats(random, 2, random.int(2, 24), 1) },
    outputs: ['float32'],
  }),
  STFT: (random) => {
    const frame = random.int(2, 12);
    return {
      op: 'STFT',
      opset: 17,
      attributes: [intAttribute('onesided', random.int(0, 1))],
      inputs: {
        x: floats(random, 1, 40, 1),
        step: integers([random.int(1, 5)], []),
        window: floats(random, frame),
        length: integers([frame], []),
      },
      outputs: ['float32'],
    };
  },
  SoftmaxCrossEntropyLoss: (random) => {
    const [n, classes, places] = [2, 4, side(random)];
    const target = Array.from({ length: n * places }, () => random.int(0, classes - 1));
    return {
      op: 'SoftmaxCrossEntropyLoss',
      opset: 13,
      attributes: [
        stringAttribute('reduction', random.pick(['mean', 'sum', 'none'])),
        ...(random.chance(0.5) ? [intAttribute('ignore_index', 1)] : []),
      ],
      inputs: {
        x: floats(random, n, classes, places),
        target: integers(target, [n, places]),
        ...(random.chance(0.5)
          ? {
              weight: new Tensor(
                'float32',
                random.floats(classes).map((v) => Math.abs(v) + 0.1),
                [classes],
              ),
            }
          : {}),
      },
      outputs: ['float32', 'float32'],
    };
  },
};

besideOrt(CASES);

test('operators: what their inputs cannot mean', async (t) => {
  const runtime = await makeRuntime({ threads: 1 });
  const random = new Random(932);
  const run = async (one: Case) => {
    const session = await InferenceSession.create(modelFor(one), { runtime });
    try {
      await session.run(one.inputs);
    } finally {
      await session.release();
    }
  };
  const loss = {
    op: 'NegativeLogLikelihoodLoss',
    opset: 13,
    attributes: [],
    inputs: { x: floats(random, 2, 3), target: integers([0, 7]) },
    outputs: ['float32'],
  } as const;
  t.equal(await codeOf(run(loss)), 'E_MODEL', 'a class that there is not');
  const frames = CASES.STFT!(random);
  t.equal(
    await codeOf(run({ ...frames, inputs: { ...frames.inputs, step: integers([0], []) } })),
    'E_MODEL',
    'frames that do not move on',
  );
  const grid = {
    ...CASES.GridSample!(random),
    inputs: { x: floats(random, 1, 1, 2, 2, 2), grid: floats(random, 1, 2, 2, 2) },
  };
  t.equal(await codeOf(run(grid)), 'E_MODEL', 'a volume by a grid of an image');
  const unpool = CASES.MaxUnpool!(random);
  t.equal(
    await codeOf(
      run({
        ...unpool,
        inputs: { ...unpool.inputs, places: integers(new Array(12).fill(48), [1, 3, 2, 2]) },
      }),
    ),
    'E_MODEL',
    'places beyond the result',
  );
  t.equal(runtime.memory().tensors, 0);
  await runtime.close();
});
