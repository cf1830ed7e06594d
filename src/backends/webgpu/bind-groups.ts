/**
 * What shaders' names are bound to. A group of buffers is made once and found again by the buffers themselves, as long as there are any
 * references to those: making one takes 15 of the 18 microseconds that recording a call does (Dawn in Node). The numbers of a call are
 * not in the group: they lie at an offset that is given when it is set.
 */
import type { GpuBindGroup, GpuBuffer, GpuDevice, GpuPipelineLayout } from '../../core/webgpu.ts';
import { PARAMS_BYTES } from './wgsl/params.ts';
import { BINDINGS, type Binding } from './wgsl/product.ts';

/** GPUShaderStage.COMPUTE. */
const COMPUTE = 4;

/** Groups by their first buffer, then by the next one. */
interface Known {
  group?: GpuBindGroup;
  next?: WeakMap<GpuBuffer, Known>;
}

interface Layout {
  readonly group: object;
  readonly pipeline: GpuPipelineLayout;
  readonly known: Known;
}

export class BindGroups {
  readonly #device: GpuDevice;
  readonly #byNames = new Map<string, Layout>();
  /** The same, without putting names together: launches are kept, and their lists with them. */
  readonly #byList = new WeakMap<readonly Binding[], Layout>();

  constructor(device: GpuDevice) {
    this.#device = device;
  }

  /** What a pipeline is made with. */
  pipelineLayout(bindings: readonly Binding[]): GpuPipelineLayout {
    return this.#layout(bindings).pipeline;
  }

  /** `bufferOf` gives the buffer of each name, that of the numbers among them; it is the same for all calls. */
  get(bindings: readonly Binding[], bufferOf: (name: Binding) => GpuBuffer): GpuBindGroup {
    const layout = this.#layout(bindings);
    let { known } = layout;
    for (const name of bindings) {
      if (name === 'params') continue;
      known.next ??= new WeakMap();
      const buffer = bufferOf(name);
      let next = known.next.get(buffer);
      if (!next) {
        next = {};
        known.next.set(buffer, next);
      }
      known = next;
    }
    known.group ??= this.#device.createBindGroup({
      layout: layout.group,
      entries: bindings.map((name) => ({ binding: BINDINGS.indexOf(name), resource: part(name, bufferOf) })),
    });
    return known.group;
  }

  #layout(bindings: readonly Binding[]): Layout {
    const listed = this.#byList.get(bindings);
    if (listed) return listed;
    const names = bindings.join(' ');
    const layout = this.#byNames.get(names) ?? this.#make(bindings);
    this.#byNames.set(names, layout);
    this.#byList.set(bindings, layout);
    return layout;
  }

  #make(bindings: readonly Binding[]): Layout {
    const entries = bindings.map((name) => ({
      binding: BINDINGS.indexOf(name),
      visibility: COMPUTE,
      buffer:
        name === 'params'
          ? ({ type: 'uniform', hasDynamicOffset: true, minBindingSize: PARAMS_BYTES } as const)
          : ({ type: name === 'c' ? 'storage' : 'read-only-storage' } as const),
    }));
    const group = this.#device.createBindGroupLayout({ entries });
    return { group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }), known: {} };
  }
}

/** Numbers of one call, or a whole buffer. */
function part(name: Binding, bufferOf: (name: Binding) => GpuBuffer) {
  const buffer = bufferOf(name);
  return name === 'params' ? { buffer, offset: 0, size: PARAMS_BYTES } : { buffer };
}
