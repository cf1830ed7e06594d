/**
 * Attention (Vaswani et al., "Attention is all you need", 2017; https://onnx.ai/onnx/operators/onnx__Attention.html) and positions by
 * turning (Su et al., "RoFormer", 2021; https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html).
 */
import type { Shape } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import type { MatmulOptions } from '../../ops/types.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { binary, castTo, unary } from './elementwise.ts';
import { OWN } from './fused.ts';
import { matmul } from './matrix.ts';
import { type Operators, operator } from './types.ts';
import { assemble, read, regrouped, take } from './views.ts';

/** Of nodes that only the optimiser makes: whether keys come as [..., depth, keys], not [..., keys, depth]. */
export const KEYS_TURNED = `${OWN}.keysTurned`;

/** Added to what does not take part: nothing is left of it, and a line of nothing else is no NaN. */
const APART = -1e30;

/** [batch, places, heads * depth] as [batch, heads, places, depth]; what has four extents is that already. */
function byHeads(context: Context, x: Value, attribute: string): Value {
  if (x.rank === 4) return x;
  const heads = context.int(attribute, 0);
  const [batch, places, wide] = x.shape as [number, number, number];
  if (x.rank !== 3 || heads < 1 || wide % heads !== 0)
    throw context.refuse(`[${x.shape}] by ${attribute} ${heads}`, { shape: x.shape, heads });
  const depth = wide / heads;
  return regrouped(context, x, [batch, places, heads, depth], [0, 2, 1, 3], [batch, heads, places, depth]);
}

/** What was kept of earlier calls, and behind it what is new. */
function behind(context: Context, past: Value | undefined, x: Value): Value {
  if (!past) return x;
  const [batch, heads, length, depth] = x.shape as [number, number, number, number];
  const [b, h, before, d] = past.shape as [number, number, number, number];
  if (b !== batch || h !== heads || d !== depth)
    throw context.refuse(`[${past.shape}] does not go before [${x.shape}]`);
  return assemble(context, [batch, heads, before + length, depth], undefined, [
    { value: past, at: [0, 0, 0, 0] },
    { value: x, at: [0, 0, before, 0] },
  ]);
}

/** A mask as what is added: of booleans nothing where one is true. Keys that it does not reach take no part. */
function summand(context: Context, mask: Value, keys: number): Value {
  const taken = mask.type === 'bool' ? castTo(context, mask, 'float32') : mask;
  const added =
    taken === mask
      ? mask
      : binary(context, 'mul', binary(context, 'sub', taken, context.number(1)), context.number(-APART));
  const reached = mask.shape.at(-1) ?? keys;
  if (reached >= keys) return added;
  const at = mask.shape.map(() => 0);
  return assemble(context, [...mask.shape.slice(0, -1), keys], APART, [{ value: added, at }]);
}

/** Each place sees those before it and itself: of `before` places more, one number for each of a batch or one for all. */
function causal(
  context: Context,
  rows: number,
  keys: number,
  before: readonly number[],
  from: Value[],
): Value {
  const numbers = Float32Array.from({ length: before.length * rows * keys }, (_, at) => {
    const row = Math.floor(at / keys);
    return at % keys <= (row % rows) + before[Math.floor(row / rows)]! ? 0 : APART;
  });
  return context.made('float32', [before.length, 1, rows, keys], numbers, from);
}

/** Keys beyond the lengths of a batch take no part. */
function padding(context: Context, lengths: Value, keys: number): Value {
  const list = context.ints(lengths);
  const numbers = Float32Array.from({ length: list.length * keys }, (_, at) =>
    at % keys < list[Math.floor(at / keys)]! ? 0 : APART,
  );
  return context.made('float32', [list.length, 1, 1, keys], numbers, [lengths]);
}

/** The last of the rows is the last place that is there. */
function causalOf(context: Context, rows: number, keys: number, past?: Value, lengths?: Value): Value {
  if (past || !lengths) return causal(context, rows, keys, [past?.shape[2] ?? 0], []);
  const before = context.ints(lengths).map((length) => length - rows);
  return causal(context, rows, keys, before, [lengths]);
}

interface Asked {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly summands: readonly Value[];
  readonly scale: number;
  readonly softcap: number;
}

/** A summand that is one number for each key and nothing else goes into the product's own pass, as its bias. */
function biasOf(context: Context, added: Value, keys: number, rank: number): MatmulOptions['bias'] {
  const isRow = added.size === keys && added.shape.at(-1) === keys && added.rank <= rank;
  return isRow ? context.tensor(context.reshaped(added, [keys])) : undefined;
}

