/**
 * For a GPU: products from what hardly pays the way there to what fills a large card, of floats and of halves, a batch, a layer of weights, and
 * the layers of one network; the lists of convolutions have others.
 */
import { CONVOLUTIONS } from './convolutions.ts';
import type { MatmulShape, ShapeList } from './types.ts';

function square(n: number, half = false): MatmulShape {
  const name = `square ${n}${half ? ' of halves' : ''}`;
  return { name, m: n, k: n, n, source: 'power of two', ...(half && { half }) };
}

const LAYERS = CONVOLUTIONS.find(({ name }) => name === 'conv-resnet50')!.shapes;

export const GPU: ShapeList = {
  name: 'gpu',
  about:
    'squares from 256 to 8192, halves, batches, convolutions: for --backend webgpu, with --resident or from memory to memory',
  shapes: [
    ...[256, 512, 1024, 2048, 4096, 8192].map((n) => square(n)),
    ...[1024, 4096, 8192].map((n) => square(n, true)),
    { name: 'chain', m: 1024, k: 1024, n: 1024, chain: 8, source: 'eight layers, one submit' },
    { name: 'odd', m: 1023, k: 1025, n: 1021, source: 'odd extents' },
    { name: 'scores', batch: 96, m: 512, k: 64, n: 512, transposeB: true, source: 'attention, 8 x 12 heads' },
    { name: 'mlp up', m: 2048, k: 768, n: 3072, bias: 'row', activation: 'gelu', source: 'BERT-base mlp up' },
    ...LAYERS,
  ],
};
