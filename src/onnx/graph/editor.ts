/** A graph that is being rewritten: who makes a value, who reads it, and what is constant. */
import { sizeOf } from '../../core/shape.ts';
import type { Attribute, ConstantArray, Graph, GraphNode } from '../model/types.ts';
import { readBy } from './check.ts';

export class Editor {
  readonly #graph: Graph;
  readonly #constants: Map<string, ConstantArray>;
  #nodes: GraphNode[];
  #makers = new Map<string, GraphNode>();
  #readers = new Map<string, GraphNode[]>();
  readonly #outputs: ReadonlySet<string>;
  #made = 0;
  readonly #inside = new WeakMap<GraphNode, readonly string[]>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#nodes = [...graph.nodes];
    this.#constants = new Map(graph.constants);
    this.#outputs = new Set(graph.outputs.map(({ name }) => name));
    this.#index();
  }

  get nodes(): readonly GraphNode[] {
    return this.#nodes;
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

  /** Puts one node in the place of another and takes others away. */
  replace(node: GraphNode, by: GraphNode, ...gone: readonly GraphNode[]): void {
    this.#nodes = this.#nodes.map((one) => (one === node ? by : one)).filter((one) => !gone.includes(one));
    this.#index();
  }

  /** Takes a node away; whoever read what it made reads `by`. False where its result goes out of the graph. */
  bypass(node: GraphNode, by: string): boolean {
    const [name] = node.outputs;
    if (this.isOutput(name!)) return false;
    const renamed = (one: GraphNode): GraphNode =>
      one.inputs.includes(name!)
        ? { ...one, inputs: one.inputs.map((input) => (input === name ? by : input)) }
        : one;
    if (
      this.readers(name!).some((reader) =>
        [...reader.attributes.values()].some(({ kind }) => kind === 'graph'),
      )
    )
      return false;
    this.#nodes = this.#nodes.filter((one) => one !== node).map(renamed);
    this.#index();
    return true;
  }

  /** Takes nodes away whose results nobody reads. */
  prune(): void {
    const isRead = (name: string) => name !== '' && (this.isOutput(name) || this.readers(name).length > 0);
    for (;;) {
      const kept = this.#nodes.filter(({ outputs }) => outputs.some(isRead));
      if (kept.length === this.#nodes.length) return;
      this.#nodes = kept;
      this.#index();
    }
  }

  /** Without constants that nobody reads. */
  graph(): Graph {
    const isRead = (name: string) => this.readers(name).length > 0 || this.isOutput(name);
    const constants = new Map([...this.#constants].filter(([name]) => isRead(name)));
    return { ...this.#graph, nodes: this.#nodes, constants };
  }

  #index(): void {
    this.#makers = new Map();
    this.#readers = new Map();
    for (const node of this.#nodes) {
      for (const name of node.outputs) if (name !== '') this.#makers.set(name, node);
      for (const name of node.inputs) if (name !== '') this.#addReader(name, node);
      for (const name of this.#readInside(node)) this.#addReader(name, node);
    }
  }

  /** Names that only graphs inside of a node read. */
  #readInside(node: GraphNode): readonly string[] {
    const known = this.#inside.get(node);
    if (known) return known;
    const own = new Set(node.inputs);
    const names = [...readBy(node)].filter((name) => !own.has(name));
    this.#inside.set(node, names);
    return names;
  }

  #addReader(name: string, node: GraphNode): void {
    const list = this.#readers.get(name);
    if (list) list.push(node);
    else this.#readers.set(name, [node]);
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
