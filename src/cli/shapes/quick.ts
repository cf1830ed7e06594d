/** The short lists: one for a first look, one small enough to be tuned exhaustively. */
import type { MatmulShape, ShapeList } from './types.ts';

export const QUICK: ShapeList = {
  name: 'quick',
  about: 'six shapes, from tiny to memory-bound: a first look in under a minute',
  shapes: [
    { name: 'square 32', m: 32, k: 32, n: 32, source: 'tiny: overhead of a call' },
    { name: 'square 64', m: 64, k: 64, n: 64, source: 'small' },
    { name: 'square 127', m: 127, k: 127, n: 127, source: 'odd extents' },
    { name: 'square 256', m: 256, k: 256, n: 256, source: 'in cache' },
    { name: 'square 512', m: 512, k: 512, n: 512, source: 'several tiles a thread' },
    { name: 'row 4096', m: 1, k: 4096, n: 4096, source: 'GEMV beyond cache' },
  ],
};

type Extents = readonly [m: number, k: number, n: number];

function plain(kind: string, extents: readonly Extents[]): readonly MatmulShape[] {
  return extents.map(([m, k, n]) => ({ name: `${kind} ${m}x${k}x${n}`, m, k, n, source: kind }));
}

/** At most about 300 MFLOP each, so that trying every plan for all of them stays a matter of minutes. */
const REGRET_SHAPES: readonly MatmulShape[] = [
  ...plain('tiny', [
    [4, 4, 4],
    [8, 8, 8],
    [16, 16, 16],
    [24, 24, 24],
    [32, 32, 32],
  ]),
  ...plain('square', [
    [48, 48, 48],
    [64, 64, 64],
    [96, 96, 96],
    [128, 128, 128],
    [192, 192, 192],
  ]),
  ...plain('square', [
    [256, 256, 256],
    [320, 320, 320],
    [384, 384, 384],
    [512, 512, 512],
  ]),
  ...plain('odd', [
    [31, 31, 31],
    [65, 65, 65],
    [127, 127, 127],
    [129, 129, 129],
    [251, 257, 263],
  ]),
  ...plain('tall', [
    [4096, 64, 16],
    [2048, 128, 64],
    [1024, 256, 128],
    [3136, 64, 64],
  ]),
  ...plain('wide', [
    [16, 64, 4096],
    [64, 128, 2048],
    [128, 256, 1024],
  ]),
  ...plain('inner', [
    [8, 8192, 8],
    [16, 4096, 16],
    [64, 4096, 64],
  ]),
  ...plain('outer', [
    [512, 1, 512],
    [512, 4, 512],
    [768, 16, 768],
  ]),
  ...plain('few rows', [
    [2, 768, 768],
    [4, 768, 3072],
    [8, 1024, 1024],
    [12, 512, 2048],
  ]),
  ...plain('gemv row', [
    [1, 256, 256],
    [1, 768, 768],
    [1, 1024, 4096],
    [1, 4096, 4096],
  ]),
  ...plain('gemv column', [
    [256, 256, 1],
    [4096, 1024, 1],
    [2048, 2048, 1],
  ]),
  { name: 'weights 128x768x768', m: 128, k: 768, n: 768, prepacked: true, source: 'BERT-base proj' },
  { name: 'weights 49x960x160', m: 49, k: 960, n: 160, prepacked: true, source: 'MobileNetV2 block15' },
  { name: 'weights 1x768x2304', m: 1, k: 768, n: 2304, prepacked: true, source: 'GPT-2 qkv' },
  { name: 'transposed 128x512x128', m: 128, k: 512, n: 128, transposeB: true, source: 'row-by-row products' },
  { name: 'scores', batch: 12, m: 128, k: 64, n: 128, transposeB: true, source: 'BERT-base attention' },
  { name: 'context', batch: 12, m: 128, k: 128, n: 64, source: 'BERT-base attention' },
];

export const REGRET: ShapeList = {
  name: 'regret',
  about: `${REGRET_SHAPES.length} shapes of every kind, at most about 300 MFLOP each: how good is the planner's choice`,
  shapes: REGRET_SHAPES,
};

export const EPILOGUES: ShapeList = {
  name: 'epilogues',
  about: 'bias and activation in the same pass as the product',
  shapes: [
    { name: 'bias', m: 256, k: 256, n: 256, bias: 'row', source: 'linear layer' },
    { name: 'column bias', m: 256, k: 256, n: 256, bias: 'column', source: 'convolution in NCHW' },
    { name: 'bias relu', m: 256, k: 256, n: 256, bias: 'row', activation: 'relu', source: 'linear layer' },
    {
      name: 'bias clip',
      m: 784,
      k: 32,
      n: 192,
      bias: 'row',
      activation: { kind: 'clip', min: 0, max: 6 },
      source: 'MobileNetV2 block5',
    },
    {
      name: 'bias gelu',
      m: 128,
      k: 768,
      n: 3072,
      bias: 'row',
      activation: 'gelu',
      source: 'BERT-base mlp up',
    },
    { name: 'silu', m: 64, k: 288, n: 768, activation: 'silu', source: 'Llama gate' },
    { name: 'tanh', m: 1, k: 768, n: 768, bias: 'row', activation: 'tanh', source: 'BERT-base pooler' },
    { name: 'sigmoid', m: 128, k: 128, n: 128, activation: 'sigmoid', source: 'gate' },
  ],
};
