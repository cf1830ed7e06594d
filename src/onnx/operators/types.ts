/** An operator of the standard: since which opset this reading of it is right, and what it does. */
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';

/** Inputs that are left out are undefined. */
export type Run = (
  context: Context,
  ...inputs: (Value | undefined)[]
) => Value | readonly (Value | undefined)[];

/** As if it took any inputs: what is required is checked where nodes are run. */
export interface Operator {
  readonly since: number;
  /** Inputs that must be there. */
  readonly needs: number;
  readonly run: (context: Context, ...inputs: never[]) => Value | readonly (Value | undefined)[];
}

export type Operators = Readonly<Record<string, Operator>>;

export function operator(
  since: number,
  needs: number,
  run: (context: Context, ...inputs: never[]) => Value | readonly (Value | undefined)[],
): Operator {
  return { since, needs, run };
}
