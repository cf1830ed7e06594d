/** Products for a GPU: from what hardly pays the way there to what fills a large card, a batch, and a layer of weights. */
import type { MatmulShape, ShapeList } from './types.ts';

const SQUARES: readonly MatmulShape[] = [256, 512, 1024, 2048, 4096, 8192].map((n) => ({
  name: `square ${n}`,
  m: n,
  k: n,
  n,
  source: 'power of two',
}));

export const GPU: ShapeList = {
  name: 'gpu',
  about:
    'squares from 256 to 8192, batches and layers: for --backend webgpu, with --resident or from memory to memory',
  shapes: [
    ...SQUARES,
    { name: 'odd', m: 1023, k: 1025, n: 1021, source: 'odd extents' },
    { name: 'scores', batch: 96, m: 512, k: 64, n: 512, transposeB: true, source: 'attention, 8 x 12 heads' },
    { name: 'mlp up', m: 2048, k: 768, n: 3072, bias: 'row', activation: 'gelu', source: 'BERT-base mlp up' },
  ],
};
