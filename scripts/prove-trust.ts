import { killAtWrites } from '../test/trust/support/kills.ts';
import type { Proof } from './prove.ts';

/** An authority and a joining agent in one process, killed with SIGKILL after every single write, in turn. */
async function kills(): Promise<object> {
  return { kills: await killAtWrites(1) };
}

export const proofs: Readonly<Record<string, Proof>> = { kills };
