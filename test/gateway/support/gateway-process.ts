import { createLog } from '../../../src/runtime/io/log.ts';
import type { Svid, TrustState } from '../../../src/model/trust.ts';
import type { RouteTable } from '../../../src/model/route.ts';
import { type Gateway, type GatewayOptions, startGateway } from '../../../src/gateway/io/gateway.ts';
import type { GatewayLimits } from '../../../src/gateway/limits.ts';
import type { ClusterName, ReplicaName } from '../../../src/model/names.ts';
import type { ListenAddress } from '../../../src/runtime/io/tcp-server.ts';
import { step } from '../../../src/policy/shares.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { keepYoungHeapSmall } from '../../../src/runtime/io/heap.ts';
import { Watchable } from '../../../src/runtime/watchable.ts';
import type { Log } from '../../../src/model/ports/log.ts';
import { TestVerifier } from './identities.ts';

/**
 * A gateway as a process of its own: the real one, fed with fixed routes and certificates by its parent over IPC, for
 * proofs that kill, freeze, pin or weigh it. SIGTERM drains it.
 */
export interface GatewaySpec {
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  readonly hbone: ListenAddress;
  readonly importHost: string;
  readonly svid: Svid;
  readonly trust: TrustState;
  readonly table: RouteTable;
  readonly limits: Partial<GatewayLimits>;
  readonly drainTimeoutMs: number;
  /** See `isLogged`; undefined: no access log. */
  readonly accessLogShare: number | undefined;
}

export type ToGateway =
  | { readonly kind: 'start'; readonly spec: GatewaySpec }
  | { readonly kind: 'table'; readonly table: RouteTable }
  /** `collect`: garbage first, so that only what is held is weighed. */
  | { readonly kind: 'ask'; readonly collect: boolean };

/** Bytes and counts of the process, and what its gateway reports. */
export interface GatewayState {
  readonly ready: boolean;
  /** Links to gateways of other clusters that are up. */
  readonly linksUp: number;
  readonly imports: number;
  readonly active: number;
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  readonly descriptors: number;
}

export type FromGateway =
  | { readonly kind: 'started'; readonly hbonePort: number }
  | { readonly kind: 'state'; readonly state: GatewayState }
  | { readonly kind: 'failed'; readonly message: string };

const say = (message: FromGateway): void => void process.send?.(message);
const verbose = process.env['ISTHMUS_TEST_LOG'] !== undefined;
const line =
  (level: string) =>
  (fields: object, message: string): void => {
    if (verbose) process.stderr.write(`${level} ${message} ${JSON.stringify(fields)}\n`);
  };
const log: Log = {
  debug: () => undefined,
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
  child: () => log,
};

// As the role does.
keepYoungHeapSmall();

/** As the role writes it. */
function accessLogOf(share: number): Pick<GatewayOptions, 'accessLog' | 'sampling'> {
  const lines = createLog('gateway', 'info', { write: (text: string) => void process.stderr.write(text) });
  const sampling = { share, random: () => systemClock.random() };
  return { accessLog: (entry) => lines.info(entry, 'connection'), sampling };
}

let gateway: Gateway | undefined;
let table: Watchable<RouteTable> | undefined;

async function start(spec: GatewaySpec): Promise<void> {
  table = new Watchable(spec.table);
  gateway = await startGateway({
    cluster: spec.cluster,
    instance: spec.instance,
    listen: { hbone: spec.hbone, importHost: spec.importHost },
    svid: new Watchable<Svid | undefined>(spec.svid),
    trust: new Watchable<TrustState | undefined>(spec.trust),
    verifier: new TestVerifier(),
    table,
    step,
    clock: systemClock,
    log,
    limits: spec.limits,
    ...(spec.accessLogShare !== undefined && accessLogOf(spec.accessLogShare)),
  });
  const running = gateway;
  process.once('SIGTERM', () => {
    void running
      .drain(spec.drainTimeoutMs)
      .then(() => running.close())
      .then(() => process.exit(0));
  });
  say({ kind: 'started', hbonePort: running.hbonePort });
}

async function stateNow(collect: boolean): Promise<GatewayState> {
  const { readdirSync } = await import('node:fs');
  if (collect) globalThis.gc?.();
  const report = gateway?.report();
  const memory = process.memoryUsage();
  const targets = report?.services.flatMap((service) => service.targets) ?? [];
  return {
    ready: report?.ready ?? false,
    linksUp: report?.links.filter((link) => link.up).length ?? 0,
    imports: gateway?.importPorts().size ?? 0,
    active: targets.reduce((sum, { active }) => sum + active, 0),
    rssBytes: memory.rss,
    heapUsedBytes: memory.heapUsed,
    descriptors: readdirSync('/proc/self/fd').length,
  };
}

process.on('message', (message: ToGateway) => {
  switch (message.kind) {
    case 'start':
      return void start(message.spec).catch((thrown: unknown) => say({ kind: 'failed', message: String(thrown) }));
    case 'table':
      return table?.set(message.table);
    case 'ask':
      return void stateNow(message.collect).then((state) => say({ kind: 'state', state }));
  }
});
// An orphan is of no use: its parent was killed before it could say so.
process.once('disconnect', () => process.exit(1));
