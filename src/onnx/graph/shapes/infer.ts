/**
 * The shapes of a graph's values as far as they follow from its inputs' shapes, of which some extents are names: node by node, with the numbers
 * that say shapes followed along (https://github.com/onnx/onnx/blob/main/docs/ShapeInference.md). What is not known stays out.
 */
import type { ConstantArray, Extent, Graph, GraphNode, ValueInfo } from '../../model/types.ts';
import { intOf, intsOf } from '../editor.ts';
import { ARRAY_RULES, axisOf } from './array.ts';
import { IMAGE_RULES } from './image.ts';
import { extentOf, known, type Length, lengthOf, numberOf } from './lengths.ts';
import type { Guess, Rules } from './rules.ts';

/** Constants that may say shapes have no more numbers than this. */
const MOST_NUMBERS = 64;
/** Of a value that is there: inputs that are left out are undefined. */
const UNKNOWN: Guess = { shape: undefined };
const NO_NUMBERS = new Float32Array(0);
const RULES: Rules = { ...ARRAY_RULES, ...IMAGE_RULES };

/** Whether a constant may say a shape. */
function isList({ type, shape }: ConstantArray): boolean {
  const isShort = shape.length < 2 && (shape[0] ?? 1) <= MOST_NUMBERS;
  return isShort && (type === 'int64' || type === 'int32' || type === 'float32');
}

function ofConstant(array: ConstantArray): Guess {
  const shape = array.shape.map(known);
  if (!isList(array)) return { shape };
  let list: readonly Length[] | undefined;
  return {
    shape,
    // of hundreds of constants few say shapes
    get list() {
      list ??= Array.from(array.data, known);
      return list;
    },
  };
}

/** With a name for each extent that has neither a name nor a number. */
export function withNames(info: ValueInfo): ValueInfo {
  return {
    ...info,
    shape: info.shape?.map((extent, axis) => (extent === '' ? `${info.name}.${axis}` : extent)),
  };
}

/** All results of a split. */
function splitOf(
  node: GraphNode,
  [x, lengths]: readonly (Guess | undefined)[],
): readonly (Guess | undefined)[] {
  if (!x?.shape) return [];
  const axis = axisOf(intOf(node, 'axis', 0), x.shape.length);
  const given = lengths ? lengths.list : intsOf(node, 'split')?.map(known);
  const count = node.outputs.length;
  const parts = given ?? (lengths ? undefined : even(x.shape[axis]!, count));
  return parts?.map((length) => ({ shape: x.shape!.map((own, i) => (i === axis ? length : own)) })) ?? [];
}

function even(extent: Length, count: number): readonly Length[] | undefined {
  const whole = numberOf(extent);
  if (whole === undefined) return undefined;
  const most = Math.ceil(whole / count);
  return Array.from({ length: count }, (_, i) => known(Math.max(0, Math.min(most, whole - i * most))));
}

/** What is known of a node's results. Of one that makes no sense nothing is: it is refused by its name when it is run. */
function resultsOf(
  node: GraphNode,
  inputs: readonly (Guess | undefined)[],
  opset: number,
): readonly (Guess | undefined)[] {
  try {
    if (node.op === 'Split') return splitOf(node, inputs);
    return Object.hasOwn(RULES, node.op) ? [RULES[node.op]!(node, inputs, opset)] : [];
  } catch {
    return [];
  }
}

/** What is known of a graph's values, whose nodes are in order. */
function guessesOf(graph: Graph, opset: number): ReadonlyMap<string, Guess | undefined> {
  const guesses = new Map<string, Guess | undefined>();
  for (const { name, shape } of graph.inputs.map(withNames))
    guesses.set(name, { shape: shape?.map(lengthOf) });
  for (const [name, array] of graph.constants) guesses.set(name, ofConstant(array));
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name) => (name === '' ? undefined : (guesses.get(name) ?? UNKNOWN)));
    resultsOf(node, inputs, opset).forEach((guess, i) => {
      const isWhole = guess?.shape?.every((length) => length !== undefined);
      if (isWhole && node.outputs[i]) guesses.set(node.outputs[i], guess);
    });
  }
  return guesses;
}

/** A graph without numbers that say no shapes: as much as is asked for here, and little to keep. */
export function shapesOnly(graph: Graph): Graph {
  const constants = [...graph.constants].map(([name, array]) => {
    const { type, shape } = array;
    return [name, isList(array) ? array : { type, shape, data: NO_NUMBERS }] as const;
  });
  return { ...graph, constants: new Map(constants) };
}

/** Shapes of a graph's values, whose nodes are in order: of its inputs, its constants, and all that could be followed. */
export function inferShapes(graph: Graph, opset: number): ReadonlyMap<string, readonly Extent[]> {
  const shapes = [...guessesOf(graph, opset)].flatMap(([name, guess]) =>
    guess?.shape ? [[name, guess.shape.map(extentOf)] as const] : [],
  );
  return new Map(shapes);
}

/** The graph's outputs with shapes that follow from its inputs', where the file says less. */
export function outputsOf(graph: Graph, opset: number): readonly ValueInfo[] {
  const isTold = ({ shape }: ValueInfo) => shape?.every((extent) => typeof extent === 'number') ?? false;
  if (graph.outputs.every(isTold)) return graph.outputs;
  const guesses = guessesOf(graph, opset);
  return graph.outputs.map((info) => {
    const inferred = guesses.get(info.name)?.shape?.map(extentOf);
    const isOther = inferred && info.shape && inferred.length !== info.shape.length;
    if (!inferred || isOther) return info;
    const told = (axis: number) => info.shape?.[axis];
    const shape = inferred.map((extent, axis) => {
      const said = told(axis);
      return typeof said === 'number' && typeof extent === 'string' ? said : extent;
    });
    return { ...info, shape };
  });
}
