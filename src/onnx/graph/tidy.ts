/** Nodes that say nothing: constants written as nodes, and what changes nothing. */
import type { Graph, GraphNode } from '../model/types.ts';
import type { Editor } from './editor.ts';

/** Constants that are written as nodes, under their own names. */
export function hoistConstants(graph: Graph): Graph {
  const constants = new Map(graph.constants);
  const nodes = graph.nodes.filter((node) => {
    const value = node.op === 'Constant' ? node.attributes.get('value') : undefined;
    if (value?.kind !== 'tensor') return true;
    constants.set(node.outputs[0]!, value.value);
    return false;
  });
  return { ...graph, nodes, constants };
}

/** Identity, dropout whose mask nobody reads, a factor of 1. */
export function dropIdentity(editor: Editor, node: GraphNode): boolean {
  const [x, y] = node.inputs;
  if (node.op === 'Identity' || node.op === 'Dropout') {
    const isLone = node.outputs.slice(1).every((name) => name === '' || editor.readers(name).length === 0);
    return isLone && editor.bypass(node, x!);
  }
  if (node.op !== 'Mul') return false;
  // a scalar without extents cannot widen the other operand
  const isOne = (name: string | undefined) =>
    editor.scalar(name) === 1 && editor.constant(name)!.shape.length === 0;
  if (isOne(y) && !editor.constant(x)) return editor.bypass(node, x!);
  if (isOne(x) && !editor.constant(y)) return editor.bypass(node, y!);
  return false;
}
