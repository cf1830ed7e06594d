/** How what is known of a value follows from what is known of others. */
import type { GraphNode } from '../../model/types.ts';
import type { Length } from './lengths.ts';

/** What is known of a value. */
export interface Guess {
  readonly shape: readonly Length[] | undefined;
  /** Its numbers, where they are few and say shapes. */
  readonly list?: readonly Length[] | undefined;
}

/** What is known of a node's first result from what is known of its inputs. */
export type Infer = (
  node: GraphNode,
  inputs: readonly (Guess | undefined)[],
  opset: number,
) => Guess | undefined;

/** By the names of operators. */
export type Rules = Readonly<Record<string, Infer>>;
