/** Where a thread's own space begins. */
import { JOB_PRIVATE, MAX_WORKERS, PROGRAM_PRIVATE_BYTES, SCRATCH_ADDRESS, SCRATCH_BYTES } from '../gen/layout';

/** The space of the thread whose edge scratch is at `scratch`: the calling thread has the first place, whose scratch is the last. */
export function ownSpace(job: usize, program: usize, scratch: usize): usize {
  const index = <i32>(scratch - SCRATCH_ADDRESS) / SCRATCH_BYTES;
  const place = (index + 1) & (MAX_WORKERS - 1);
  return load<usize>(job, JOB_PRIVATE) + place * load<usize>(program, PROGRAM_PRIVATE_BYTES);
}
