import type { Partition } from '../model/ports/hub.ts';

/**
 * Where things lie in Redis (wire.md, "Hub layout"). The braces are a hash tag: all keys of one partition are in one
 * slot of a Redis Cluster, so that one script may touch them together.
 */
export interface HubKeys {
  readonly hints: string;
  head(partition: Partition): string;
  records(partition: Partition): string;
  /** Hash: two hex digits of a bucket → its digest. */
  buckets(partition: Partition): string;
  log(partition: Partition): string;
  lease(partition: Partition): string;
  chain(partition: Partition, chainId: string): string;
}

export function hubKeys(prefix: string): HubKeys {
  return {
    hints: `${prefix}:hints`,
    head: (partition) => `${prefix}:{${partition}}:head`,
    records: (partition) => `${prefix}:{${partition}}:records`,
    buckets: (partition) => `${prefix}:{${partition}}:buckets`,
    log: (partition) => `${prefix}:{${partition}}:log`,
    lease: (partition) => `${prefix}:{${partition}}:lease`,
    chain: (partition, chainId) => `${prefix}:{${partition}}:chain:${chainId}`,
  };
}

/** Every key of a partition, as a pattern of Redis. */
export function partitionPattern(prefix: string, partition: Partition): string {
  return `${prefix}:{${partition}}:*`;
}
