/** The pooling problem: the largest or the mean value under a window. */
import type { Layout } from './conv.ts';
import { type Window, windowKey } from './window.ts';

export type PoolKind = 'max' | 'average';

export interface PoolProblem extends Window {
  readonly op: 'pool';
  readonly dtype: 'f32';
  readonly kind: PoolKind;
  readonly layout: Layout;
  readonly batch: number;
  readonly channels: number;
  /** Whether padding counts in the mean's divisor (ONNX count_include_pad). Pixels beyond the padding never do. */
  readonly countPadding: boolean;
  readonly exact: boolean;
}

/** Canonical key: `pool max f32 nchw 1x64x112x112 3x3 s2 p1`. */
export function poolKey(p: PoolProblem): string {
  const counted = p.kind === 'average' && p.countPadding ? ' counted' : '';
  return `pool ${p.kind} ${p.dtype} ${p.layout} ${p.batch}x${p.channels}x${p.inH}x${p.inW} ${windowKey(p)}${counted}${p.exact ? ' exact' : ''}`;
}

/** One addition or comparison a tap. */
export function poolFlops(p: PoolProblem): number {
  return p.batch * p.channels * p.outH * p.outW * p.kH * p.kW;
}
