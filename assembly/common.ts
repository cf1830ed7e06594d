/** What the first module exports besides kernels. */
export { drain, takePart, closeJob, failRecord, awaitJob, awaitSignal } from './sync/team';
export { apply_activation } from './elementwise/epilogue';
export { probe_peak_simd } from './probe/peak';
export { float_range, quantize_floats } from './quantized/dynamic';
export { probe_copy, probe_read } from './probe/read';
