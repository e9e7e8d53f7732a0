import type { LoadBalancingPlan } from '../../../model/traffic.ts';
import { hash32 } from '../../balance/choice/hash.ts';
import type { Onward } from '../candidates.ts';

/** Tunnels of as many kinds are kept apart for `consistentHash`. */
const buckets = 256;
const bucketSeed = 0x1b873593;

/** What a tunnel is opened with, and who may share it. */
export interface Tunnel {
  readonly onward: Onward;
  /** Requests with the same key may go through the same tunnel. */
  readonly key: string;
}

/**
 * A tunnel is opened in the name of one caller, and only that caller's requests may use it. Where requests are to go by
 * what they say, it also belongs to one bucket of them: the gateway at its other end chooses an endpoint by the bucket.
 */
export function tunnelFor(onward: Onward, { algorithm }: LoadBalancingPlan, source: string | undefined): Tunnel {
  const caller = onward?.sourceIdentity ?? '';
  if (!onward || algorithm !== 'consistentHash' || source === undefined) return { onward, key: caller };
  const bucket = hash32(source, bucketSeed) % buckets;
  return { onward: { ...onward, bucket }, key: `${caller} ${bucket}` };
}
