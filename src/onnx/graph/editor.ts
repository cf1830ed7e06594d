/** A graph that is being rewritten: who makes a value, who reads it, and what is constant. */
import { sizeOf } from '../../core/shape.ts';
import type { Attribute, ConstantArray, Graph, GraphNode } from '../model/types.ts';
import { hasGraph, readBy } from './check.ts';

/** What a rewrite touches is indexed anew, and nothing else: models have thousands of nodes, and hundreds of rewrites. */
export class Editor {
  readonly #graph: Graph;
  readonly #constants: Map<string, ConstantArray>;
  /** In order; a node that is taken away leaves its place empty. */
  readonly #line: (GraphNode | undefined)[] = [];
  readonly #places = new Map<GraphNode, number>();
  readonly #makers = new Map<string, GraphNode>();
  /** In order of their places, as often as they read it. */
  readonly #readers = new Map<string, GraphNode[]>();
  readonly #outputs: ReadonlySet<string>;
  #made = 0;
  readonly #inside = new WeakMap<GraphNode, readonly string[]>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#constants = new Map(graph.constants);
    this.#outputs = new Set(graph.outputs.map(({ name }) => name));
    for (const [place, node] of graph.nodes.entries()) this.#put(place, node);
  }

  /** As they are now: a rewrite does not change a list that was asked for before it. */
  get nodes(): readonly GraphNode[] {
    return this.#line.filter((node) => node !== undefined);
  }

  has(node: GraphNode): boolean {
    return this.#makers.get(node.outputs.find((name) => name !== '') ?? '') === node;
  }

  constant(name: string | undefined): ConstantArray | undefined {
    return name === undefined ? undefined : this.#constants.get(name);
  }

  /** The one number of a constant with one element. */
  scalar(name: string | undefined): number | undefined {
    const array = this.constant(name);
    return array && sizeOf(array.shape) === 1 ? array.data[0] : undefined;
  }

  addConstant(array: ConstantArray): string {
    const name = `tesserae/${this.#made++}`;
    this.#constants.set(name, array);
    return name;
  }

  maker(name: string | undefined): GraphNode | undefined {
    return name === undefined ? undefined : this.#makers.get(name);
  }

  /** The node that makes a value, if it is of this kind and nobody else reads what it makes. */
  only(name: string | undefined, ...ops: readonly string[]): GraphNode | undefined {
    const node = this.maker(name);
    return node && ops.includes(node.op) && this.isReadOnce(node) ? node : undefined;
  }

  readers(name: string): readonly GraphNode[] {
    return this.#readers.get(name) ?? [];
  }

  isOutput(name: string): boolean {
    return this.#outputs.has(name);
  }

  /** Whether a node's first result is read once, and its others not at all. */
  isReadOnce({ outputs }: GraphNode): boolean {
    const [first, ...rest] = outputs;
    return (
      !this.isOutput(first!) &&
      this.readers(first!).length === 1 &&
      rest.every((name) => name === '' || (this.readers(name).length === 0 && !this.isOutput(name)))
    );
  }

  /** Where the node that makes a value stands among all; -1 for what no node makes. */
  placeOf(name: string): number {
    const node = this.#makers.get(name);
    return node ? this.#places.get(node)! : -1;
  }

  /** Puts one node in the place of another and takes others away. */
  replace(node: GraphNode, by: GraphNode, ...gone: readonly GraphNode[]): void {
    for (const one of gone) this.#take(one);
    const place = this.#take(node);
    if (place !== undefined) this.#put(place, by);
  }

  /** Takes a node away; whoever read what it made reads `by`. False where its result goes out of the graph. */
  bypass(node: GraphNode, by: string): boolean {
    const [name] = node.outputs;
    if (this.isOutput(name!)) return false;
    const readers = new Set(this.readers(name!));
    if ([...readers].some(hasGraph)) return false;
    this.#take(node);
    for (const one of readers)
      this.replace(one, { ...one, inputs: one.inputs.map((input) => (input === name ? by : input)) });
    return true;
  }

  /** Takes nodes away whose results nobody reads, the last ones first: then nobody reads what they read. */
  prune(): void {
    const isRead = (name: string) => name !== '' && (this.isOutput(name) || this.readers(name).length > 0);
    for (const node of this.nodes.toReversed()) if (!node.outputs.some(isRead)) this.#take(node);
  }

  /** Without constants that nobody reads. */
  graph(): Graph {
    const isRead = (name: string) => this.readers(name).length > 0 || this.isOutput(name);
    const constants = new Map([...this.#constants].filter(([name]) => isRead(name)));
    return { ...this.#graph, nodes: this.nodes, constants };
  }

  #put(place: number, node: GraphNode): void {
    this.#line[place] = node;
    this.#places.set(node, place);
    for (const name of node.outputs) if (name !== '') this.#makers.set(name, node);
    for (const name of this.#readIn(node)) this.#addReader(name, node, place);
  }

  /** Its place, or undefined where it was not there. */
  #take(node: GraphNode): number | undefined {
    const place = this.#places.get(node);
    if (place === undefined) return undefined;
    this.#line[place] = undefined;
    this.#places.delete(node);
    for (const name of node.outputs) this.#makers.delete(name);
    for (const name of this.#readIn(node)) {
      const list = this.#readers.get(name)!;
      list.splice(list.indexOf(node), 1);
    }
    return place;
  }

  /** Names that a node reads, as often as it does. */
  #readIn(node: GraphNode): readonly string[] {
    const names = node.inputs.filter((name) => name !== '');
    return hasGraph(node) ? [...names, ...this.#readInside(node)] : names;
  }

  /** Names that only graphs inside of a node read. */
  #readInside(node: GraphNode): readonly string[] {
    const known = this.#inside.get(node);
    if (known) return known;
    const own = new Set(node.inputs);
    const names = readBy(node).filter((name) => !own.has(name));
    this.#inside.set(node, names);
    return names;
  }

  #addReader(name: string, node: GraphNode, place: number): void {
    const list = this.#readers.get(name);
    if (!list) {
      this.#readers.set(name, [node]);
      return;
    }
    let at = list.length;
    while (at > 0 && this.#places.get(list[at - 1]!)! > place) at--;
    list.splice(at, 0, node);
  }
}

export function withAttributes(node: GraphNode, more: Readonly<Record<string, Attribute>>): GraphNode {
  return { ...node, attributes: new Map([...node.attributes, ...Object.entries(more)]) };
}

export function floatOf(node: GraphNode, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'float' ? attribute.value : fallback;
}

export function intOf(node: GraphNode, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'int' ? attribute.value : fallback;
}

export function intsOf(node: GraphNode, name: string): readonly number[] | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'ints' ? attribute.value : undefined;
}
