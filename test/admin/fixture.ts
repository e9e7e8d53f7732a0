import type { AgentApi } from '../../src/admin/agent-api.ts';
import type { Log } from '../../src/model/ports/log.ts';
import type { AgentStatus, ServiceDetail } from '../../src/model/status.ts';

/** A log that remembers its errors. */
export function recordingLog(): Log & { readonly errors: string[] } {
  const errors: string[] = [];
  const ignore = (): void => undefined;
  const log = {
    errors,
    debug: ignore,
    info: ignore,
    warn: ignore,
    error: (_fields: object, message: string): void => void errors.push(message),
    child: (): Log => log,
  };
  return log;
}

export const agentStatus: AgentStatus = {
  kind: 'agent',
  cluster: 'west',
  federationDomain: 'mesh.example',
  replica: 'agent-0',
  leader: true,
  version: '1.2.3',
  uptimeMs: 61_000,
  hub: { name: 'redis://127.0.0.1:6379', connected: true, forMs: 60_000 },
  authority: { name: '127.0.0.1:8443', connected: true, forMs: 59_000, rosterSequence: 7, rosterAgeMs: 5000 },
  identity: { intermediateExpiresInMs: 30 * 86_400_000, agentExpiresInMs: 3_600_000 },
  publisher: { epoch: 5, revision: 12, pending: false, committedAgoMs: 200 },
  members: { live: 3, suspect: 0, dead: 0, unknown: 0 },
  gateways: { connected: 1, ready: 1 },
  services: { exported: 1, imported: 2 },
  waitingFor: [],
  warnings: [],
};

export const web: ServiceDetail = {
  service: 'shop/web',
  ports: [{ port: 80, importPort: 20_080 }],
  exported: true,
  clusters: ['east', 'west'],
  healthy: { ready: 8, total: 8 },
  state: 'Spill',
  targets: [
    {
      cluster: 'east',
      healthy: { ready: 3, total: 3 },
      share: 0.88,
      rate: 412,
      success: 0.9998,
      active: 4,
      connections: 9,
      failures: 1,
      state: 'Active',
      why: 'local preferred',
    },
    {
      cluster: 'west',
      healthy: { ready: 5, total: 5 },
      share: 0.12,
      active: 0,
      connections: 2,
      failures: 0,
      state: 'Spill',
      why: 'east below 70% health',
    },
  ],
  conflicts: [],
};

/** An agent that always answers the same. */
export function fixedAgent(changes: Partial<AgentApi> = {}): AgentApi {
  return {
    status: () => agentStatus,
    clusters: () => [],
    links: () => [],
    services: () => [web],
    service: (key) => (key === web.service ? web : undefined),
    gateways: () => [],
    explain: ({ from, identity, service, port, request }) => ({
      from: from ?? 'west',
      to: `${service}:${port}`,
      steps: [
        { title: 'name', detail: `${service} is exported by east`, ok: true },
        ...(identity ? [{ title: 'access', detail: `${identity} ${request?.method} ${request?.path}` }] : []),
      ],
      ok: port === 80,
      verdict: port === 80 ? 'served by east' : 'nowhere to go',
    }),
    events: () => [
      {
        cluster: 'west',
        kind: 'rollback',
        detail: 'hub memory: 1.1 is older',
        count: 2,
        firstAgoMs: 9000,
        agoMs: 1000,
      },
    ],
    acceptHeld: (cluster) => ({ cluster, exports: cluster === 'west' ? 7 : 0 }),
    leave: ({ force }) =>
      Promise.resolve({ cluster: 'east', exports: 2, told: !force, ...(force && { problem: 'no hub' }) }),
    trustStatus: () => ({
      cluster: 'east',
      replica: 'agent-0',
      federationDomain: 'mesh.example',
      trustDomain: 'east.mesh.example',
      refusedRosters: { older: 0, conflicting: 0, unverified: 0 },
      authority: { connected: true, forMs: 0 },
      intermediate: { keyId: 'aa'.repeat(20), expiresInMs: 1000 },
      survivesAuthorityForMs: 1000,
      survivalEndsWith: 'east/agent-0',
      replicas: [],
      issued: [],
      journal: { records: 0, head: '00'.repeat(32) },
    }),
    bundles: () => ({ bundles: [], refused: { older: 0, conflicting: 0, unverified: 0 } }),
    bundle: () => undefined,
    issueGatewayToken: ({ gateway, ttlMs }) => ({ token: `token-of-${gateway}`, expiresAt: ttlMs ?? 0 }),
    ...changes,
  };
}
