/**
 * The part of WebGPU that both GPU backends use, as structural types (https://www.w3.org/TR/webgpu/). The library's own
 * declarations name them, so that they compile in projects with and without a WebGPU type library; the real objects of
 * browsers and of Dawn fit.
 */

export interface GpuBuffer {
  readonly size: number;
  mapAsync(mode: number, offset?: number, size?: number): Promise<unknown>;
  getMappedRange(offset?: number, size?: number): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}

export interface GpuPassEncoder {
  setPipeline(pipeline: GpuPipeline): void;
  setBindGroup(index: number, group: GpuBindGroup, offsets?: readonly number[]): void;
  dispatchWorkgroups(x: number, y?: number, z?: number): void;
  end(): void;
}

/** A `GPUQuerySet`. */
export interface GpuQuerySet {
  destroy(): void;
}

export interface GpuCommandEncoder {
  beginComputePass(descriptor?: {
    timestampWrites: {
      querySet: GpuQuerySet;
      beginningOfPassWriteIndex?: number;
      endOfPassWriteIndex?: number;
    };
  }): GpuPassEncoder;
  resolveQuerySet(queries: GpuQuerySet, first: number, count: number, to: GpuBuffer, offset: number): void;
  copyBufferToBuffer(
    from: GpuBuffer,
    fromOffset: number,
    to: GpuBuffer,
    toOffset: number,
    size: number,
  ): void;
  finish(): object;
}

/** Opaque objects that are only passed on. */
export type GpuPipeline = object;
export type GpuPipelineLayout = object;
export type GpuBindGroup = object;

/** A buffer, or a part of it, as a shader sees it. */
export interface GpuBinding {
  readonly buffer: GpuBuffer;
  readonly offset?: number;
  readonly size?: number;
}

export interface GpuError {
  readonly message: string;
}

export interface GpuQueue {
  submit(commands: readonly object[]): void;
  writeBuffer(buffer: GpuBuffer, offset: number, data: ArrayBuffer | ArrayBufferView<ArrayBuffer>): void;
  onSubmittedWorkDone(): Promise<unknown>;
}

export interface GpuDeviceLost {
  readonly reason: string;
  readonly message: string;
}

export type GpuLimits = Readonly<Record<(typeof LIMITS)[number], number>>;

/** What of a device's limits kernels depend on; asked for as far as the adapter has them. */
export const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
] as const;

export interface GpuFeatures {
  has(name: string): boolean;
}

/** A `GPUDevice`. */
export interface GpuDevice {
  readonly features: GpuFeatures;
  readonly limits: GpuLimits;
  readonly adapterInfo?: GpuAdapterInfo;
  readonly queue: GpuQueue;
  readonly lost: Promise<GpuDeviceLost>;
  createBuffer(descriptor: { size: number; usage: number; mappedAtCreation?: boolean }): GpuBuffer;
  createShaderModule(descriptor: { code: string }): object;
  createComputePipelineAsync(descriptor: {
    layout: GpuPipelineLayout;
    compute: { module: object; entryPoint: string };
  }): Promise<GpuPipeline>;
  createBindGroupLayout(descriptor: {
    entries: readonly {
      binding: number;
      visibility: number;
      buffer: {
        type: 'uniform' | 'storage' | 'read-only-storage';
        hasDynamicOffset?: boolean;
        minBindingSize?: number;
      };
    }[];
  }): object;
  createPipelineLayout(descriptor: { bindGroupLayouts: readonly object[] }): GpuPipelineLayout;
  createBindGroup(descriptor: {
    layout: object;
    entries: readonly { binding: number; resource: GpuBinding }[];
  }): GpuBindGroup;
  createCommandEncoder(): GpuCommandEncoder;
  createQuerySet(descriptor: { type: 'timestamp'; count: number }): GpuQuerySet;
  pushErrorScope(filter: 'validation' | 'out-of-memory' | 'internal'): void;
  popErrorScope(): Promise<GpuError | null>;
  destroy(): void;
}

/** A `GPUAdapterInfo`. */
export interface GpuAdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  /** Chromium's and Dawn's, with the experimental feature: fragments M x K times K x N. */
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly M: number;
    readonly N: number;
    readonly K: number;
    readonly componentType: string;
    readonly resultComponentType: string;
  }>;
}

/** A `GPUAdapter`. */
export interface GpuAdapter {
  readonly features: GpuFeatures;
  readonly limits: GpuLimits;
  readonly info?: GpuAdapterInfo;
  requestDevice(descriptor?: {
    requiredFeatures?: readonly string[];
    requiredLimits?: Readonly<Record<string, number>>;
  }): Promise<GpuDevice>;
}

/** A `GPU`: what `navigator.gpu` is. */
export interface Gpu {
  /** Of the shading language, on every adapter. */
  readonly wgslLanguageFeatures?: GpuFeatures;
  requestAdapter(options?: {
    powerPreference?: 'low-power' | 'high-performance';
  }): Promise<GpuAdapter | null>;
}

/** GPUBufferUsage and GPUMapMode, which are globals in browsers only. */
export const USAGE = {
  mapRead: 0x01,
  mapWrite: 0x02,
  copySrc: 0x04,
  copyDst: 0x08,
  uniform: 0x40,
  storage: 0x80,
  queryResolve: 0x200,
} as const;
export const MAP_READ = 1;
export const MAP_WRITE = 2;
