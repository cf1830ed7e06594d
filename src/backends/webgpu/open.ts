/** Getting at a GPU: an object that the caller has, the browser's, or Dawn's through the npm package `webgpu` in Node. */
import { TesseraeError } from '../../core/errors.ts';
import { importOptional } from '../../core/optional.ts';
import {
  type Gpu,
  type GpuAdapter,
  type GpuAdapterInfo,
  type GpuDevice,
  type GpuFeatures,
  LIMITS,
} from '../../core/webgpu.ts';
import { MATRIX_FEATURE } from '../../kernels/gpu.ts';

/** What of a GPU a caller chooses. */
export interface GpuRequest {
  /** A device of the caller's, which is never destroyed here. */
  readonly device?: GpuDevice;
  /** What `navigator.gpu` is in browsers. */
  readonly gpu?: Gpu;
  /** The package gpu.js, where the caller has loaded it; else it is looked for by its name. */
  readonly gpujs?: unknown;
  readonly powerPreference?: 'low-power' | 'high-performance';
  /**
   * In Node: asks Dawn for what it holds back as experimental: subgroup matrices (products of halves on matrix units) and `shader-f16` on
   * NVIDIA's Vulkan driver. It needs Dawn's toggle `allow_unsafe_apis`, so only code that is trusted should share the process.
   * Default false.
   */
  readonly experimental?: boolean;
}

export interface AdapterReport {
  /** The adapter's own words: vendor, architecture, device, description. */
  readonly name: string;
  /** Whether it computes on the CPU (SwiftShader, llvmpipe): right answers, no GPU. */
  readonly software: boolean;
  readonly features: readonly string[];
}

export interface OpenedGpu {
  readonly device: GpuDevice;
  readonly report: AdapterReport;
  /** Whether closing destroys the device. */
  readonly owned: boolean;
}

/** Dawn's instances crash the process when they are collected while a device is in use, so they are kept for good. */
const pinned: Gpu[] = [];

/** Features that kernels use where they are there. */
const WANTED = ['shader-f16', 'subgroups', 'timestamp-query'] as const;

const EXPERIMENTAL = ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia'];

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|software/i;

export function noGpu(reason: string, cause?: unknown): TesseraeError {
  return new TesseraeError(
    'E_GPU',
    `there is no GPU to use: ${reason}`,
    { reason },
    "Install the package webgpu (npm install webgpu) and a driver, pass { gpu: { device } }, or use backend 'wasm'.",
    cause,
  );
}

/** Dawn, where the package is installed. */
async function dawn(flags: readonly string[]): Promise<Gpu> {
  let module: { create(flags: readonly string[]): Gpu };
  try {
    module = await importOptional('webgpu');
  } catch (cause) {
    throw noGpu('the package webgpu is not installed', cause);
  }
  const gpu = module.create(flags);
  pinned.push(gpu);
  return gpu;
}

function browserGpu(): Gpu | undefined {
  const { navigator } = globalThis as { navigator?: { gpu?: Gpu } };
  return navigator?.gpu;
}

/** Fragments of 16 x 16 halves summed as floats, by subgroups of 32. */
function hasMatrices(info: GpuAdapterInfo | undefined): boolean {
  if (info?.subgroupMinSize !== 32 || info.subgroupMaxSize !== 32) return false;
  return [...(info.subgroupMatrixConfigs ?? [])].some(
    ({ M, N, K, componentType, resultComponentType }) =>
      M === 16 && N === 16 && K === 16 && componentType === 'f16' && resultComponentType === 'f32',
  );
}

/** Subgroups are of use where WGSL tells their number in the workgroup. */
function featuresOf(
  features: GpuFeatures,
  info: GpuAdapterInfo | undefined,
  language: GpuFeatures | undefined,
): string[] {
  const has = (feature: string) =>
    features.has(feature) && (feature !== 'subgroups' || language?.has('subgroup_id') === true);
  const needed = [MATRIX_FEATURE, 'shader-f16', 'subgroups'];
  const matrices = needed.every(has) && hasMatrices(info) ? [MATRIX_FEATURE] : [];
  return [...WANTED.filter(has), ...matrices];
}

function reportOf({ info, features }: GpuAdapter, { wgslLanguageFeatures }: Gpu): AdapterReport {
  const words = info ? [info.vendor, info.architecture, info.device, info.description] : [];
  const name = words.filter((word) => word !== '').join(' ') || 'an adapter that does not tell its name';
  return {
    name,
    software: info?.isFallbackAdapter === true || SOFTWARE.test(name),
    features: featuresOf(features, info, wgslLanguageFeatures),
  };
}

/** Opens a device with all that the adapter has of what kernels can use. @throws `E_GPU`. */
export async function openGpu(request: GpuRequest): Promise<OpenedGpu> {
  const { device, powerPreference = 'high-performance', experimental = false } = request;
  if (device) {
    const report = {
      name: "the caller's device",
      software: false,
      features: featuresOf(
        device.features,
        device.adapterInfo,
        (request.gpu ?? browserGpu())?.wgslLanguageFeatures,
      ),
    };
    return { device, report, owned: false };
  }
  const gpu = request.gpu ?? browserGpu() ?? (await dawn(experimental ? EXPERIMENTAL : []));
  const adapter = await gpu.requestAdapter({ powerPreference });
  if (!adapter) throw noGpu('no adapter was found (is there a Vulkan, Metal or D3D12 driver?)');
  const report = reportOf(adapter, gpu);
  const requiredLimits = Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]]));
  try {
    // an adapter gives one device: asking again takes another adapter
    const opened = await adapter.requestDevice({ requiredFeatures: report.features, requiredLimits });
    return { device: opened, report, owned: true };
  } catch (cause) {
    throw noGpu(`${report.name} gives no device: ${cause instanceof Error ? cause.message : cause}`, cause);
  }
}