/** The result, and the scores at each stage: products, capped, with what is added, and as shares. */
function attend(context: Context, { q, k, v, summands, scale, softcap }: Asked) {
  const [batch, heads, rows, depth] = q.shape as [number, number, number, number];
  const [, groups, keys] = k.shape as [number, number, number];
  if (heads % groups !== 0) throw context.refuse(`${heads} heads for ${groups} of keys`, { heads, groups });
  // heads that share their keys lie behind one another: one product does them all
  const isShared = heads !== groups;
  const together: Shape = [batch, groups, (heads / groups) * rows];
  const left = isShared ? context.reshaped(q, [...together, depth]) : q;
  const isWatched = (context.node.outputs[3] ?? '') !== '';
  /** What is read no more makes room, unless the scores were asked for. */
  const next = (old: Value, made: Value) => {
    if (made !== old && !isWatched) old.dispose();
    return made;
  };
  const product = context.rt.matmulSync(context.tensor(left), context.tensor(k), {
    transposeB: true,
    alpha: scale,
  });
  const scores = isShared ? renamed(context, product, [batch, heads, rows, keys]) : context.result(product);
  // capped first, or what takes no part would be let in again
  const capped = softcap === 0 ? scores : next(scores, cappedBy(context, scores, softcap));
  const masked = summands.reduce((sum, one) => next(sum, binary(context, 'add', sum, one)), capped);
  const softmax = context.rt.softmaxSync(context.tensor(masked), { axis: 3 });
  const shares = next(masked, context.result(softmax));
  const lines = isShared ? context.reshaped(shares, [...together, keys]) : shares;
  const sums = context.rt.matmulSync(context.tensor(lines), context.tensor(v));
  if (isShared) lines.dispose();
  const y = isShared ? renamed(context, sums, [batch, heads, rows, v.shape[3]!]) : context.result(sums);
  return { y: next(shares, y), stages: [scores, capped, masked, shares] };
}

/** A result under other extents alone. */
function renamed(context: Context, tensor: unknown, shape: Shape): Value {
  const made = context.result(tensor);
  const result = context.reshaped(made, shape);
  made.dispose();
  return result;
}

/** softcap tanh(x / softcap). */
function cappedBy(context: Context, x: Value, softcap: number): Value {
  const inner = unary(context, 'tanh', binary(context, 'mul', x, context.number(1 / softcap)));
  return binary(context, 'mul', inner, context.number(softcap));
}

/** What the optimiser found in its parts: operands of any extents that went together before. */
function recognised(context: Context, q: Value, k: Value, v: Value, mask?: Value): Value {
  const isTurned = context.int(KEYS_TURNED, 0) === 1;
  const bias = mask && biasOf(context, mask, k.shape.at(isTurned ? -1 : -2)!, q.rank);
  const options = { transposeB: !isTurned, alpha: context.float('scale', 1), ...(bias && { bias }) };
  const scores = context.result(context.rt.matmulSync(context.tensor(q), context.tensor(k), options));
  const masked = !mask || bias ? scores : binary(context, 'add', scores, mask);
  if (masked !== scores) scores.dispose();
  const softmax = context.rt.softmaxSync(context.tensor(masked), { axis: masked.rank - 1 });
  const shares = context.result(softmax);
  masked.dispose();
  const y = matmul(context, shares, v);
  shares.dispose();
  return y;
}

function attention(
  context: Context,
  q: Value,
  k: Value,
  v: Value,
  mask?: Value,
  pastKey?: Value,
  pastValue?: Value,
  lengths?: Value,
): readonly Value[] {
  if (context.node.attributes.has(KEYS_TURNED)) return [recognised(context, q, k, v, mask)];
  const queries = byHeads(context, q, 'q_num_heads');
  const keys = behind(context, pastKey, byHeads(context, k, 'kv_num_heads'));
  const values = behind(context, pastValue, byHeads(context, v, 'kv_num_heads'));
  if ([queries, keys, values].some(({ rank }) => rank !== 4))
    throw context.refuse(`attention of [${q.shape}], [${k.shape}] and [${v.shape}]`);
  const [batch, heads, rows, depth] = queries.shape as [number, number, number, number];
  const count = keys.shape[2]!;
  const isCausal = context.int('is_causal', 0) === 1;
  const { y, stages } = attend(context, {
    q: queries,
    k: keys,
    v: values,
    summands: [
      ...(mask ? [summand(context, mask, count)] : []),
      ...(isCausal ? [causalOf(context, rows, count, pastKey, lengths)] : []),
      ...(lengths ? [padding(context, lengths, count)] : []),
    ],
    scale: context.float('scale', 1 / Math.sqrt(depth)),
    softcap: context.float('softcap', 0),
  });
  const mode = context.int('qk_matmul_output_mode', 0);
  const stage = stages[mode];
  if (!stage) throw context.refuse(`qk_matmul_output_mode ${mode}`, { mode });
  const wide = values.shape[3]!;
  const result =
    q.rank === 4
      ? y
      : regrouped(context, y, [batch, heads, rows, wide], [0, 2, 1, 3], [batch, rows, heads * wide]);
  return [result, keys, values, ...((context.node.outputs[3] ?? '') === '' ? [] : [stage])];
}

