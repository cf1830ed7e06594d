/** What of a model is not run, all of it in one error; and the order of its nodes. */
import { TesseraeError } from '../../core/errors.ts';
import type { Graph, GraphNode, Model } from '../model/types.ts';
import { corrupt } from '../model/wire.ts';
import { OWN } from '../operators/fused.ts';
import { OPERATORS } from '../operators/index.ts';

export interface Gap {
  readonly op: string;
  readonly domain: string;
  readonly node: string;
  readonly reason: string;
}

/** Beyond this opset an operator may mean something else. */
export const NEWEST_OPSET = 24;
const OLDEST_OPSET = 1;

function gapOf(node: GraphNode, opset: number): string | undefined {
  if (node.domain !== '' && node.domain !== 'ai.onnx' && node.domain !== OWN) return `domain ${node.domain}`;
  const known = OPERATORS[node.op];
  if (!known) return 'no such operator is run';
  if (opset < known.since) return `opset ${opset}: run from opset ${known.since} on`;
  if (node.inputs.length < known.needs) return `${node.inputs.length} inputs, ${known.needs} are needed`;
  for (const attribute of node.attributes.values()) if (attribute.kind === 'refused') return attribute.reason;
  return undefined;
}

function* nodesOf(graph: Graph): Generator<GraphNode> {
  for (const node of graph.nodes) {
    yield node;
    for (const attribute of node.attributes.values())
      if (attribute.kind === 'graph') yield* nodesOf(attribute.value);
  }
}

const MOST_NAMED = 20;

/** Every operator, version and type of a model that is not run. */
export function gapsOf(model: Model): readonly Gap[] {
  const opset = model.opsets.get('') ?? 1;
  const gaps: Gap[] = [];
  for (const node of nodesOf(model.graph)) {
    const reason = gapOf(node, opset);
    if (reason)
      gaps.push({ op: node.op, domain: node.domain, node: node.name || (node.outputs[0] ?? ''), reason });
  }
  return gaps;
}

/** @throws `E_MODEL` that lists all gaps. */
export function checkModel(model: Model): void {
  const opset = model.opsets.get('') ?? 1;
  if (opset < OLDEST_OPSET || opset > NEWEST_OPSET)
    throw new TesseraeError(
      'E_MODEL',
      `the model is of opset ${opset}, those from ${OLDEST_OPSET} to ${NEWEST_OPSET} are run`,
      { opset },
      'Convert it with onnx.version_converter.',
    );
  const gaps = gapsOf(model);
  if (gaps.length === 0) return;
  const lines = gaps.slice(0, MOST_NAMED).map(({ op, node, reason }) => `${op} "${node}": ${reason}`);
  const more = gaps.length > MOST_NAMED ? `; and ${gaps.length - MOST_NAMED} more` : '';
  throw new TesseraeError(
    'E_MODEL',
    `the model needs what is not run: ${lines.join('; ')}${more}`,
    { gaps },
    'Please report the operator, or export the model without it.',
  );
}

/** Nodes so that each comes after those whose results it reads. @throws `E_MODEL` for circles and names that nothing makes. */
export function inOrder(graph: Graph, outside: ReadonlySet<string> = new Set()): readonly GraphNode[] {
  const known = new Set([...outside, ...graph.constants.keys(), ...graph.inputs.map(({ name }) => name)]);
  const waiting = new Set(graph.nodes);
  const ordered: GraphNode[] = [];
  const isReady = (node: GraphNode) => readBy(node).every((name) => name === '' || known.has(name));
  while (waiting.size > 0) {
    const before = ordered.length;
    for (const node of waiting) {
      if (!isReady(node)) continue;
      ordered.push(node);
      waiting.delete(node);
      for (const name of node.outputs) known.add(name);
    }
    if (ordered.length > before) continue;
    const [stuck] = waiting;
    const missing = readBy(stuck!).filter((name) => name !== '' && !known.has(name));
    const what = `${stuck!.op} "${stuck!.name}" waits for ${missing.join(', ')}, which nothing makes before it`;
    throw corrupt(what, { node: stuck!.name, missing });
  }
  const lost = graph.outputs.find(({ name }) => !known.has(name));
  if (lost) throw corrupt(`nothing makes the output ${lost.name}`, { output: lost.name });
  return ordered;
}

/** Names that a node reads, those that graphs inside of it read from outside included. */
export function readBy(node: GraphNode): readonly string[] {
  if (!hasGraph(node)) return node.inputs;
  const names = new Set(node.inputs);
  for (const attribute of node.attributes.values()) {
    if (attribute.kind !== 'graph') continue;
    const inner = attribute.value;
    const own = new Set([...inner.constants.keys(), ...inner.inputs.map(({ name }) => name)]);
    for (const one of inner.nodes) for (const name of one.outputs) own.add(name);
    for (const one of inner.nodes) for (const name of readBy(one)) if (!own.has(name)) names.add(name);
    for (const { name } of inner.outputs) if (!own.has(name)) names.add(name);
  }
  return [...names];
}

/** Whether graphs are inside of a node, as branches and loops have them. */
export function hasGraph({ attributes }: GraphNode): boolean {
  for (const { kind } of attributes.values()) if (kind === 'graph') return true;
  return false;
}
