export function depthwise(job: usize, program: usize, record: usize, scratch: usize): void { unreachable(); }
export function filtersByTap(job: usize, program: usize): void { unreachable(); }
export function pool(job: usize, program: usize, record: usize, scratch: usize): void { unreachable(); }
