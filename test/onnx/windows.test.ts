/** Windows over lines, images and volumes, and what resamples them: at random beside onnxruntime-node. */
import {
  type Field,
  floatAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
} from '../../src/cli/bench/peers/onnx-proto.ts';
import { Tensor } from '../../src/onnx/tensor.ts';
import { besideOrt, type Cases, floats, integers } from '../support/operator-cases.ts';
import type { Random } from '../support/seed.ts';

const list = (length: number, of: () => number) => Array.from({ length }, of);

/** Extents, a kernel that fits them, and the attributes of how it goes over them. */
function window(random: Random, rank: number, { dilates = true, ceils = false } = {}) {
  const kernel = list(rank, () => random.int(1, 3));
  const extents = kernel.map((k) => 2 * k + random.int(0, 4));
  // onnxruntime does not like steps that leave pixels out where it pads by itself
  const strides = kernel.map((k) => random.int(1, Math.min(2, k)));
  const auto = random.chance(0.3) ? random.pick(['SAME_UPPER', 'SAME_LOWER', 'VALID']) : 'NOTSET';
  const pads = [...kernel, ...kernel].map((k) => random.int(0, k - 1));
  // onnxruntime pads no dilated windows by itself
  const isDilated = dilates && !auto.startsWith('SAME') && random.chance(0.5);
  const attributes: Field[] = [
    intsAttribute('kernel_shape', kernel),
    intsAttribute('strides', strides),
    ...(auto === 'NOTSET' ? [intsAttribute('pads', pads)] : [stringAttribute('auto_pad', auto)]),
    ...(isDilated
      ? [
          intsAttribute(
            'dilations',
            list(rank, () => random.int(1, 2)),
          ),
        ]
      : []),
    ...(ceils && auto === 'NOTSET' ? [intAttribute('ceil_mode', random.chance(0.8) ? 1 : 0)] : []),
  ];
  return { kernel, extents, attributes };
}

const bytes = (random: Random, dims: readonly number[]) =>
  new Tensor(
    'uint8',
    Uint8Array.from({ length: dims.reduce((x, y) => x * y, 1) }, () => random.int(0, 255)),
    dims,
  );

