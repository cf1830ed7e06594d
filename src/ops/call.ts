/** The way of every call: a checked request -> operands in memory -> plan -> execution -> result. */
import { TesseraeError } from '../core/errors.ts';
import type { GpuPlan } from '../plan/gpu.ts';
import type { Plan } from '../plan/plan.ts';
import { keyOf } from '../problem/problem.ts';
import type { Execution } from '../schedule/execute.ts';
import type { ApartPlace } from './apart/place.ts';
import { runApart } from './apart/run.ts';
import { runSpread } from './apart/spread-run.ts';
import { checkAsync, checkOptions } from './arguments.ts';
import { fetchAll, holdAll, isAway } from './away.ts';
import type { Core } from './core.ts';
import type { GpuPlace } from './gpu/place.ts';
import { runOnGpu } from './gpu/run.ts';
import { runSplit } from './gpu/split.ts';
import type { GpuJsPlace } from './gpujs/place.ts';
import { runOnGpuJs } from './gpujs/run.ts';
import { Placement } from './placement.ts';
import type { Timed } from './profile.ts';
import type { Request } from './request.ts';
import type { BackendName, PlacedOptions, Tensor } from './types.ts';

export function untrusted(core: Core): TesseraeError {
  return new TesseraeError(
    'E_KERNEL',
    'no kernel that could do this may be trusted on this device',
    { quarantined: core.quarantined },
    "The float64 reference cannot stand in here: it reads no panels and is not bit-exact. Use numerics 'fast' and plain tensors.",
  );
}

function planOf(core: Core, request: Request): Execution | undefined {
  return request.plan ? request.plan(core) : core.plan(request.problem);
}

/** What a profile calls a request that the threads do not run. */
function timedAs({ problem }: Request, backend: BackendName, plan?: Plan): () => Timed {
  const kernel = plan ? `${plan.algorithm} ${plan.kernel}` : backend;
  return () => ({ name: problem.op, problem: keyOf(problem), backend, kernel });
}

