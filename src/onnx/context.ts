/** What operators work with: the runtime's operations, values moved to where they are wanted, and the tape that remembers what was done. */
import { TesseraeError } from '../core/errors.ts';
import { type Shape, sizeOf } from '../core/shape.ts';
import type { Core } from '../ops/core.ts';
import { DenseTensor } from '../ops/tensor.ts';
import type { Prepacked, PrepackedConv, Runtime } from '../ops/types.ts';
import { FilterRoom } from './filter-room.ts';
import { arrayFor } from './model/tensor-proto.ts';
import type { Attribute, ElementType, Graph, GraphNode, Numbers } from './model/types.ts';
import { Value } from './value.ts';

/** What lives as long as a session: constants in memory, by the value they are of. */
export class Kept {
  readonly room: FilterRoom;
  readonly #owned: { dispose(): void }[] = [];
  readonly weights = new Map<object, PrepackedConv>();
  /** Matrices packed as they are, and transposed. */
  readonly prepared = new Map<object, Prepacked>();
  readonly turned = new Map<object, Prepacked>();
  /** Numbers that nodes draw, which go on from run to run. */
  readonly draws = new Map<GraphNode, () => number>();
  /** What is written anew before each run. */
  readonly fresh: { readonly tensor: DenseTensor; fill(to: Float32Array): void }[] = [];

  constructor(room = new FilterRoom('fast')) {
    this.room = room;
  }

  own<T extends { dispose(): void }>(thing: T): T {
    this.#owned.push(thing);
    return thing;
  }

  dispose(): void {
    for (const thing of this.#owned.splice(0)) thing.dispose();
    this.weights.clear();
    this.prepared.clear();
    this.turned.clear();
    this.draws.clear();
    this.fresh.length = 0;
  }
}

/** A function of its own, so that what it closes over is nothing else. */
function copying(tensor: DenseTensor): () => Float32Array {
  return () => Float32Array.from(tensor.data);
}

/** Runs a graph with values for its inputs; results are the caller's. */
export type RunGraph = (context: Context, graph: Graph, inputs: readonly Value[]) => Value[];

export class Context {
  readonly rt: Runtime;
  readonly core: Core;
  /** Of the session, and of the runs on inputs of these shapes. */
  readonly kept: Kept;
  readonly planned: Kept;
  readonly opset: number;
  readonly #runGraph: RunGraph;
  #node: GraphNode | undefined;
  /** Values that the node has made so far. */
  #made: Value[] = [];

  constructor(rt: Runtime, core: Core, kept: Kept, planned: Kept, opset: number, runGraph: RunGraph) {
    this.rt = rt;
    this.core = core;
    this.kept = kept;
    this.planned = planned;
    this.opset = opset;
    this.#runGraph = runGraph;
  }

  enter(node: GraphNode): void {
    this.#node = node;
    this.#made = [];
    this.core.tape?.at(node.name || node.outputs[0] || node.op);
  }

