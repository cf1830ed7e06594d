/** A shape to measure, as data: what a named list, a user's file and a line of text all become. */
import type { Activation } from '../../index.ts';

export interface Shape {
  /** Unique inside its list; shown beside the extents. */
  readonly name: string;
  /** Independent products; absent for plain matrices. */
  readonly batch?: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** The right operand is stored [n, k]. */
  readonly transposeB?: boolean;
  /** The right operand is constant (weights): whoever can pack it ahead of time may do so, peers included. */
  readonly prepacked?: boolean;
  readonly bias?: 'row' | 'column';
  readonly activation?: Activation;
  /** Where the shape comes from: a model and layer, or why the size is interesting. */
  readonly source: string;
}

/** A named list; `about` is the line that `bench --help` prints. */
export interface ShapeList {
  readonly name: string;
  readonly about: string;
  readonly shapes: readonly Shape[];
}
