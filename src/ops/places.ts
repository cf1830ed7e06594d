/** Where else than in memory a runtime may compute: its GPU, or gpu.js where a page has no WebGPU. */
import { type OpenedGpu, openGpu } from '../backends/webgpu/open.ts';
import type { GatherProfile } from '../plan/gather.ts';
import type { GpuProfile } from '../plan/gpu.ts';
import type { Wisdom } from '../plan/wisdom.ts';
import { GpuPlace, type GpuSettings } from './gpu/place.ts';
import { GpuJsPlace } from './gpujs/place.ts';
import type { Settings } from './options.ts';

export interface Places {
  readonly gpu: GpuPlace | undefined;
  readonly gpujs: GpuJsPlace | undefined;
  /** Why they are not there. */
  readonly absent: { readonly gpu: string; readonly gpujs: string };
}

/** What tests replace. */
export interface PlaceInternals {
  readonly openGpu?: GpuSettings['open'];
  readonly gpuProfile?: GpuProfile;
  readonly gatherProfile?: GatherProfile;
  readonly gpujsMode?: 'cpu';
}

const NOT_ASKED = 'not asked for: gpu is false';

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A place that is only welcome may be absent; one that was asked for by name, or by a strict caller, may not. @throws `E_GPU`. */
export async function openPlaces(
  settings: Settings,
  internals: PlaceInternals,
  wisdom: Wisdom,
): Promise<Places> {
  const { gpu: request, backend, policy } = settings;
  if (!request) return { gpu: undefined, gpujs: undefined, absent: { gpu: NOT_ASKED, gpujs: NOT_ASKED } };
  if (backend === 'gpujs') {
    const gpujs = await openGpuJs(settings, internals);
    return { gpu: undefined, gpujs, absent: { gpu: "backend is 'gpujs'", gpujs: '' } };
  }
  try {
    const gpu = await openGpuPlace(settings, internals, wisdom);
    return { gpu, gpujs: undefined, absent: { gpu: '', gpujs: 'there is a GPU by WebGPU' } };
  } catch (error) {
    if (backend === 'webgpu') throw error;
    const gpujs =
      backend === 'auto' && hasCanvas() ? await orReason(openGpuJs(settings, internals)) : 'no page';
    if (typeof gpujs !== 'string')
      return { gpu: undefined, gpujs, absent: { gpu: reasonOf(error), gpujs: '' } };
    if (policy === 'strict') throw error;
    return { gpu: undefined, gpujs: undefined, absent: { gpu: reasonOf(error), gpujs } };
  }
}

function orReason<T>(work: Promise<T>): Promise<T | string> {
  return work.catch(reasonOf);
}

/** Pages and their workers may draw, and so have WebGL2; Node has not. */
function hasCanvas(): boolean {
  const { document, OffscreenCanvas } = globalThis as { document?: unknown; OffscreenCanvas?: unknown };
  return document !== undefined || OffscreenCanvas !== undefined;
}

function openGpuPlace(
  { gpu: request, backend, policy, onEvent }: Settings,
  { openGpu: open, gpuProfile }: PlaceInternals,
  wisdom: Wisdom,
): Promise<GpuPlace> {
  return GpuPlace.open({
    request: request!,
    backend,
    policy,
    onEvent,
    wisdom,
    ...(open ? { open } : {}),
    ...(gpuProfile ? { profile: gpuProfile } : {}),
  });
}

/** On WebGL2 where that is, else on a device of WebGPU, which is then opened for it. */
async function openGpuJs(settings: Settings, internals: PlaceInternals): Promise<GpuJsPlace> {
  const { gpu: request, backend, policy, onEvent } = settings;
  const { gpujsMode: mode, gatherProfile: profile } = internals;
  const needsDevice = !mode && !hasCanvas();
  const opened: OpenedGpu | undefined = needsDevice
    ? await (internals.openGpu ?? openGpu)(request!)
    : undefined;
  const destroy = () => {
    if (opened?.owned) opened.device.destroy();
  };
  try {
    return await GpuJsPlace.open({
      request: {
        gpujs: request?.gpujs,
        ...(mode ? { mode } : {}),
        device: opened && { device: opened.device, ...opened.report },
      },
      backend,
      policy,
      onEvent,
      onClose: destroy,
      ...(profile ? { profile } : {}),
    });
  } catch (error) {
    destroy();
    throw error;
  }
}