  /** The node's results: what else it made is given back, and none of them is one of its inputs. */
  leave(
    results: readonly (Value | undefined)[],
    inputs: readonly (Value | undefined)[],
  ): readonly (Value | undefined)[] {
    const own = results.map((value) =>
      value && inputs.includes(value) ? this.reshaped(value, value.shape) : value,
    );
    for (const value of this.#made) if (!own.includes(value)) value.dispose();
    return own;
  }

  /** Runs a graph inside of the node with values for its inputs; it reads values from around the node by their names. */
  runGraph(graph: Graph, inputs: readonly Value[]): readonly Value[] {
    const [node, made] = [this.#node, this.#made];
    const results = this.#runGraph(this, graph, inputs);
    this.#node = node;
    this.#made = made;
    for (const value of results) this.#made.push(value);
    return results;
  }

  /** After a node that failed. */
  abandon(): void {
    for (const value of this.#made) value.dispose();
  }

  get node(): GraphNode {
    return this.#node!;
  }

  /** Does work whose results outlive every run. */
  outside<T>(work: () => T): T {
    return this.core.record(undefined, work);
  }

  /** The value as floats in the runtime's memory; what is constant is brought there once for all runs. */
  tensor(value: Value): DenseTensor {
    if (value.tensor) return value.tensor;
    const make = () => this.placed(value);
    if (value.isConstant) {
      const tensor = (value.isLasting ? this.kept : this.planned).own(this.outside(make));
      value.tensor = tensor;
      value.isKept = true;
      value.letGo(copying(tensor));
    } else {
      this.core.tape?.spoil(`${this.node.op} reads numbers that differ from run to run`);
      value.tensor = make();
    }
    return value.tensor;
  }

  /** The value's numbers in memory of their own. */
  placed(value: Value): DenseTensor {
    const tensor = new DenseTensor(this.core.heap, value.shape);
    try {
      value.writeTo(tensor.data);
      return tensor;
    } catch (error) {
      tensor.dispose();
      throw error;
    }
  }

  /** The value's numbers, for what must know them before it can go on: extents, places, conditions. */
  numbers(value: Value): Numbers {
    if (value.hasNumbers) {
      if (!value.isConstant)
        this.core.tape?.spoil(`${this.node.op} goes by numbers that differ from run to run`);
      return value.numbers!;
    }
    if (!value.isConstant) this.core.tape?.spoil(`${this.node.op} goes by numbers that are computed`);
    const from = value.tensor!.data;
    const numbers = arrayFor(value.type, from.length);
    numbers.set(from);
    value.numbers = numbers;
    return numbers;
  }

  ints(value: Value): number[] {
    return Array.from(this.numbers(value));
  }

  /** A new value of the host. */
  made(type: ElementType, shape: Shape, numbers: Numbers, from: readonly (Value | undefined)[]): Value {
    return this.#keep(
      Value.ofNumbers(
        type,
        shape,
        numbers,
        from.every((value) => !value || value.isConstant),
      ),
    );
  }

  /** Numbers that are other ones in each run: `fill` writes them now, and again before each replay. */
  fresh(type: ElementType, shape: Shape, fill: (to: Float32Array) => void): Value {
    // memory of the record, as its inputs have it, and given back with it
    const tensor = this.planned.own(new DenseTensor(this.core.heap, shape));
    fill(tensor.data);
    this.planned.fresh.push({ tensor, fill });
    const value = this.#keep(Value.ofTensor(tensor, type));
    value.isKept = true;
    return value;
  }

  /** A number as a value without extents. */
  number(value: number): Value {
    return this.made('float32', [], Float32Array.of(value), []);
  }

  /** Whether a value is on the host and small or constant enough to be computed there. */
  isHost(value: Value): boolean {
    return value.tensor === undefined;
  }

  refuse(what: string, values: Readonly<Record<string, unknown>> = {}): TesseraeError {
    const { op, name } = this.node;
    return new TesseraeError(
      'E_MODEL',
      `${op}${name ? ` "${name}"` : ''}: ${what}`,
      { op, name, ...values },
      'The model asks for something that is not run, or its inputs do not fit it.',
    );
  }

  #attribute<K extends Attribute['kind']>(
    name: string,
    kind: K,
  ): Extract<Attribute, { kind: K }> | undefined {
    const attribute = this.node.attributes.get(name);
    if (attribute === undefined) return undefined;
    if (attribute.kind === kind) return attribute as Extract<Attribute, { kind: K }>;
    throw this.refuse(`attribute ${name} is ${attribute.kind}, not ${kind}`);
  }

  int(name: string, fallback: number): number {
    return this.#attribute(name, 'int')?.value ?? fallback;
  }

  float(name: string, fallback: number): number {
    return this.#attribute(name, 'float')?.value ?? fallback;
  }

  string(name: string, fallback: string): string {
    return this.#attribute(name, 'string')?.value ?? fallback;
  }

  intList(name: string): readonly number[] | undefined {
    return this.#attribute(name, 'ints')?.value;
  }

  floatList(name: string): readonly number[] | undefined {
    return this.#attribute(name, 'floats')?.value;
  }

  /** An axis counted from the front. */
  axis(axis: number, rank: number): number {
    const from = axis < 0 ? axis + rank : axis;
    if (Number.isInteger(from) && from >= 0 && from < rank) return from;
    throw this.refuse(`axis ${axis} of ${rank}`, { axis, rank });
  }

  /** Axes from an input where there is one, else from an attribute. */
  axes(input: Value | undefined, name: string, rank: number): number[] | undefined {
    const list = input ? this.ints(input) : this.intList(name);
    return list?.map((axis) => this.axis(axis, rank));
  }

  /** The same elements with other extents. */
  reshaped(value: Value, shape: Shape): Value {
    if (sizeOf(shape) !== value.size)
      throw this.refuse(`[${value.shape}] does not have the elements of [${shape}]`);
    if (!value.tensor) return this.#keep(value.withShape(shape));
    const tensor = value.isKept
      ? this.planned.own(value.tensor.reshaped(shape))
      : value.tensor.reshaped(shape);
    const result = this.#keep(Value.ofTensor(tensor, value.type, value.isConstant));
    result.isKept = value.isKept;
    if (!value.isKept) result.numbers = value.numbers;
    return result;
  }

  /** The same elements under another type, whose values they are already. */
  retyped(value: Value, type: ElementType): Value {
    const tensor = this.tensor(value);
    const shared = value.isKept
      ? this.planned.own(tensor.reshaped(value.shape))
      : tensor.reshaped(value.shape);
    const result = this.#keep(Value.ofTensor(shared, type, value.isConstant));
    result.isKept = value.isKept;
    return result;
  }

  /** A result of floats or of what floats stand for. */
  result(tensor: unknown, type: ElementType = 'float32'): Value {
    return this.#keep(Value.ofTensor(tensor as DenseTensor, type));
  }

  #keep(value: Value): Value {
    this.#made.push(value);
    return value;
  }
}
