/** ModelProto and what is in it, from the bytes of a file. */
import type { BinaryReader } from '@bufbuild/protobuf/wire';
import { type Around, elementType, type ReadExternal, readEntry, readTensor } from './tensor-proto.ts';
import type {
  Attribute,
  ConstantArray,
  ElementType,
  Extent,
  Graph,
  GraphNode,
  Model,
  ValueInfo,
} from './types.ts';
import {
  corrupt,
  type Fields,
  message,
  oneInt,
  repeatedFloat,
  repeatedInt,
  unsupported,
  wholeMessage,
} from './wire.ts';

interface AttributeFields {
  name: string;
  type: number;
  f: number;
  i: number;
  s: string;
  t: ConstantArray | undefined;
  g: Graph | undefined;
  floats: number[];
  ints: number[];
  strings: string[];
  refused: string | undefined;
}

/** AttributeProto.AttributeType of what is run. */
const KINDS: Readonly<Record<number, Exclude<Attribute['kind'], 'refused'>>> = {
  ...{ 1: 'float', 2: 'int', 3: 'string', 4: 'tensor', 5: 'graph', 6: 'floats', 7: 'ints', 8: 'strings' },
};

const DECODER = new TextDecoder();

function text(bytes: Uint8Array): string {
  return DECODER.decode(bytes);
}

function attributeFields(around: Around): Fields<AttributeFields> {
  return {
    1: (a, reader) => {
      a.name = reader.string();
    },
    2: (a, reader) => {
      a.f = reader.float();
      a.type ||= 1;
    },
    3: (a, reader) => {
      a.i = oneInt(reader);
      a.type ||= 2;
    },
    4: (a, reader) => {
      a.s = text(reader.bytes());
      a.type ||= 3;
    },
    5: (a, reader) => {
      const end = reader.pos;
      try {
        a.t = readTensor(reader, around).array;
      } catch (error) {
        // named where the node is refused, with everything else that is
        a.refused = error instanceof Error ? error.message : String(error);
        reader.pos = end;
        reader.bytes();
      }
      a.type ||= 4;
    },
    6: (a, reader) => {
      a.g = readGraph(reader, around);
      a.type ||= 5;
    },
    7: (a, reader, wire) => {
      repeatedFloat(reader, wire, a.floats, 4);
      a.type ||= 6;
    },
    8: (a, reader, wire) => {
      a.ints.push(...repeatedInt(reader, wire));
      a.type ||= 7;
    },
    9: (a, reader) => {
      a.strings.push(text(reader.bytes()));
      a.type ||= 8;
    },
    20: (a, reader) => {
      a.type = reader.int32();
    },
  };
}

function attributeOf(a: AttributeFields): Attribute {
  if (a.refused !== undefined) return { kind: 'refused', reason: a.refused };
  const kind = KINDS[a.type];
  switch (kind) {
    case 'float':
      return { kind, value: a.f };
    case 'int':
      return { kind, value: a.i };
    case 'string':
      return { kind, value: a.s };
    case 'floats':
      return { kind, value: a.floats };
    case 'ints':
      return { kind, value: a.ints };
    case 'strings':
      return { kind, value: a.strings };
    case 'tensor':
      if (a.t) return { kind, value: a.t };
      break;
    case 'graph':
      if (a.g) return { kind, value: a.g };
      break;
    default:
  }
  return { kind: 'refused', reason: `attribute ${a.name} is of type ${a.type}` };
}

function noAttribute(): AttributeFields {
  return {
    name: '',
    type: 0,
    f: 0,
    i: 0,
    s: '',
    t: undefined,
    g: undefined,
    floats: [],
    ints: [],
    strings: [],
    refused: undefined,
  };
}

interface NodeFields {
  inputs: string[];
  outputs: string[];
  name: string;
  op: string;
  domain: string;
  attributes: Map<string, Attribute>;
}

function nodeFields(around: Around): Fields<NodeFields> {
  const fields = attributeFields(around);
  return {
    1: (node, reader) => {
      node.inputs.push(reader.string());
    },
    2: (node, reader) => {
      node.outputs.push(reader.string());
    },
    3: (node, reader) => {
      node.name = reader.string();
    },
    4: (node, reader) => {
      node.op = reader.string();
    },
    5: (node, reader) => {
      const a = message(reader, noAttribute(), fields);
      node.attributes.set(a.name, attributeOf(a));
    },
    7: (node, reader) => {
      node.domain = reader.string();
    },
  };
}

interface TypeFields {
  type: ElementType | undefined;
  shape: Extent[] | undefined;
  other: string | undefined;
}

const DIMENSION: Fields<{ extent: Extent }> = {
  1: (dimension, reader) => {
    dimension.extent = oneInt(reader);
  },
  2: (dimension, reader) => {
    dimension.extent = reader.string();
  },
};

