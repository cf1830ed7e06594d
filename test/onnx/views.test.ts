/** Arrays that are put together: each element is there, between whatever is filled in, in memory that held something else. */
import test from 'tape';
import { initializer, node } from '../../src/cli/bench/peers/onnx-proto.ts';
import { sizeOf } from '../../src/core/shape.ts';
import { denseStrides } from '../../src/core/strided.ts';
import { InferenceSession, Tensor } from '../../src/onnx/index.ts';
import { edge, modelOf } from '../support/onnx.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

/** What ONNX's Pad says: each element of x at its place, the fill elsewhere; what negative padding cuts off is gone. */
function padded(x: Float32Array, shape: number[], before: number[], after: number[], fill: number) {
  const outShape = shape.map((extent, i) => extent + before[i]! + after[i]!);
  const [from, to] = [denseStrides(shape), denseStrides(outShape)];
  const out = new Float32Array(sizeOf(outShape)).fill(fill);
  for (let i = 0; i < x.length; i++) {
    const at = shape.map((extent, axis) => (Math.floor(i / from[axis]!) % extent) + before[axis]!);
    if (at.every((place, axis) => place >= 0 && place < outShape[axis]!))
      out[at.reduce((sum, place, axis) => sum + place * to[axis]!, 0)] = x[i]!;
  }
  return { outShape, out };
}

test(seeded('padding along no, one or several extents'), async (t) => {
  const random = new Random(961);
  const runtime = await makeRuntime({ threads: 2 });
  for (let turn = 0; turn < 60; turn++) {
    const rank = random.int(1, 4);
    const shape = Array.from({ length: rank }, () => random.int(1, 7));
    const pads = () => shape.map(() => (random.chance(0.5) ? 0 : random.int(-1, 4)));
    const alone = random.int(0, rank - 1);
    // along one extent every other time, as channels grow
    const only = (all: number[]) => (turn % 2 ? all.map((one, axis) => (axis === alone ? one : 0)) : all);
    const [before, after] = [only(pads()), only(pads())];
    if (shape.some((extent, i) => extent + before[i]! + after[i]! < 0)) continue;
    const fill = random.pick([0, 0, -2.5]);
    const file = modelOf(
      [node('Abs', ['x'], 'a'), node('Pad', ['a', 'pads', 'fill'], 'p'), node('Neg', ['p'], 'y')],
      [edge('x', shape)],
      [edge('y', [])],
      [
        initializer(edge('pads', [2 * rank], 'int64'), BigInt64Array.from([...before, ...after], BigInt)),
        initializer(edge('fill', []), Float32Array.of(fill)),
      ],
    );
    const session = await InferenceSession.create(file, { runtime });
    for (const run of ['first', 'again']) {
      const x = random.floats(sizeOf(shape));
      const { y } = await session.run({ x: new Tensor('float32', x, shape) });
      const { outShape, out } = padded(x.map(Math.abs), shape, before, after, fill);
      const label = `${run}: [${shape}] by [${before}] and [${after}]`;
      t.deepEqual(
        [y!.dims, Array.from(y!.data as Float32Array)],
        [outShape, Array.from(out, (v) => -v)],
        label,
      );
    }
    await session.release();
  }
  await runtime.close();
});
