/**
 * Reductions, softmax and norms as WGSL. Lines whose elements are side by side have a workgroup each, which halves its partial results
 * in workgroup memory (Harris, "Optimizing parallel reduction in CUDA", 2007), or gathers them by subgroups first, where a device has
 * them; lines across memory a thread each, neighbours side by side.
 */
import { isReduction, type LineKind, type LinesProblem } from '../../../problem/lines.ts';
import type { Binding } from './product.ts';
import { declared, MAIN, THREADS } from './walk.ts';

const LOWEST = '-3.4028234e38';

interface Gather {
  readonly start: string;
  /** Over `sum` and `v`. */
  readonly take: string;
  /** Over two partial results `p` and `q`. */
  readonly join: string;
  /** The same over the lanes of a subgroup. */
  readonly subgroup: string;
}

const SUM: Gather = { start: '0.0', take: 'sum + v', join: 'p + q', subgroup: 'subgroupAdd' };
const MOST: Gather = { start: LOWEST, take: 'max(sum, v)', join: 'max(p, q)', subgroup: 'subgroupMax' };

function gatherOf(kind: LineKind): Gather {
  switch (kind) {
    case 'max':
      return MOST;
    case 'min':
      return { start: `-(${LOWEST})`, take: 'min(sum, v)', join: 'min(p, q)', subgroup: 'subgroupMin' };
    case 'prod':
      return { start: '1.0', take: 'sum * v', join: 'p * q', subgroup: 'subgroupMul' };
    case 'sumSquare':
    case 'l2':
      return { ...SUM, take: 'fma(v, v, sum)' };
    case 'l1':
      return { ...SUM, take: 'sum + abs(v)' };
    default:
      return SUM;
  }
}

/** The gathered value to the reduction's. */
function finished(kind: LineKind, value: string): string {
  switch (kind) {
    case 'mean':
      return `${value} / f32(params.k)`;
    case 'l2':
      return `sqrt(${value})`;
    case 'logSum':
      return `log(${value})`;
    default:
      return value;
  }
}

function hasOperand(affine: LinesProblem['scale']): boolean {
  return affine !== 'none';
}

export function linesBindings(p: LinesProblem): Binding[] {
  return [
    'params',
    'a',
    ...(hasOperand(p.scale) ? (['b'] as const) : []),
    'c',
    ...(hasOperand(p.bias) ? (['bias'] as const) : []),
  ];
}

export function linesShaderKey(name: string, { kind, inner, scale, bias }: LinesProblem): string {
  return `${name} ${kind} ${inner === 1 ? 'rows' : 'columns'} scale=${scale} bias=${bias}`;
}

/** Who gathers a line: a thread, a workgroup by halves, or its subgroups and then each thread. */
type Gatherers = 'thread' | 'halves' | 'subgroups';

/** A pass over the line: `value` is said over `x`, an element; the result is the function's. */
function pass(name: string, gather: Gather, value: string, by: Gatherers): string {
  const loop = (from: string, step: string) => `var sum = ${gather.start};
  for (var i = ${from}; i < params.k; i += ${step}) { let x = a[base + i * params.lda]; let v = ${value}; sum = ${gather.take}; }`;
  if (by === 'thread')
    return `fn ${name}(base: u32, thread: u32, given: f32) -> f32 {
  ${loop('0u', '1u')}
  return sum;
}
`;
  return `fn ${name}(base: u32, thread: u32, given: f32) -> f32 {
  ${loop('thread', `${THREADS}u`)}
  workgroupBarrier();
  ${by === 'subgroups' ? ofSubgroups(gather) : ofHalves(gather)}
}
`;
}

function ofSubgroups({ start, join, subgroup }: Gather): string {
  return `let whole = ${subgroup}(sum);
  if (subgroupElect()) { shared_[part] = whole; }
  workgroupBarrier();
  var p = ${start};
  for (var i = 0u; i < partCount; i++) { let q = shared_[i]; p = ${join}; }
  return p;`;
}

