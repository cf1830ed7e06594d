/** Rewrites of a graph that leave what it computes as it is, to the rounding; each in a function, until none finds anything more. */
import type { Graph } from '../model/types.ts';
import { Editor } from './editor.ts';
import { foldAfter, foldBefore, swapShift } from './fold.ts';
import { joinActivation, joinBias, joinResidual } from './join.ts';
import { findGelu, findHardSwish, findLayerNorm, findSilu, findSqueeze } from './patterns.ts';
import { constants, dropIdentity } from './tidy.ts';

/** Looks at one node; true where it changed the graph. */
export type Pass = (editor: Editor, node: Editor['nodes'][number]) => boolean;

/** Composite functions come before what joins them to products. */
const ROUNDS: readonly (readonly Pass[])[] = [
  [constants, dropIdentity],
  [findHardSwish, findSilu, findGelu, findLayerNorm, findSqueeze],
  [foldAfter],
  [foldBefore, swapShift],
  [foldAfter],
  [joinBias, joinResidual],
  [joinActivation],
];

/** More rewrites than this of one graph would be a pass that undoes another. */
const MOST = 100_000;

function untilNothingChanges(editor: Editor, passes: readonly Pass[]): void {
  for (let count = 0; count < MOST; count++) {
    const changed = editor.nodes.some((node) => passes.some((pass) => pass(editor, node)));
    if (!changed) return;
  }
}

export function optimise(graph: Graph): Graph {
  const editor = new Editor(graph);
  for (const passes of ROUNDS) {
    untilNothingChanges(editor, passes);
    editor.prune();
  }
  return editor.graph();
}
