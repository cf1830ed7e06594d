/** A problem of 8-bit integers as the plain problem over 32-bit elements that is run: words of two steps of k, or floats. */
import type { Kernel } from '../../kernels/kernel.ts';
import { readsBytes, stepsPerWord } from '../../kernels/quantized.ts';
import type { ConvProblem } from '../../problem/conv.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import {
  largestSum,
  type QconvProblem,
  type QmatmulProblem,
  type QuantizedProblem,
} from '../../problem/quantized.ts';

/** What happens to the sums is not the plain kernels' business; `exact` keeps ways that round (Winograd in floats) away from integers. */
const BARE = { activation: 'none', exact: true } as const;

function productOf(p: QmatmulProblem, steps: number): MatmulProblem {
  const { panel, k } = p.plain;
  const plain = { ...p.plain, ...BARE, bias: 'none', k: Math.ceil(k / steps) } as const;
  // panels of bytes have the blocks of those of 16-bit pairs, in half as many words
  return panel && steps === 4 ? { ...plain, panel: { ...panel, kc: panel.kc / 2 } } : plain;
}

/** Over an image that has its padding already: whoever makes the words pads, with zero points. */
function convolutionOf(p: QconvProblem, steps: number): ConvProblem {
  const { plain } = p;
  return {
    ...plain,
    ...BARE,
    bias: false,
    residual: false,
    inC: plain.groups * Math.ceil(plain.inC / plain.groups / steps),
    inH: plain.inH + plain.padTop + plain.padBottom,
    inW: plain.inW + plain.padLeft + plain.padRight,
    padTop: 0,
    padBottom: 0,
    padLeft: 0,
    padRight: 0,
    // sums of words wrap around, those of floats must not round
    ...(steps === 2 ? { largestSum: largestSum(p) } : {}),
  };
}

/** Whether a kernel takes the image as bytes, with its padding to come. */
export function readsByteImage({ taps }: Kernel): boolean {
  return taps !== undefined;
}

export function innerProblem(p: QuantizedProblem, kernel: Kernel): MatmulProblem | ConvProblem {
  const steps = readsBytes(kernel) ? 1 : stepsPerWord(kernel);
  if (p.op === 'qmatmul') return productOf(p, steps);
  return readsByteImage(kernel)
    ? { ...p.plain, ...BARE, bias: false, residual: false }
    : convolutionOf(p, steps);
}
