/** Pooling to steps: channels and stretches of rows are independent, there is nothing to wait for. */
import type { Plan } from '../../plan/plan.ts';
import { constantsOf, NO_EPILOGUE, type Program } from '../../plan/program.ts';
import type { PoolProblem } from '../../problem/pool.ts';
import { stretchesOf } from '../tiles.ts';
import { addPlanes, stripOf, stripTaps } from './depthwise.ts';
import { imageConstants } from './image.ts';
import { StepList } from './steps.ts';

export function lowerPool(p: PoolProblem, plan: Plan): Program {
  const { image, stripRows, elements } = stripOf(p, 1);
  const list = new StepList();
  const perImage = { in: p.channels * p.inH * p.inW, out: p.channels * p.outH * p.outW };
  if (p.layout === 'nchw') addPlanes(list, 'pool', p.batch, p.channels, perImage, p, plan, 1);
  else {
    const rows = Math.max(1, Math.floor(plan.nc / (p.outW * p.channels)));
    for (let i = 0; i < p.batch; i++)
      for (const { from: n0, length: cols } of stretchesOf(p.outH, rows))
        list.add('pool', { b: i * perImage.in, c: i * perImage.out, n0, cols });
  }
  return {
    problem: p,
    plan,
    constants: constantsOf({
      ...imageConstants(p, image),
      channels: p.channels,
      outChannels: p.channels,
      nhwc: p.layout === 'nhwc' ? p.channels : 0,
      stripRows,
      maximum: p.kind === 'max' ? 1 : 0,
      countPadding: p.countPadding ? 1 : 0,
    }),
    epilogue: { ...NO_EPILOGUE, exact: p.exact },
    offsets: stripTaps(p, image),
    steps: list.steps,
    packedAElements: 0,
    packedBElements: 0,
    privateElements: elements,
  };
}
