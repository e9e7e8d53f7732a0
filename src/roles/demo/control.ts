import type { DemoApi } from '../../admin/demo-api.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { DemoClusterRow, DemoStatus } from '../../model/status.ts';
import type { DemoCluster } from './cluster.ts';
import { type DemoFederation, web } from './federation.ts';
import type { Show } from './show.ts';
import type { Traffic } from './traffic.ts';

export interface DemoControlOptions {
  readonly federation: DemoFederation;
  readonly traffic: readonly Traffic[];
  readonly hubName: string;
  readonly show: Show;
  readonly clock: Clock;
}

/** What `isthmus demo fail|restore|status` reach. */
export function demoApi({ federation, traffic, hubName, show, clock }: DemoControlOptions): DemoApi {
  const startedAt = clock.monotonic();
  const sum = (of: (each: Traffic) => number): number => traffic.reduce((total, each) => total + of(each), 0);
  return {
    status: (): DemoStatus => ({
      kind: 'demo',
      service: web,
      hub: hubName,
      uptimeMs: clock.monotonic() - startedAt,
      requests: {
        sent: sum((each) => each.counts.sent),
        failed: sum((each) => each.counts.failed),
        interrupted: sum((each) => each.counts.interrupted),
      },
      clusters: [...federation.clusters.values()].map(clusterRow),
    }),
    async fail(name): Promise<void> {
      const cluster = federation.cluster(name);
      for (const each of traffic) each.noteKill(name);
      for (const workload of cluster.workloads) workload.kill();
      show.note(`${name}: all instances killed`);
    },
    async restore(name): Promise<void> {
      await federation.cluster(name).restore();
      show.note(`${name}: instances are back; held 1 s, then returning over 3 s`);
    },
  };
}

function clusterRow(cluster: DemoCluster): DemoClusterRow {
  const { workloads, gateway } = cluster;
  const running = workloads.filter((workload) => workload.running).length;
  const entry = cluster.importPort(web, 80);
  return {
    cluster: cluster.name,
    instances: { ready: running, total: workloads.length },
    failed: running < workloads.length,
    adminSocket: cluster.adminSocket,
    gateway: `127.0.0.1:${gateway.gateway.hbonePort}`,
    ...(entry !== undefined && { entry: `127.0.0.1:${entry}` }),
  };
}
