/** A 1x1 convolution as the product that it is, for the candidates and the cost model of products. */
import { type ConvProblem, groupChannels } from '../../problem/conv.ts';
import { type MatmulProblem, matmulProblem } from '../../problem/matmul.ts';

export function asProduct(p: ConvProblem): MatmulProblem {
  const channels = p.outC / p.groups;
  const pixels = p.outH * p.outW;
  const { activation, exact } = p;
  if (p.layout === 'nchw') {
    const extents = { batch: p.batch * p.groups, m: channels, n: pixels, k: groupChannels(p) };
    const bias = p.bias ? ('column' as const) : ('none' as const);
    return { ...matmulProblem(extents, { bias, activation, exact }), sharedA: p.groups === 1 };
  }
  const extents = { batch: p.groups, m: p.batch * pixels, n: channels, k: groupChannels(p) };
  const bias = p.bias ? ('row' as const) : ('none' as const);
  const plain = matmulProblem(extents, { bias, activation, exact, transposeB: true });
  return { ...plain, prepackedB: p.prepacked };
}