/** A half of what is turned, as [..., half]: neighbours by turns, or the first and the second half. */
function halfOf(context: Context, x: Value, at: 0 | 1, half: number, isInterleaved: boolean): Value {
  const strides = [...denseStrides(x.shape)];
  if (isInterleaved) strides[3]! *= 2;
  return read(context, x, {
    shape: [...x.shape.slice(0, 3), half],
    strides,
    first: at * (isInterleaved ? 1 : half),
  });
}

/** Angles of each place: [batch, places, half], or picked from a table by the places' numbers. */
function anglesOf(context: Context, table: Value, positions: Value | undefined): Value {
  if (!positions) return table;
  return take(context, table, 0, context.ints(positions), [...positions.shape, table.shape[1]!]);
}

function rotary(context: Context, x: Value, cos: Value, sin: Value, positions?: Value): Value {
  const isInterleaved = context.int('interleaved', 0) === 1;
  const heads = context.int('num_heads', 0);
  const [batch, places, wide] = x.shape as [number, number, number];
  if (x.rank === 3 && (heads < 1 || wide % heads !== 0))
    throw context.refuse(`[${x.shape}] by num_heads ${heads}`, { shape: x.shape, heads });
  // three extents: heads lie within a place, not around all of them
  const four = x.rank === 4 ? x : context.reshaped(x, [batch, places, heads, wide / heads]);
  const depth = four.shape[3]!;
  const turned = context.int('rotary_embedding_dim', 0) || depth;
  const half = turned / 2;
  if (x.rank > 4 || turned > depth || turned % 2 !== 0)
    throw context.refuse(`turning ${turned} of [${x.shape}]`, { shape: x.shape, turned });
  const [c, s] = [cos, sin].map((table) => {
    const angles = anglesOf(context, table, positions);
    const [b, p] = angles.shape as [number, number];
    return context.reshaped(angles, x.rank === 4 ? [b, 1, p, half] : [b, p, 1, half]);
  }) as [Value, Value];
  const [a, b] = ([0, 1] as const).map((at) => halfOf(context, four, at, half, isInterleaved)) as [
    Value,
    Value,
  ];
  const product = (left: Value, right: Value) => binary(context, 'mul', left, right);
  const first = binary(context, 'sub', product(c, a), product(s, b));
  const second = binary(context, 'add', product(s, a), product(c, b));
  const outer = four.shape.slice(0, 3);
  const pair = isInterleaved ? [...outer, half, 1] : [...outer, 1, half];
  const parts = [first, second].map((value) => context.reshaped(value, pair));
  const both = assemble(context, isInterleaved ? [...outer, half, 2] : [...outer, 2, half], undefined, [
    { value: parts[0]!, at: [0, 0, 0, 0, 0] },
    { value: parts[1]!, at: isInterleaved ? [0, 0, 0, 0, 1] : [0, 0, 0, 1, 0] },
  ]);
  const done = context.reshaped(both, [...outer, turned]);
  if (turned === depth) return context.reshaped(done, x.shape);
  const rest = read(context, four, {
    shape: [...outer, depth - turned],
    strides: denseStrides(four.shape),
    first: turned,
  });
  const whole = assemble(context, four.shape, undefined, [
    { value: done, at: [0, 0, 0, 0] },
    { value: rest, at: [0, 0, 0, turned] },
  ]);
  return context.reshaped(whole, x.shape);
}

export const ATTENTION: Operators = {
  Attention: operator(23, 3, attention),
  RotaryEmbedding: operator(23, 3, rotary),
};
