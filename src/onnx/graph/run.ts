/** Runs a graph node by node: values live until their last reader is done. */
import { TesseraeError } from '../../core/errors.ts';
import type { Context } from '../context.ts';
import type { Graph, GraphNode } from '../model/types.ts';
import { OPERATORS } from '../operators/index.ts';
import type { Run } from '../operators/types.ts';
import { Value } from '../value.ts';
import { inOrder, readBy } from './check.ts';

/** A graph with its nodes in order and, for each, the names that nobody reads after it. */
export interface Schedule {
  readonly graph: Graph;
  readonly nodes: readonly GraphNode[];
  readonly last: readonly (readonly string[])[];
  readonly constants: ReadonlyMap<string, Value>;
}

const NO_CONSTANTS: Graph['constants'] = new Map();

/** Groups of nodes may be computed at the same time: what one of them reads last is there until all have been. */
export function schedule(graph: Graph, groups: readonly (readonly GraphNode[])[]): Schedule {
  const lastReader = new Map<string, number>();
  let end = -1;
  for (const group of groups) {
    end += group.length;
    for (const node of group)
      for (const name of [...node.outputs, ...readBy(node)]) lastReader.set(name, end);
  }
  const nodes = groups.flat();
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const last: string[][] = nodes.map(() => []);
  for (const [name, at] of lastReader) if (name !== '' && !outputs.has(name)) last[at]!.push(name);
  const constants = new Map(
    [...graph.constants].map(([name, array]) => [name, Value.ofLasting(array)] as const),
  );
  // values have them from here on, and may let them go
  return { graph: { ...graph, constants: NO_CONSTANTS }, nodes, last, constants };
}

function runNode(
  context: Context,
  node: GraphNode,
  inputs: readonly (Value | undefined)[],
): readonly (Value | undefined)[] {
  const { run, needs } = OPERATORS[node.op]!;
  context.enter(node);
  for (let i = 0; i < needs; i++) if (!inputs[i]) throw context.refuse(`input ${i} is missing`);
  try {
    const made = (run as Run)(context, ...inputs);
    return context.leave(made instanceof Value ? [made] : made, inputs);
  } catch (error) {
    context.abandon();
    if (error instanceof TesseraeError && error.code === 'E_MODEL') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new TesseraeError(
      error instanceof TesseraeError ? error.code : 'E_MODEL',
      `${node.op} "${node.name}" fails: ${reason}`,
      { op: node.op, name: node.name, shapes: inputs.map((value) => value?.shape) },
      'The inputs do not fit the model, or it uses the operator in a way that is not run.',
      error,
    );
  }
}

/**
 * The graph's outputs, in its order; whoever asked disposes them. `outer` are values that graphs inside of nodes may read. Stops after each
 * node, so that a thread with other things to do can do them; thrown into, it gives back what it holds.
 */
export function* runSchedule(
  context: Context,
  { graph, nodes, last, constants }: Schedule,
  feeds: ReadonlyMap<string, Value>,
  outer?: (name: string) => Value | undefined,
): Generator<void, Value[]> {
  const values = new Map<string, Value>([...constants, ...feeds]);
  const find = (name: string) => values.get(name) ?? outer?.(name);
  scopes.set(context, [...(scopes.get(context) ?? []), find]);
  try {
    for (const [index, node] of nodes.entries()) {
      const inputs = node.inputs.map((name) => (name === '' ? undefined : find(name)));
      const made = runNode(context, node, inputs);
      made.forEach((value, i) => {
        const name = node.outputs[i] ?? '';
        if (name !== '' && value) values.set(name, value);
        else value?.dispose();
      });
      for (const name of last[index]!) {
        if (!feeds.has(name) && !constants.has(name)) values.get(name)?.dispose();
        values.delete(name);
      }
      yield;
    }
    return graph.outputs.map(({ name }) => {
      const value = find(name);
      if (value) return value;
      throw new TesseraeError('E_MODEL', `nothing made the output ${name}`, { name }, 'A node left it out.');
    });
  } catch (error) {
    for (const [name, value] of values) if (!feeds.has(name) && !constants.has(name)) value.dispose();
    throw error;
  } finally {
    scopes.get(context)!.pop();
  }
}

type Find = (name: string) => Value | undefined;

/** Values by name, those of the innermost graph last. */
const scopes = new WeakMap<Context, Find[]>();
const inner = new WeakMap<Graph, Schedule>();

/** What is read from around a graph counts as known. */
function innerSchedule(graph: Graph): Schedule {
  const known = inner.get(graph);
  if (known) return known;
  const made = new Set(graph.nodes.flatMap(({ outputs }) => outputs));
  const names = [...graph.nodes.flatMap(readBy), ...graph.outputs.map(({ name }) => name)];
  const outside = new Set(names.filter((name) => !made.has(name)));
  const scheduled = schedule(
    graph,
    inOrder(graph, outside).map((node) => [node]),
  );
  inner.set(graph, scheduled);
  return scheduled;
}

/** Runs a graph inside of a node. Values that it only passes on are shared, so that each has an owner. */
export function runInner(context: Context, graph: Graph, inputs: readonly Value[]): Value[] {
  const scheduled = innerSchedule(graph);
  const feeds = new Map(graph.inputs.map(({ name }, i) => [name, inputs[i]!] as const));
  const outer = scopes.get(context)?.at(-1);
  const running = runSchedule(context, scheduled, feeds, outer);
  let step = running.next();
  while (!step.done) step = running.next();
  const results = step.value;
  const own = new Set<Value>();
  return results.map((value, i) => {
    const { name } = graph.outputs[i]!;
    const isOwn =
      !own.has(value) && !feeds.has(name) && !scheduled.constants.has(name) && outer?.(name) !== value;
    own.add(value);
    return isOwn ? value : context.reshaped(value, value.shape);
  });
}
