/** Graphs inside of nodes: a choice, a loop, a scan. What decides is known when the model runs, so these are recorded only where it is constant. */

import { denseStrides } from '../../core/strided.ts';
import type { Context } from '../context.ts';
import type { Graph } from '../model/types.ts';
import { Value } from '../value.ts';
import { type Operators, operator } from './types.ts';
import { assemble, read } from './views.ts';

function graphOf(context: Context, name: string): Graph {
  const attribute = context.node.attributes.get(name);
  if (attribute?.kind === 'graph') return attribute.value;
  throw context.refuse(`there is no graph ${name}`);
}

function choice(context: Context, condition: Value): readonly Value[] {
  const isTrue = context.numbers(condition)[0] !== 0;
  return context.runGraph(graphOf(context, isTrue ? 'then_branch' : 'else_branch'), []);
}

/** Values of all turns, one behind the other along a new axis. */
function stacked(context: Context, values: readonly Value[], axis = 0): Value {
  const [first] = values;
  if (!first) throw context.refuse('a scan of no turns has no shape');
  const widened = values.map((value) =>
    context.reshaped(value, [...value.shape.slice(0, axis), 1, ...value.shape.slice(axis)]),
  );
  const shape = [...first.shape.slice(0, axis), values.length, ...first.shape.slice(axis)];
  const parts = widened.map((value, turn) => ({ value, at: shape.map((_, i) => (i === axis ? turn : 0)) }));
  return assemble(context, shape, undefined, parts);
}

const MOST_TURNS = 1e6;

function loop(
  context: Context,
  trips: Value | undefined,
  condition: Value | undefined,
  ...carried: Value[]
): readonly Value[] {
  const body = graphOf(context, 'body');
  const most = trips ? context.numbers(trips)[0]! : Number.POSITIVE_INFINITY;
  let goesOn = condition ? context.numbers(condition)[0] !== 0 : true;
  let state: readonly Value[] = carried;
  const scans: Value[][] = Array.from({ length: body.outputs.length - 1 - carried.length }, () => []);
  for (let turn = 0; turn < most && goesOn; turn++) {
    if (turn >= MOST_TURNS) throw context.refuse(`it has not ended after ${MOST_TURNS} turns`);
    const index = Value.ofNumbers('int64', [], Float64Array.of(turn), true);
    const isOn = Value.ofNumbers('bool', [], Uint8Array.of(1), true);
    const [next, ...results] = context.runGraph(body, [index, isOn, ...state]);
    goesOn = context.numbers(next!)[0] !== 0;
    state = results.slice(0, carried.length);
    results.slice(carried.length).forEach((value, i) => {
      scans[i]!.push(value);
    });
  }
  return [...state, ...scans.map((values) => stacked(context, values))];
}

/** How a scan goes through its inputs and puts its outputs together. */
interface Ways {
  readonly axes: readonly number[];
  readonly backwards: readonly number[];
  readonly outAxes: readonly number[];
  readonly outBackwards: readonly number[];
}

/** Index `at` of an axis, without that axis. */
function sliceOf(context: Context, value: Value, axis: number, at: number): Value {
  const strides = denseStrides(value.shape);
  const without = (list: readonly number[]) => list.filter((_, a) => a !== axis);
  return read(context, value, {
    ...{ shape: without(value.shape), strides: without(strides) },
    first: at * strides[axis]!,
  });
}

function gone(context: Context, begin: readonly Value[], scanned: readonly Value[], ways: Ways): Value[] {
  const body = graphOf(context, 'body');
  const { axes, backwards, outAxes, outBackwards } = ways;
  const turns = scanned[0]!.shape[axes[0]!]!;
  let state = begin;
  const scans: Value[][] = Array.from({ length: body.outputs.length - begin.length }, () => []);
  for (let turn = 0; turn < turns; turn++) {
    const parts = scanned.map((value, i) =>
      sliceOf(context, value, axes[i]!, backwards[i] ? turns - 1 - turn : turn),
    );
    const results = context.runGraph(body, [...state, ...parts]);
    state = results.slice(0, begin.length);
    results.slice(begin.length).forEach((value, i) => {
      if (outBackwards[i]) scans[i]!.unshift(value);
      else scans[i]!.push(value);
    });
  }
  return [...state, ...scans.map((values, i) => stacked(context, values, outAxes[i]))];
}

/** States first, then what is gone through along an axis. In opset 8 lengths come before them, and all of it is there for each of a batch. */
function scan(context: Context, ...inputs: Value[]): readonly Value[] {
  const count = context.int('num_scan_inputs', 1);
  const list = (name: string, length: number) => context.intList(name) ?? new Array<number>(length).fill(0);
  if (context.opset < 9) return scanBatches(context, inputs, list('directions', count));
  const states = inputs.length - count;
  const scanned = inputs.slice(states);
  const outputs = graphOf(context, 'body').outputs.length - states;
  return gone(context, inputs.slice(0, states), scanned, {
    axes: list('scan_input_axes', count).map((axis, i) => context.axis(axis, scanned[i]!.rank)),
    backwards: list('scan_input_directions', count),
    outAxes: list('scan_output_axes', outputs),
    outBackwards: list('scan_output_directions', outputs),
  });
}

function scanBatches(
  context: Context,
  [lengths, ...inputs]: readonly Value[],
  backwards: readonly number[],
): readonly Value[] {
  const states = inputs.length - backwards.length;
  const [batch, steps] = inputs[states]!.shape as [number, number];
  if (lengths && context.ints(lengths).some((length) => length !== steps))
    throw context.refuse('sequences of different lengths');
  const zeros = inputs.map(() => 0);
  const ways = { axes: zeros, backwards, outAxes: zeros, outBackwards: [] };
  const all = Array.from({ length: batch }, (_, n) => {
    const of = inputs.map((value) => sliceOf(context, value, 0, n));
    return gone(context, of.slice(0, states), of.slice(states), ways);
  });
  return all[0]!.map((_, i) =>
    stacked(
      context,
      all.map((results) => results[i]!),
    ),
  );
}

export const CONTROL: Operators = {
  If: operator(1, 1, choice),
  Loop: operator(1, 0, loop),
  Scan: operator(8, 0, scan),
};