const SHAPE: Fields<Extent[]> = {
  1: (shape, reader) => {
    shape.push(message(reader, { extent: '' as Extent }, DIMENSION).extent);
  },
};

function typeFields(name: string): Fields<TypeFields> {
  const tensor: Fields<TypeFields> = {
    1: (type, reader) => {
      type.type = elementType(reader.int32(), name);
    },
    2: (type, reader) => {
      type.shape = message(reader, [], SHAPE);
    },
  };
  const other = (what: string) => (type: TypeFields, reader: BinaryReader) => {
    reader.bytes();
    type.other = what;
  };
  return {
    1: (type, reader) => {
      message(reader, type, tensor);
    },
    4: other('a sequence'),
    5: other('a map'),
    8: other('a sparse tensor'),
    9: other('an optional'),
  };
}

function readValueInfo(reader: BinaryReader): ValueInfo {
  const info = { name: '', type: undefined as TypeFields | undefined };
  message(reader, info, {
    1: (into, inner) => {
      into.name = inner.string();
    },
    2: (into, inner) => {
      into.type = message(
        inner,
        { type: undefined, shape: undefined, other: undefined },
        typeFields(into.name),
      );
    },
  });
  const { name, type } = info;
  if (type?.other) throw unsupported(`${name} is ${type.other}`, { name }, 'Only tensors go in and out.');
  return { name, type: type?.type ?? 'float32', shape: type?.shape };
}

interface GraphFields {
  name: string;
  nodes: GraphNode[];
  constants: Map<string, ConstantArray>;
  inputs: ValueInfo[];
  outputs: ValueInfo[];
}

function graphFields(around: Around): Fields<GraphFields> {
  const fields = nodeFields(around);
  return {
    1: (graph, reader) => {
      const node: NodeFields = {
        inputs: [],
        outputs: [],
        name: '',
        op: '',
        domain: '',
        attributes: new Map(),
      };
      graph.nodes.push(message(reader, node, fields));
    },
    2: (graph, reader) => {
      graph.name = reader.string();
    },
    5: (graph, reader) => {
      const { name, array } = readTensor(reader, around);
      graph.constants.set(name, array);
    },
    11: (graph, reader) => {
      graph.inputs.push(readValueInfo(reader));
    },
    12: (graph, reader) => {
      graph.outputs.push(readValueInfo(reader));
    },
    15: () => {
      throw unsupported('the model has sparse constants', {}, 'Store them densely.');
    },
  };
}

function readGraph(reader: BinaryReader, around: Around): Graph {
  const graph: GraphFields = { name: '', nodes: [], constants: new Map(), inputs: [], outputs: [] };
  message(reader, graph, graphFields(around));
  // older models list constants among their inputs as well
  return { ...graph, inputs: graph.inputs.filter(({ name }) => !graph.constants.has(name)) };
}

interface ModelFields {
  irVersion: number;
  producer: string;
  graph: Graph | undefined;
  opsets: Map<string, number>;
  metadata: Record<string, string>;
  functions: number;
}

const OPSET: Fields<{ domain: string; version: number }> = {
  1: (opset, reader) => {
    opset.domain = reader.string();
  },
  2: (opset, reader) => {
    opset.version = oneInt(reader);
  },
};

/** @throws `E_MODEL` for what is no model, or one of types that are not run. */
export function readModel(
  bytes: Uint8Array,
  external: ReadExternal,
  more: Pick<Around, 'again'> & { readonly ownsBytes?: boolean } = {},
): Model {
  const around = { external, ownsBytes: false, ...more };
  const model: ModelFields = {
    ...{ irVersion: 0, producer: '', graph: undefined, opsets: new Map<string, number>() },
    ...{ metadata: {}, functions: 0 },
  };
  wholeMessage(bytes, model, {
    1: (into, reader) => {
      into.irVersion = oneInt(reader);
    },
    2: (into, reader) => {
      into.producer = reader.string();
    },
    7: (into, reader) => {
      into.graph = readGraph(reader, around);
    },
    8: (into, reader) => {
      const { domain, version } = message(reader, { domain: '', version: 0 }, OPSET);
      into.opsets.set(domain === 'ai.onnx' ? '' : domain, version);
    },
    14: (into, reader) => {
      const { key, value } = readEntry(reader);
      into.metadata[key] = value;
    },
    25: (into, reader) => {
      reader.bytes();
      into.functions++;
    },
  });
  const { graph, functions, ...rest } = model;
  if (!graph) throw corrupt('there is no graph', { bytes: bytes.length });
  if (functions > 0)
    throw unsupported('the model defines functions of its own', { functions }, 'Inline them when exporting.');
  return { ...rest, graph };
}
