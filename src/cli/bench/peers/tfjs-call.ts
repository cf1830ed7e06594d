/** One problem on TensorFlow.js, whichever backend it has: operands are resident in its memory, each run has a fresh output. */
import type { MatmulOperands, Operands } from '../operands.ts';
import type { Prepared, Unsupported } from '../types.ts';
import type { FusedActivation, Tf, TfTensor } from './tfjs.ts';
import { prepareConv } from './tfjs-conv.ts';

export function prepareTf(tf: Tf, operands: Operands): Prepared | Unsupported {
  switch (operands.kind) {
    case 'conv':
      return prepareConv(tf, operands);
    case 'matmul':
      return prepareMatmul(tf, operands);
    case 'qmatmul':
      return { unsupported: 'it has no product of 8-bit integers' };
    default:
      return operands satisfies never;
  }
}

function prepareMatmul(tf: Tf, operands: MatmulOperands): Prepared | Unsupported {
  const { shape, batch } = operands;
  const { m, k, n, transposeB = false } = shape;
  const activation = fusedActivation(shape.activation);
  if (activation === undefined || shape.bias === 'column')
    return { unsupported: 'its fused matMul has no such epilogue' };
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
  const a = tf.tensor(operands.a, stacked(m, k), 'float32');
  const b = tf.tensor(operands.b, transposeB ? stacked(n, k) : stacked(k, n), 'float32');
  const bias = operands.bias && tf.tensor(operands.bias, [n], 'float32');
  const plain = bias === undefined && activation === 'linear';
  const call = plain
    ? () => tf.matMul(a, b, false, transposeB)
    : () => tf.fused.matMul({ a, b, transposeA: false, transposeB, bias, activation });
  const { chain = 1 } = shape;
  let latest: TfTensor | undefined;
  return {
    run: () => {
      latest?.dispose();
      latest = call();
      for (let step = 1; step < chain; step++) {
        const before = latest;
        latest = tf.matMul(before, b, false, false);
        before.dispose();
      }
    },
    result: async () => (latest ? await latest.data() : new Float32Array(0)),
    dispose: () => {
      for (const tensor of [a, b, bias, latest]) tensor?.dispose();
    },
  };
}

function fusedActivation(activation: MatmulOperands['shape']['activation']): FusedActivation | undefined {
  if (activation === undefined || activation === 'none') return 'linear';
  if (activation === 'relu') return 'relu';
  const relu6 = typeof activation === 'object' && activation.kind === 'clip';
  return relu6 && activation.min === 0 && activation.max === 6 ? 'relu6' : undefined;
}