const CASES: Cases = {
  Conv: (random) => {
    const rank = random.pick([1, 2, 3, 3, 3, 4]);
    const { kernel, extents, attributes } = window(random, rank);
    const [groups, c, m] = [random.int(1, 2), random.int(1, 3), random.int(1, 3)];
    return {
      ...{ op: 'Conv', opset: 11, attributes: [...attributes, intAttribute('group', groups)] },
      inputs: {
        x: floats(random, random.int(1, 2), groups * c, ...extents),
        w: floats(random, groups * m, c, ...kernel),
        ...(random.chance(0.5) ? { b: floats(random, groups * m) } : {}),
      },
      outputs: ['float32'],
    };
  },
  ConvInteger: (random) => {
    const rank = random.pick([1, 2, 3]);
    const { kernel, extents, attributes } = window(random, rank, { dilates: false });
    return {
      ...{ op: 'ConvInteger', opset: 10, attributes },
      inputs: {
        x: bytes(random, [1, 2, ...extents]),
        w: bytes(random, [3, 2, ...kernel]),
        zero: new Tensor('uint8', Uint8Array.of(random.int(0, 255)), []),
      },
      outputs: ['int32'],
    };
  },
  ConvTranspose: (random) => {
    const rank = random.pick([1, 2, 3, 3]);
    const kernel = list(rank, () => random.int(1, 3));
    const strides = list(rank, () => random.int(1, 3));
    const extents = list(rank, () => random.int(2, 5));
    const [groups, c, m] = [random.int(1, 2), random.int(1, 2), random.int(1, 2)];
    const way = random.pick(['pads', 'pads', 'shape', 'auto']);
    const added = strides.map((stride) => random.int(0, stride - 1));
    return {
      op: 'ConvTranspose',
      opset: 11,
      attributes: [
        ...[
          intsAttribute('kernel_shape', kernel),
          intsAttribute('strides', strides),
          intAttribute('group', groups),
        ],
        ...(way === 'pads'
          ? [
              intsAttribute(
                'pads',
                [...kernel, ...kernel].map((k) => random.int(0, Math.min(1, k - 1))),
              ),
              intsAttribute('output_padding', added),
            ]
          : []),
        ...(way === 'shape'
          ? [
              intsAttribute(
                'output_shape',
                extents.map((extent, i) => extent * strides[i]!),
              ),
            ]
          : []),
        ...(way === 'auto'
          ? [stringAttribute('auto_pad', random.pick(['SAME_UPPER', 'SAME_LOWER', 'VALID']))]
          : []),
      ],
      inputs: {
        x: floats(random, random.int(1, 2), groups * c, ...extents),
        w: floats(random, groups * c, m, ...kernel),
        b: floats(random, groups * m),
      },
      outputs: ['float32'],
    };
  },
  Col2Im: (random) => {
    const rank = random.pick([1, 2, 3]);
    const block = list(rank, () => random.int(1, 3));
    const strides = list(rank, () => random.int(1, 2));
    // onnxruntime's sums are wrong where anything but images is dilated; ours are what the definition says
    const dilations = list(rank, () => (rank === 2 ? random.int(1, 2) : 1));
    const image = block.map((k, i) => (k - 1) * dilations[i]! + random.int(2, 5));
    const pads = [...block, ...block].map(() => random.int(0, 1));
    const positions = image.map((extent, i) => {
      const room = extent + pads[i]! + pads[i + rank]! - (block[i]! - 1) * dilations[i]! - 1;
      return Math.floor(room / strides[i]!) + 1;
    });
    const size = (dims: readonly number[]) => dims.reduce((x, y) => x * y, 1);
    return {
      op: 'Col2Im',
      opset: 18,
      attributes: [
        intsAttribute('strides', strides),
        intsAttribute('dilations', dilations),
        intsAttribute('pads', pads),
      ],
      inputs: {
        x: floats(random, 2, 3 * size(block), size(positions)),
        image: integers(image),
        block: integers(block),
      },
      outputs: ['float32'],
    };
  },
  MaxPool: (random) => {
    const rank = random.pick([1, 2, 3, 3]);
    const { extents, attributes } = window(random, rank, { ceils: true });
    const isPlaced = random.chance(0.4);
    return {
      ...{ op: 'MaxPool', opset: 12 },
      attributes: [...attributes, ...(isPlaced ? [intAttribute('storage_order', random.int(0, 1))] : [])],
      inputs: { x: floats(random, random.int(1, 2), 2, ...extents) },
      outputs: isPlaced ? ['float32', 'int64'] : ['float32'],
    };
  },
  AveragePool: (random) => {
    const rank = random.pick([1, 2, 3, 3]);
    const { extents, attributes } = window(random, rank, { dilates: false });
    return {
      ...{ op: 'AveragePool', opset: 11 },
      attributes: [...attributes, intAttribute('count_include_pad', random.int(0, 1))],
      inputs: { x: floats(random, random.int(1, 2), 2, ...extents) },
      outputs: ['float32'],
    };
  },
  LpPool: (random) => {
    const rank = random.pick([1, 2, 3]);
    const { extents, attributes } = window(random, rank, { ceils: true });
    return {
      ...{ op: 'LpPool', opset: 18, attributes: [...attributes, intAttribute('p', random.int(1, 3))] },
      inputs: { x: floats(random, 2, 2, ...extents) },
      outputs: ['float32'],
    };
  },
  GlobalLpPool: (random) => ({
    ...{ op: 'GlobalLpPool', opset: 2, attributes: [intAttribute('p', random.int(1, 3))] },
    inputs: { x: floats(random, 2, 3, ...list(random.int(1, 3), () => random.int(1, 5))) },
    outputs: ['float32'],
  }),
  'Resize with a smooth filter': (random) => {
    const extents = list(2, () => random.int(4, 11));
    const wanted = extents.map((extent) => random.int(1, extent + 3));
    const isCubic = random.chance(0.5);
    return {
      op: 'Resize',
      opset: 18,
      attributes: [
        stringAttribute('mode', isCubic ? 'cubic' : 'linear'),
        intAttribute('antialias', 1),
        intAttribute('exclude_outside', 1),
        ...(random.chance(0.3) ? [stringAttribute('coordinate_transformation_mode', 'align_corners')] : []),
      ],
      inputs: { x: floats(random, 1, 2, ...extents), sizes: integers([1, 2, ...wanted]) },
      names: ['x', '', '', 'sizes'],
      outputs: ['float32'],
    };
  },
  'Resize of a region': (random) => {
    const extents = list(2, () => random.int(2, 9));
    // where the extent stays, onnxruntime crops nothing
    const wanted = extents.map((extent) => extent + random.pick([-1, 1, 2]));
    // no pixel lies right on the border, where rounding decides
    const corner = () => random.int(-20, 120) / 97.3;
    return {
      op: 'Resize',
      opset: 13,
      attributes: [
        stringAttribute('mode', 'linear'),
        stringAttribute('coordinate_transformation_mode', 'tf_crop_and_resize'),
        floatAttribute('extrapolation_value', 7),
      ],
      inputs: {
        x: floats(random, 1, 2, ...extents),
        roi: new Tensor('float32', Float32Array.of(0, 0, corner(), corner(), 1, 1, corner(), corner()), [8]),
        sizes: integers([1, 2, ...wanted]),
      },
      names: ['x', 'roi', '', 'sizes'],
      outputs: ['float32'],
    };
  },
  "Resize that keeps the sides' ratio": (random) => ({
    op: 'Resize',
    opset: 18,
    attributes: [
      stringAttribute('mode', random.pick(['nearest', 'linear'])),
      stringAttribute('keep_aspect_ratio_policy', random.pick(['not_larger', 'not_smaller'])),
      intsAttribute('axes', [2, 3]),
    ],
    inputs: {
      x: floats(random, 1, 2, random.int(2, 9), random.int(2, 9)),
      sizes: integers(list(2, () => random.int(2, 12))),
    },
    names: ['x', '', '', 'sizes'],
    outputs: ['float32'],
  }),
  'GridSample of volumes': (random) => {
    const [extents, out] = [list(3, () => random.int(1, 5)), list(3, () => random.int(1, 4))];
    return {
      op: 'GridSample',
      opset: 20,
      attributes: [
        stringAttribute('mode', random.pick(['linear', 'nearest'])),
        stringAttribute('padding_mode', random.pick(['zeros', 'border', 'reflection'])),
        intAttribute('align_corners', random.int(0, 1)),
      ],
      inputs: { x: floats(random, 2, 2, ...extents), grid: floats(random, 2, ...out, 3) },
      outputs: ['float32'],
    };
  },
  AffineGrid: (random) => {
    const rank = random.int(2, 3);
    const extents = list(rank, () => random.int(1, 5));
    // of one aligned pixel each engine thinks in its own way
    const isAligned = extents.every((extent) => extent > 1) && random.chance(0.5);
    return {
      ...{ op: 'AffineGrid', opset: 20, attributes: [intAttribute('align_corners', isAligned ? 1 : 0)] },
      inputs: { theta: floats(random, 2, rank, rank + 1), size: integers([2, 3, ...extents]) },
      outputs: ['float32'],
    };
  },
  DeformConv: (random) => {
    const { kernel, extents, attributes } = window(random, 2);
    const strides = [random.int(1, 2), random.int(1, 2)];
    const pads = kernel.flatMap((k) => [random.int(0, k - 1)]);
    const out = extents.map(
      (extent, i) => Math.floor((extent + 2 * pads[i]! - kernel[i]!) / strides[i]!) + 1,
    );
    const [parts, groups] = [random.int(1, 2), random.int(1, 2)];
    const taps = kernel[0]! * kernel[1]!;
    const moved = floats(random, 2, parts * taps * 2, ...out);
    return {
      op: 'DeformConv',
      opset: 19,
      attributes: [
        ...attributes.slice(0, 1),
        ...[intsAttribute('strides', strides), intsAttribute('pads', [...pads, ...pads])],
        ...[intAttribute('group', groups), intAttribute('offset_group', parts)],
      ],
      inputs: {
        x: floats(random, 2, 4, ...extents),
        w: floats(random, 2 * groups, 4 / groups, ...kernel),
        offset: new Tensor(
          'float32',
          (moved.data as Float32Array).map((v) => 2 * v),
          moved.dims,
        ),
        b: floats(random, 2 * groups),
        ...(random.chance(0.5) ? { mask: floats(random, 2, parts * taps, ...out) } : {}),
      },
      outputs: ['float32'],
    };
  },
  MaxRoiPool: (random) => {
    const rois = list(random.int(1, 3), () => 0).flatMap(() => {
      const [x, y] = [random.int(0, 8), random.int(0, 8)];
      return [random.int(0, 1), x, y, x + random.int(0, 7), y + random.int(0, 7)];
    });
    return {
      op: 'MaxRoiPool',
      opset: 1,
      attributes: [
        intsAttribute('pooled_shape', [random.int(1, 4), random.int(1, 4)]),
        floatAttribute('spatial_scale', random.pick([1, 0.5])),
      ],
      inputs: {
        x: floats(random, 2, 3, 9, 11),
        rois: new Tensor('float32', Float32Array.from(rois), [rois.length / 5, 5]),
      },
      outputs: ['float32'],
    };
  },
  CenterCropPad: (random) => ({
    ...{ op: 'CenterCropPad', opset: 18, attributes: [intsAttribute('axes', [0, 2])] },
    inputs: {
      x: floats(random, random.int(1, 6), 2, random.int(1, 6)),
      shape: integers([random.int(1, 6), random.int(1, 6)]),
    },
    outputs: ['float32'],
  }),
};

besideOrt(CASES);
