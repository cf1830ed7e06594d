/** The part of TensorFlow.js's API that is used here. */

export interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}

export type FusedActivation = 'linear' | 'relu' | 'relu6' | 'leakyrelu' | 'sigmoid';

interface Fused {
  readonly bias: TfTensor | undefined;
  readonly activation: FusedActivation;
}

interface FusedMatmul extends Fused {
  readonly a: TfTensor;
  readonly b: TfTensor;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Sides of [batch, rows, columns, channels]. */
export type TfPadding = readonly (readonly [before: number, after: number])[];

export interface FusedConv extends Fused {
  /** [batch, height, width, channels]. */
  readonly x: TfTensor;
  /** [kH, kW, inC, outC]; for depthwise the last is the number of filters for each channel. */
  readonly filter: TfTensor;
  readonly strides: readonly [number, number];
  readonly pad: TfPadding | 'valid';
  readonly dataFormat: 'NHWC';
  readonly dilations: readonly [number, number];
  readonly leakyreluAlpha?: number;
}

export interface Tf {
  setBackend(name: string): Promise<boolean>;
  getBackend(): string;
  tensor(values: Float32Array, shape: readonly number[], dtype: 'float32'): TfTensor;
  scalar(value: number): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA: boolean, transposeB: boolean): TfTensor;
  tidy(work: () => TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor): TfTensor;
  add(a: TfTensor, b: TfTensor): TfTensor;
  relu6(x: TfTensor): TfTensor;
  sigmoid(x: TfTensor): TfTensor;
  tanh(x: TfTensor): TfTensor;
  clipByValue(x: TfTensor, min: number, max: number): TfTensor;
  readonly fused: {
    matMul(fused: FusedMatmul): TfTensor;
    conv2d(fused: FusedConv): TfTensor;
    depthwiseConv2d(fused: FusedConv): TfTensor;
  };
}
