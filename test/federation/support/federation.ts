import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseTrustDomain } from '../../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, parseServiceKey } from '../../../src/model/names.ts';
import type { Log } from '../../../src/model/ports/log.ts';
import type { Watch } from '../../../src/model/ports/watch.ts';
import {
  type ClusterRecord,
  type ExportRecord,
  type GatewayRecord,
  type RecordKey,
  recordKeyOf,
} from '../../../src/model/record.ts';
import type { Roster, RosterEntry, TrustState } from '../../../src/model/trust.ts';
import { waitFor } from '../../../src/runtime/watchable.ts';
import { domainOf } from './seals.ts';

export const east: ClusterName = parseClusterName('east');
export const west: ClusterName = parseClusterName('west');
export const south: ClusterName = parseClusterName('south');

export function exportOf(service: string, change: Partial<ExportRecord> = {}): ExportRecord {
  return {
    kind: 'export',
    service: parseServiceKey(service),
    type: 'ClusterSetIP',
    ports: [{ port: 80, protocol: 'TCP', name: 'http' }],
    allow: 'members',
    endpoints: { total: 1, ready: 1 },
    createdAt: 1_700_000_000_000,
    ...change,
  };
}

export function gatewayOf(instance: string, change: Partial<GatewayRecord> = {}): GatewayRecord {
  return {
    kind: 'gateway',
    instance: parseReplicaName(instance),
    addresses: [{ address: '127.0.0.1', port: 15_008, kind: 'instance', instances: 1 }],
    reachable: true,
    draining: false,
    version: '0.1.0',
    ...change,
  };
}

export function keyed(...records: readonly ClusterRecord[]): ReadonlyMap<RecordKey, ClusterRecord> {
  return new Map(records.map((record) => [recordKeyOf(record), record]));
}

export function entryOf(cluster: ClusterName, change: Partial<RosterEntry> = {}): RosterEntry {
  return {
    cluster,
    trustDomain: domainOf(cluster),
    state: 'active',
    caKeyIds: [],
    labels: {},
    exportable: ['*'],
    ...change,
  };
}

export function rosterOf(...entries: readonly RosterEntry[]): Roster {
  return {
    federationDomain: parseTrustDomain('mesh.example'),
    sequence: 1,
    issuedAt: 0,
    clusters: new Map(entries.map((entry) => [entry.cluster, entry])),
    deniedKeyIds: [],
  };
}

export function trustOf(...entries: readonly RosterEntry[]): TrustState {
  return { federationDomain: parseTrustDomain('mesh.example'), roster: rosterOf(...entries), bundles: new Map() };
}

/** Says nothing; what would have been a warning is collected. */
export function quietLog(lines: { readonly fields: object; readonly message: string }[] = []): Log {
  const log: Log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (fields, message) => void lines.push({ fields, message }),
    error: (fields, message) => void lines.push({ fields, message }),
    child: () => log,
  };
  return log;
}

/** Resolves with the first value that passes; rejects, showing the last one, after `withinMs`. */
export async function eventually<T>(source: Watch<T>, accept: (value: T) => boolean, withinMs = 20_000): Promise<T> {
  const timeout = AbortSignal.timeout(withinMs);
  try {
    return await waitFor(source, (value): value is T => accept(value), timeout);
  } catch {
    throw new Error(`not seen within ${withinMs} ms; last: ${show(source.current)}`);
  }
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (inner instanceof Map ? Object.fromEntries(inner) : inner), 1);
}

export async function tempDir(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'isthmus-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
