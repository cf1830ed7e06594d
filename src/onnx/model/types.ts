/** An ONNX model as plain data: what of onnx.proto3 a runtime needs (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3). */

/** Element types that are run; what is computed in floats is computed in 32 bits, whatever it is stored in. */
export type ElementType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint64'
  | 'uint32'
  | 'uint16'
  | 'uint8'
  | 'bool';

/** Numbers of an array; 64-bit integers as the nearest number, truth as 0 and 1. */
export type Numbers = Float32Array | Float64Array | Int32Array | Int8Array | Uint8Array;

export interface ConstantArray {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: Numbers;
}

export type Attribute =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'tensor'; readonly value: ConstantArray }
  | { readonly kind: 'graph'; readonly value: Graph }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  /** Of a type that is not run; the reason names it. */
  | { readonly kind: 'refused'; readonly reason: string };

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  /** Empty for the standard's own operators. */
  readonly domain: string;
  /** Names of values; empty where an optional one is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
}

/** An extent that is a number, or a name for one that is known only when the model runs. */
export type Extent = number | string;

export interface ValueInfo {
  readonly name: string;
  readonly type: ElementType;
  /** Undefined where not even the rank is known. */
  readonly shape: readonly Extent[] | undefined;
}

export interface Graph {
  readonly name: string;
  readonly nodes: readonly GraphNode[];
  readonly constants: ReadonlyMap<string, ConstantArray>;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

export interface Model {
  readonly producer: string;
  readonly irVersion: number;
  /** Versions by domain; the standard's own is ''. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly graph: Graph;
}