function ofHalves({ join }: Gather): string {
  return `shared_[thread] = sum;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    if (thread < half) { let p = shared_[thread]; let q = shared_[thread + half]; shared_[thread] = ${join}; }
    workgroupBarrier();
  }
  return shared_[0];`;
}

const SUBGROUPS = `enable subgroups;
requires subgroup_id;
var<private> part: u32;
var<private> partCount: u32;
`;

const SUBGROUP_MAIN = `${MAIN.replace(/\)$/, ', @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32)')} {
  part = subgroup; partCount = subgroups;`;

/** The passes that a kind needs, then what is written: a value of the line, or one for each element \`x\` at place \`i\`. */
function partsOf(p: LinesProblem): { passes: [string, Gather, string][]; before: string; result: string } {
  const { kind } = p;
  const scale = { none: '1.0', place: 'b[i]', line: 'b[line % params.ldb]' }[p.scale];
  const shift = { none: '0.0', place: 'bias[i]', line: 'bias[line % params.ldb]' }[p.bias];
  switch (kind) {
    case 'softmax':
    case 'logSoftmax':
    case 'logSumExp': {
      const before = 'let most = first(base, thread, 0.0); let total = second(base, thread, most);';
      const passes: [string, Gather, string][] = [
        ['first', MOST, 'x'],
        ['second', SUM, 'exp(x - given)'],
      ];
      if (kind === 'logSumExp') return { passes, before, result: 'most + log(total)' };
      const result = kind === 'softmax' ? 'exp(x - most) / total' : 'x - most - log(total)';
      return { passes, before, result };
    }
    case 'norm':
      return {
        passes: [
          ['first', SUM, 'x'],
          ['second', SUM, '(x - given) * (x - given)'],
        ],
        before: `let mean = first(base, thread, 0.0) / f32(params.k);
  let factor = inverseSqrt(second(base, thread, mean) / f32(params.k) + params.alpha);`,
        result: `(x - mean) * factor * ${scale} + ${shift}`,
      };
    case 'rmsNorm':
      return {
        passes: [['first', SUM, 'x * x']],
        before: 'let factor = inverseSqrt(first(base, thread, 0.0) / f32(params.k) + params.alpha);',
        result: `x * factor * ${scale} + ${shift}`,
      };
    default:
      return {
        passes: [['first', gatherOf(kind), 'x']],
        before: 'let gathered = first(base, thread, 0.0);',
        result: finished(kind, 'gathered'),
      };
  }
}

/** `bySubgroups`: lines that lie side by side are gathered by subgroups. */
export function linesSource(p: LinesProblem, bySubgroups: boolean): string {
  const across = p.inner > 1;
  const by = across ? 'thread' : bySubgroups ? 'subgroups' : 'halves';
  const { passes, before, result } = partsOf(p);
  const functions = passes.map(([name, gather, value]) => pass(name, gather, value, by));
  const [from, step] = across ? ['0u', '1u'] : ['thread', `${THREADS}u`];
  const each = `for (var i = ${from}; i < params.k; i += ${step}) { let at = base + i * params.lda; let x = a[at]; c[at] = ${result}; }`;
  const value = `${across ? '' : 'if (thread == 0u) '}{ c[line] = ${result}; }`;
  const line = across
    ? `let line = (group.y * params.m + group.x) * ${THREADS}u + thread;
  if (line >= params.n) { return; }
  let base = (line / params.lda) * params.k * params.lda + line % params.lda;`
    : `let line = group.y * params.m + group.x;
  if (line >= params.n) { return; }
  let base = line * params.k;`;
  const shared = across ? '' : `var<workgroup> shared_: array<f32, ${THREADS}>;\n`;
  return `${by === 'subgroups' ? SUBGROUPS : ''}${declared(linesBindings(p))}${shared}${functions.join('')}
${by === 'subgroups' ? SUBGROUP_MAIN : `${MAIN} {`}
  ${line}
  ${before}
  ${isReduction(p.kind) ? value : each}
}
`;
}
