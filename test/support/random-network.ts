/** Networks at random: what a graph's rewrites may meet in any order, with every value bounded so that results can be compared. */
import {
  type Field,
  floatAttribute,
  initializer,
  intAttribute,
  intsAttribute,
  node,
  stringAttribute,
} from '../../src/cli/bench/peers/onnx-proto.ts';
import { sizeOf } from '../../src/core/shape.ts';
import { edge, modelOf } from './onnx.ts';
import { IMAGE_STEPS } from './random-images.ts';
import { LINE_STEPS, lines, TOKEN_STEPS, tokens } from './random-tokens.ts';
import type { Random } from './seed.ts';

/** A value that later nodes may read. */
export interface Live {
  readonly name: string;
  readonly dims: readonly number[];
}

type Attributes = Readonly<Record<string, number | readonly number[] | string>>;

/** Attributes whose one number is a float. */
const FLOATS = new Set(['alpha', 'beta', 'epsilon', 'gamma', 'min', 'max']);

function attributesOf(attributes: Attributes): Field[] {
  return Object.entries(attributes).map(([name, value]) => {
    if (typeof value === 'string') return stringAttribute(name, value);
    if (typeof value !== 'number') return intsAttribute(name, value);
    return FLOATS.has(name) ? floatAttribute(name, value) : intAttribute(name, value);
  });
}

export interface RandomNetwork {
  readonly bytes: Uint8Array;
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly outputs: readonly string[];
  /** A line for each node, for whoever looks for a fault. */
  readonly lines: readonly string[];
}

/** At most. */
export interface Size {
  readonly extent: number;
  readonly channels: number;
}

export const SMALL: Size = { extent: 18, channels: 12 };
/** Large enough for products of sums, tiles of several threads and pairs. */
export const LARGE: Size = { extent: 56, channels: 72 };

/** What is written of a network so far. */
export class Maker {
  readonly random: Random;
  readonly size: Size;
  readonly #nodes: Field[] = [];
  readonly #constants: Field[] = [];
  readonly #lines: string[] = [];
  readonly live: Live[] = [];
  #names = 0;

  constructor(random: Random, size: Size) {
    this.random = random;
    this.size = size;
  }

  constant(dims: readonly number[], values: Float32Array | BigInt64Array): string {
    const name = `k${this.#names++}`;
    const type = values instanceof Float32Array ? 'float32' : 'int64';
    this.#constants.push(initializer({ name, type, dims }, values));
    return name;
  }

  floats(dims: readonly number[], scale = 1): string {
    return this.constant(dims, this.random.floats(sizeOf(dims), scale));
  }

  /** Numbers around 1. */
  factors(dims: readonly number[]): string {
    return this.constant(
      dims,
      this.random.floats(sizeOf(dims), 0.5).map((value) => 1 + value),
    );
  }

  all(dims: readonly number[], value: number): string {
    return this.constant(dims, new Float32Array(sizeOf(dims)).fill(value));
  }

  ints(...values: readonly number[]): string {
    return this.constant([values.length], BigInt64Array.from(values, BigInt));
  }

  /** A node of one result. */
  add(op: string, inputs: readonly string[], dims: readonly number[], attributes: Attributes = {}): Live {
    return this.split(op, inputs, [dims], attributes)[0]!;
  }

  split(
    op: string,
    inputs: readonly string[],
    dims: readonly (readonly number[])[],
    attributes: Attributes = {},
  ): Live[] {
    const made = dims.map((shape) => ({ name: `v${this.#names++}`, dims: shape }));
    const names = made.map(({ name }) => name);
    this.#nodes.push(node(op, inputs, names, attributesOf(attributes)));
    const shown = JSON.stringify(attributes).replaceAll('"', '');
    this.#lines.push(`${names} = ${op}(${inputs}) ${shown} -> ${dims.map((shape) => shape.join('x'))}`);
    return made;
  }

  /** Another value that is added up with one of such a shape, or multiplied by it. */
  other(dims: readonly number[]): Live {
    return this.random.pick(this.live.filter((value) => value.dims.join() === dims.join()));
  }

  network(inputs: readonly Live[]): RandomNetwork {
    const last = this.live.at(-1)!;
    // now and then a value in between is read from outside as well
    const between = this.live.filter(
      (value) => !inputs.includes(value) && value !== last && this.random.chance(0.04),
    );
    const outputs = [last, ...between];
    const edges = (values: readonly Live[]) => values.map(({ name, dims }) => edge(name, dims));
    return {
      bytes: modelOf(this.#nodes, edges(inputs), edges(outputs), this.#constants),
      inputs: Object.fromEntries(inputs.map(({ name, dims }) => [name, dims])),
      outputs: outputs.map(({ name }) => name),
      lines: this.#lines,
    };
  }
}

/** Of `length` steps, on images and, now and then, on their pixels as tokens; each goes on from the last value or from one before it. */
export function randomNetwork(random: Random, length: number, size: Size = SMALL): RandomNetwork {
  const maker = new Maker(random, size);
  const extent = () => random.int(3, size.extent);
  const input = { name: 'x', dims: [random.int(1, 2), random.int(1, size.channels), extent(), extent()] };
  maker.live.push(input);
  for (let made = 0; made < length; ) {
    const x = random.chance(0.8) ? maker.live.at(-1)! : random.pick(maker.live);
    const isImage = x.dims.length === 4;
    const steps = isImage ? IMAGE_STEPS : x.dims.length === 3 ? TOKEN_STEPS : LINE_STEPS;
    const step = isImage && random.chance(0.08) ? random.pick([tokens, lines]) : random.pick(steps);
    const next = step(maker, x);
    if (next === undefined) continue;
    maker.live.push(next);
    made++;
  }
  return maker.network([input]);
}
