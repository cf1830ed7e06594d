/** Which nodes of a graph may be computed at the same time. */
import type { GraphNode } from '../model/types.ts';
import { readBy } from './check.ts';

/** How far ahead of its place a node may be computed: what it makes stays in memory for that long. */
const AHEAD = 16;
const MOST_ABREAST = 4;

/**
 * The nodes of a graph, which are in order, in groups of which none reads what another one makes: the first that is left, and those soon
 * after it that wait for none that is left.
 */
export function abreast(nodes: readonly GraphNode[]): readonly (readonly GraphNode[])[] {
  const left = [...nodes];
  const reads = new Map(nodes.map((node) => [node, readBy(node)]));
  const groups: GraphNode[][] = [];
  while (left.length > 0) {
    const near = left.slice(0, AHEAD);
    const unmade = new Set<string>();
    const group: GraphNode[] = [];
    for (const node of near) {
      const waits = reads.get(node)!.some((name) => unmade.has(name));
      if (!waits && group.length < MOST_ABREAST) group.push(node);
      for (const name of node.outputs) unmade.add(name);
    }
    groups.push(group);
    for (const node of group) left.splice(left.indexOf(node), 1);
  }
  return groups;
}
