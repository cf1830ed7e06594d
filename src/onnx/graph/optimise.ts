/** Rewrites of a graph that leave what it computes as it is, to the rounding; each in a function, until none finds anything more. */
import type { Graph } from '../model/types.ts';
import { findAttention } from './attention.ts';
import { Editor } from './editor.ts';
import { foldAfter, foldBefore, swapShift } from './fold.ts';
import { joinActivation, joinAffine, joinBias, joinGate, joinResidual, joinZeros } from './join.ts';
import { joinPad, joinTransposes } from './moves.ts';
import { findGelu, findHardSwish, findLayerNorm, findSilu, findSqueeze } from './patterns.ts';
import { dropIdentity, hoistConstants } from './tidy.ts';

/** Looks at one node; true where it changed the graph. */
export type Pass = (editor: Editor, node: Editor['nodes'][number]) => boolean;

/** Composite functions come before what joins them to products. */
const ROUNDS: readonly (readonly Pass[])[] = [
  [dropIdentity, joinTransposes],
  [findHardSwish, findSilu, findGelu, findLayerNorm, findSqueeze, findAttention],
  [foldAfter],
  [foldBefore, swapShift, joinPad],
  [foldAfter],
  [joinBias, joinResidual],
  [joinActivation],
  [joinAffine],
  [joinGate],
  [joinZeros],
];

/** More sweeps than this of one graph would be a pass that undoes another. */
const MOST_SWEEPS = 1000;

/** Sweeps over the nodes; those that a rewrite has put in a node's place are looked at in the next one. */
function untilNothingChanges(editor: Editor, passes: readonly Pass[]): void {
  for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    let changed = false;
    for (const node of editor.nodes)
      for (const pass of passes) if (editor.has(node) && pass(editor, node)) changed = true;
    if (!changed) return;
  }
}

/** Before this opset arrays broadcast in another way, which the rewrites do not know. */
const FIRST_REWRITTEN = 7;

/** The graph of a model of an opset, of which those before 7 are left as they are. */
export function optimise(graph: Graph, opset = FIRST_REWRITTEN): Graph {
  if (opset < FIRST_REWRITTEN) return graph;
  const editor = new Editor(hoistConstants(graph));
  for (const passes of ROUNDS) {
    untilNothingChanges(editor, passes);
    editor.prune();
  }
  return editor.graph();
}
