import type { Idle } from '../../http/idle-pool.ts';

/** One HTTP/1.1 connection to an upstream. */
export type H1Upstream = Idle;
