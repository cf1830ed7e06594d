/** Einsum: sums of products over named axes. Two operands at a time become one batched product of matrices. */
import { sizeOf } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { type Operators, operator } from './types.ts';
import { read } from './views.ts';

/** A value and the letters of its axes. */
interface Named {
  readonly value: Value;
  readonly axes: readonly string[];
}

/** Axes that `...` stands for have capital Greek letters, from the right. */
function lettersOf(term: string, rank: number, context: Context): string[] {
  const plain = term.replace(/\s/g, '');
  const named = plain.replace('...', '').length;
  const hidden = Array.from({ length: Math.max(0, rank - named) }, (_, i) =>
    String.fromCharCode(0x391 + (rank - named - 1 - i)),
  );
  const [before = '', after = ''] = plain.split('...');
  const letters = plain.includes('...') ? [...before, ...hidden, ...after] : [...plain];
  if (letters.length === rank) return letters;
  throw context.refuse(`"${term}" names ${letters.length} axes of ${rank}`);
}

/** Axes in an order, each once; one that comes twice is walked along the diagonal. */
function ordered(context: Context, { value, axes }: Named, order: readonly string[]): Named {
  const own = denseStrides(value.shape);
  const strides = order.map((letter) =>
    axes.reduce((sum, axis, i) => (axis === letter ? sum + own[i]! : sum), 0),
  );
  const shape = order.map((letter) => value.shape[axes.indexOf(letter)]!);
  return { value: read(context, value, { shape, strides, first: 0 }), axes: order };
}

/** Sums over the axes that are not kept. */
function summed(context: Context, named: Named, kept: ReadonlySet<string>): Named {
  const unique = [...new Set(named.axes)];
  const order = [...unique.filter((axis) => kept.has(axis)), ...unique.filter((axis) => !kept.has(axis))];
  const isPlain = unique.length === named.axes.length && order.every((axis, i) => axis === named.axes[i]);
  const moved = isPlain ? named : ordered(context, named, order);
  const gone = order.flatMap((axis, i) => (kept.has(axis) ? [] : [i]));
  if (gone.length === 0) return moved;
  const y = context.rt.reduceSync('sum', context.tensor(moved.value), { axes: gone });
  return { value: context.result(y, named.value.type), axes: order.filter((axis) => kept.has(axis)) };
}

/** Two operands as [batch, m, k] x [batch, k, n]. */
function multiplied(context: Context, a: Named, b: Named, later: ReadonlySet<string>): Named {
  const isIn = (list: readonly string[]) => (axis: string) => list.includes(axis);
  const left = summed(context, a, new Set(a.axes.filter((axis) => isIn(b.axes)(axis) || later.has(axis))));
  const right = summed(context, b, new Set(b.axes.filter((axis) => isIn(a.axes)(axis) || later.has(axis))));
  const both = left.axes.filter(isIn(right.axes));
  const [batch, inner] = [both.filter((axis) => later.has(axis)), both.filter((axis) => !later.has(axis))];
  const rows = left.axes.filter((axis) => !both.includes(axis));
  const cols = right.axes.filter((axis) => !both.includes(axis));
  const x = ordered(context, left, [...batch, ...rows, ...inner]);
  const y = ordered(context, right, [...batch, ...inner, ...cols]);
  const extent = (named: Named, list: readonly string[]) =>
    list.map((axis) => named.value.shape[named.axes.indexOf(axis)]!);
  const extents = {
    batch: extent(x, batch),
    rows: extent(x, rows),
    inner: extent(x, inner),
    cols: extent(y, cols),
  };
  const [p, m, k, n] = [extents.batch, extents.rows, extents.inner, extents.cols].map(sizeOf) as [
    ...[number, number, number, number],
  ];
  const product = context.rt.matmulSync(
    context.tensor(context.reshaped(x.value, [p, m, k])),
    context.tensor(context.reshaped(y.value, [p, k, n])),
  );
  const shape = [...extents.batch, ...extents.rows, ...extents.cols];
  const value = context.reshaped(context.result(product, a.value.type), shape);
  return { value, axes: [...batch, ...rows, ...cols] };
}

function einsum(context: Context, ...inputs: Value[]): Value {
  const equation = context.string('equation', '');
  const [terms = '', wanted] = equation.split('->');
  const list = terms.split(',');
  if (list.length !== inputs.length) throw context.refuse(`"${equation}" has ${list.length} terms`);
  const named = inputs.map((value, i): Named => ({ value, axes: lettersOf(list[i]!, value.rank, context) }));
  const all = named.flatMap(({ axes }) => axes);
  const hidden = [...new Set(all.filter((axis) => axis >= '\u0391'))].sort().reverse();
  const once = [...new Set(all)].filter(
    (axis) => axis < '\u0391' && all.filter((other) => other === axis).length === 1,
  );
  const out =
    wanted === undefined
      ? [...hidden, ...once.sort()]
      : wanted.replace(/\s/g, '').includes('...')
        ? lettersOf(wanted, wanted.replace(/[\s.]/g, '').length + hidden.length, context)
        : [...wanted.replace(/\s/g, '')];
  const missing = out.find((axis) => !all.includes(axis));
  if (missing !== undefined) throw context.refuse(`"${equation}": no term has ${missing}`);
  let [result, ...rest] = named as [Named, ...Named[]];
  while (rest.length > 0) {
    const [next, ...others] = rest as [Named, ...Named[]];
    const later = new Set([...out, ...others.flatMap(({ axes }) => axes)]);
    result = multiplied(context, result, next, later);
    rest = others;
  }
  const kept = summed(context, result, new Set(out));
  return ordered(context, kept, out).value;
}

export const EINSUM: Operators = { Einsum: operator(12, 1, einsum) };
