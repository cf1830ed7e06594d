/** What a user's kernel is made of, and its self-check on a GPU. */
import type { MapFunction, UserSource } from './source.ts';

export interface MapParts {
  readonly source: UserSource;
  readonly fn: MapFunction;
  readonly constants: Readonly<Record<string, number>>;
}

/** Elements of the self-check. */
export const CHECKED = 64;
/** A GPU's own sine is off by 2e-4, which WGSL allows. */
const TOLERANCE = 1e-3;

/** Why answers of a GPU are wrong, or undefined. What is not finite on the processor is not compared. */
export function mapFault(
  { fn, constants }: MapParts,
  inputs: readonly Float32Array[],
  got: Float32Array,
): string | undefined {
  for (let i = 0; i < CHECKED; i++) {
    const values = inputs.map((input) => input[i]!);
    const want = fn.apply({ constants }, values);
    if (Number.isFinite(want) && !(Math.abs(got[i]! - want) <= TOLERANCE * (1 + Math.abs(want))))
      return `of ${values} it makes ${got[i]} on the GPU, not ${want}`;
  }
  return undefined;
}
