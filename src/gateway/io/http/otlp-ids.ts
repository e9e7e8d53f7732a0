import { randomFillSync } from 'node:crypto';
import type { TraceIds } from '../../http/trace/tracer.ts';

const spanBytes = 8;
const traceBytes = 16;
const pool = Buffer.alloc(4096);
let used = pool.length;

function take(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const hex = pool.toString('hex', used, used + bytes);
  used += bytes;
  // All 0 is no id (W3C Trace Context §3.2.2.3).
  return /[^0]/.test(hex) ? hex : take(bytes);
}

/** Ids from the system's randomness, drawn in bulk. */
export const randomIds: TraceIds = { traceId: () => take(traceBytes), spanId: () => take(spanBytes) };