/** Computes before it returns. */
export function callSync(core: Core, request: Request): Tensor {
  if (request.spread) throw cannotBlock();
  if (request.isFleeting) core.tape?.spoil('operands of integers are made anew at each call');
  const placed = new Placement(core, request);
  let failed = true;
  try {
    if (request.empty) {
      core.tape?.spoil('a sum of nothing is computed on the way');
      request.runEmpty(core, placed.at, placed.out);
    } else {
      const planned = planOf(core, request);
      if (planned)
        core.runSync(planned, request.operands(core, planned, placed.at, placed.out.block.address));
      else {
        core.tape?.spoil('a kernel is not trusted');
        core.profiling.here(timedAs(request, 'reference'), () =>
          request.runReference(core, placed.at, placed.out),
        );
      }
    }
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}

/** Starts at once; a call that is short enough is finished when this returns. `read` checks the arguments. */
export function call(
  core: Core,
  options: PlacedOptions,
  known: ReadonlySet<string>,
  read: () => Request,
): Promise<Tensor> {
  let placed: Placement | undefined;
  try {
    checkOptions(options, known);
    checkAsync(options);
    options.signal?.throwIfAborted();
    const request = read();
    if (options.result === 'gpu') core.needGpu();
    const elsewhere =
      callSpread(core, request, options) ??
      (core.gpu && callElsewhere(core, core.gpu, request, options)) ??
      (core.gpujs && callGpuJs(core, core.gpujs, request, options)) ??
      (core.apart && callApart(core, core.apart, request, options));
    if (elsewhere) return elsewhere;
    placed = new Placement(core, request);
    const pending = start(core, request, placed, options);
    if (pending) return finish(pending, placed);
    placed.release(false);
    return Promise.resolve(placed.out);
  } catch (error) {
    placed?.release(true);
    return Promise.reject(error);
  }
}

/** Where there is a GPU: a call that goes there, or must wait for what lies there; undefined for one that can begin in memory at once. */
function callElsewhere(
  core: Core,
  gpu: GpuPlace,
  request: Request,
  options: PlacedOptions,
): Promise<Tensor> | undefined {
  const hereMs = () => planOf(core, request)?.ms ?? Number.POSITIVE_INFINITY;
  const there = gpu.claim(request, request.gpu?.(), options, hereMs);
  if (!there && options.result !== 'gpu' && !isAway(request)) return undefined;
  const fetched = there ? undefined : fetchAll(request);
  const release = holdAll(request);
  return goThere(core, gpu, request, there, fetched, options).finally(release);
}

/** Where gpu.js is: a call that goes there, or undefined. */
function callGpuJs(
  core: Core,
  gpujs: GpuJsPlace,
  request: Request,
  options: PlacedOptions,
): Promise<Tensor> | undefined {
  const hereMs = () => planOf(core, request)?.ms ?? Number.POSITIVE_INFINITY;
  if (!gpujs.claims(request, request.gpu?.(), hereMs)) return undefined;
  const release = holdAll(request);
  return runGpuJs(core, gpujs, request, options).finally(release);
}

/** A product with a matrix that lies on other threads, or undefined. */
function callSpread(core: Core, request: Request, options: PlacedOptions): Promise<Tensor> | undefined {
  const { spread } = request;
  if (!spread || request.empty) return undefined;
  const releases = [holdAll(request), spread.hold()];
  const release = () => {
    for (const one of releases) one();
  };
  const work = async () => {
    if (isAway(request)) await fetchAll(request);
    const tensor = await runSpread(core, spread, request, options);
    return options.result === 'gpu' ? tensor.to('gpu') : tensor;
  };
  return core.profiling.around(timedAs(request, 'apart'), work).finally(release);
}

function cannotBlock(): TesseraeError {
  return new TesseraeError(
    'E_ARGUMENT',
    'a spread matrix lies on other threads, for which a blocking call cannot wait',
    {},
    'Await rt.matmul(a, b).',
  );
}

/** Where threads have memories of their own: a call that is cut among them, or undefined. */
function callApart(
  core: Core,
  apart: ApartPlace,
  request: Request,
  options: PlacedOptions,
): Promise<Tensor> | undefined {
  if (request.empty) return undefined;
  const planned = planOf(core, request);
  const cut = planned && apart.claim(request.problem, planned.ms, core.host.mayWait);
  if (!cut) return undefined;
  const release = holdAll(request);
  const { ms, plan } = planned;
  const work = () => runApart(core, apart, request, { cut, ms, options });
  const done = core.profiling.around(timedAs(request, 'apart', plan), work);
  return done
    .then((tensor) => {
      if (tensor) return tensor;
      const placed = new Placement(core, request);
      return finish(startSafely(core, request, placed, options), placed);
    })
    .finally(release);
}

/** In memory after all where gpu.js gives wrong answers. */
async function runGpuJs(
  core: Core,
  gpujs: GpuJsPlace,
  request: Request,
  options: PlacedOptions,
): Promise<Tensor> {
  const done = await core.elsewhere(timedAs(request, 'gpujs'), options, () =>
    runOnGpuJs(core, gpujs, request, options),
  );
  if (done) return done;
  const placed = new Placement(core, request);
  return finish(startSafely(core, request, placed, options), placed);
}

/** In memory after all if the GPU was lost on the way. */
async function goThere(
  core: Core,
  gpu: GpuPlace,
  request: Request,
  there: GpuPlan | undefined,
  fetched: Promise<void> | undefined,
  options: PlacedOptions,
): Promise<Tensor> {
  if (there) {
    const done = await core.elsewhere(timedAs(request, 'webgpu', there.plan), options, () =>
      there.plan.share === undefined
        ? runOnGpu(core, gpu, request, there, options)
        : runSplit(core, gpu, request, there.plan, options),
    );
    if (done) return done;
  }
  await (fetched ?? fetchAll(request));
  options.signal?.throwIfAborted();
  core.checkOpen('compute');
  const placed = new Placement(core, request);
  const tensor = await finish(startSafely(core, request, placed, options), placed);
  return options.result === 'gpu' ? tensor.to('gpu') : tensor;
}

async function startSafely(
  core: Core,
  request: Request,
  placed: Placement,
  options: PlacedOptions,
): Promise<void> {
  await start(core, request, placed, options);
}

function start(
  core: Core,
  request: Request,
  placed: Placement,
  { signal, onProgress, priority }: PlacedOptions,
): void | Promise<void> {
  const { problem } = request;
  if (request.empty) return request.runEmpty(core, placed.at, placed.out);
  const { client } = core;
  const run = (): void | Promise<void> => {
    const planned = planOf(core, request);
    if (!planned)
      return core.profiling.here(timedAs(request, 'reference'), () =>
        request.runReference(core, placed.at, placed.out),
      );
    const report = onProgress && ((done: number, total: number) => onProgress({ phase: 'run', done, total }));
    const operands = request.operands(core, planned, placed.at, placed.out.block.address);
    return core.executor.run(planned, operands, { signal, onProgress: report, priority, client });
  };
  return core.effort === 'estimate' || request.plan ? run() : core.tuneFirst(problem, signal).then(run);
}

async function finish(pending: Promise<void>, placed: Placement): Promise<Tensor> {
  let failed = true;
  try {
    await pending;
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}
