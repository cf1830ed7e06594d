/** What a model is made of, without running it. */
import { sizeOf } from '../core/shape.ts';
import { type Gap, gapsOf, inOrder } from './graph/check.ts';
import { optimise } from './graph/optimise.ts';
import { inferShapes, outputsOf, withNames } from './graph/shapes/infer.ts';
import { hoistConstants } from './graph/tidy.ts';
import { loadModel } from './load.ts';
import type { Extent, Graph, Model, ValueInfo } from './model/types.ts';
import { ACTIVATION } from './operators/fused.ts';

export interface ModelReport {
  readonly producer: string;
  readonly opset: number;
  readonly inputs: readonly ValueInfo[];
  /** With shapes that follow from the inputs', in their names: `[N, 1, H, floor((W + 7) / 8)]`. */
  readonly outputs: readonly ValueInfo[];
  /** Shapes of what nodes make, as far as they follow from the inputs'. */
  readonly shapes: Readonly<Record<string, readonly Extent[]>>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Numbers in constants. */
  readonly parameters: number;
  /** Nodes by operator, as they are in the file. */
  readonly operators: Readonly<Record<string, number>>;
  /** The same after what can be joined was joined; with activations that went into a node behind its name. */
  readonly optimised: Readonly<Record<string, number>>;
  readonly gaps: readonly Gap[];
}

function countsOf(graph: Graph): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { op, attributes, inputs } of graph.nodes) {
    const activation = attributes.get(ACTIVATION);
    const joined = [
      op === 'Conv' && inputs[4] ? 'Mul' : '',
      op,
      op === 'Conv' && inputs[3] ? 'Add' : '',
      activation?.kind === 'string' ? activation.value : '',
    ];
    const name = joined.filter(Boolean).join(' + ');
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).sort((a, b) => b[1] - a[1]));
}

/**
 * Reads a model and says what is in it, what is joined before it runs, and what of it is not run.
 * @throws `E_MODEL` for what is no model.
 */
export async function inspectModel(source: string | URL | Uint8Array | ArrayBuffer): Promise<ModelReport> {
  const { model, release } = await loadModel(source);
  try {
    return reportOf(model);
  } finally {
    release();
  }
}

function reportOf(model: Model): ModelReport {
  const { graph, producer, metadata } = model;
  const gaps = gapsOf(model);
  const plain = hoistConstants({ ...graph, nodes: inOrder(graph) });
  const constants = [...plain.constants.values()];
  const opset = model.opsets.get('') ?? 1;
  const values = inferShapes(plain, opset);
  const made = plain.nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ''));
  return {
    ...{ producer, opset, metadata, gaps },
    inputs: graph.inputs.map(withNames),
    outputs: outputsOf(plain, opset),
    shapes: Object.fromEntries(made.flatMap((name) => (values.has(name) ? [[name, values.get(name)!]] : []))),
    parameters: constants.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    operators: countsOf(plain),
    optimised: gaps.length > 0 ? {} : countsOf(optimise(plain, opset)),
  };
}
