/** Which operands of a product lie on a GPU as halves (f16): they are widened as they are read, and sums are floats. */

/** By the sides of the product as kernels multiply them: of a convolution in NCHW, `a` are the weights. */
export type Halves = 'none' | 'a' | 'b' | 'ab';

export function halvesOf(a: boolean, b: boolean): Halves {
  if (a) return b ? 'ab' : 'a';
  return b ? 'b' : 'none';
}

export function isHalf(halves: Halves, side: 'a' | 'b'): boolean {
  return halves === 'ab' || halves === side;
}
