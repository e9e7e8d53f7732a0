import type { Socket } from 'node:net';
import type { AccessLogEntry } from '../../../../src/gateway/access-log.ts';
import type { GatewayLimits } from '../../../../src/gateway/limits.ts';
import type { AccessPlan, AccessRule } from '../../../../src/model/access.ts';
import { parseSpiffeId, type SpiffeId } from '../../../../src/model/identity.ts';
import type { RouteTable, ServiceRoute } from '../../../../src/model/route.ts';
import { judgeByPolicy } from '../../../../src/policy/access.ts';
import { type Backend, startBackend } from '../../../support/backend.ts';
import { freePort } from '../../../support/ports.ts';
import { createTestCa, type TestCa } from '../../support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from '../../support/mesh.ts';

/** A client's gateway in west, and the one in east that receives for shop/web:80, which speaks HTTP. */
export interface Pair {
  readonly ca: TestCa;
  /** Where clients in west connect. */
  readonly port: number;
  readonly west: Node;
  readonly east: Node;
  readonly backends: readonly Backend[];
  /** From now on whoever connects to west's gateway is this workload; undefined: nobody knows who it is. */
  speakAs(account: string | undefined): void;
  /** Changes east's service. */
  setEast(change: (route: ServiceRoute) => ServiceRoute): void;
  /** Changes west's view of it. */
  setWest(change: (route: ServiceRoute) => ServiceRoute): void;
  /** Who may do what in east; none: every member everything. */
  setAccess(...rules: readonly Partial<AccessRule>[]): void;
  /** Waits for so many entries of east's access log, and takes them out. */
  logged(count: number): Promise<AccessLogEntry[]>;
  close(): Promise<void>;
}

export interface PairOptions {
  /** One backend each. */
  readonly serve: readonly ((socket: Socket) => void)[];
  readonly protocol?: string;
  readonly limits?: { readonly west?: Partial<GatewayLimits>; readonly east?: Partial<GatewayLimits> };
  readonly metrics?: boolean;
}

/** The id of a workload of west. */
export function workload(account: string): SpiffeId {
  return parseSpiffeId(`spiffe://west.mesh.test/ns/shop/sa/${account}`);
}

/** What nobody says is for everybody. */
export function accessPlan(rules: readonly Partial<AccessRule>[]): AccessPlan {
  const whole = rules.map((rule): AccessRule => ({ ...open, ...rule }));
  const enforced = whole.some(({ audit, action }) => !audit && action === 'allow');
  return { otherwise: enforced ? 'deny' : 'allow', why: enforced ? 'no rule allows' : 'allow: members', rules: whole };
}

const open: AccessRule = {
  policy: 'AccessPolicy shop/web of east',
  action: 'allow',
  audit: false,
  from: undefined,
  ports: undefined,
};

export async function startPair(options: PairOptions): Promise<Pair> {
  const ca = createTestCa();
  let caller: SpiffeId | undefined;
  const shared = { ca, clusters: ['west', 'east'], ...(options.metrics && { metrics: true }) };
  const { limits, protocol: appProtocol = 'http' } = options;
  const [west, east] = await Promise.all([
    startNode('west', {
      ...shared,
      ...(limits?.west && { limits: limits.west }),
      more: { identities: { of: () => caller } },
    }),
    startNode('east', { ...shared, ...(limits?.east && { limits: limits.east }), more: { access: judgeByPolicy } }),
  ]);
  const backends = await Promise.all(options.serve.map((serve) => startBackend(serve)));
  const port = await freePort();
  const own = serviceRoute({ self: 'east', local: backends.map((backend) => backend.port) });
  let eastRoute: ServiceRoute = { ...own, ports: [{ port: 80, importPort: undefined, appProtocol }] };
  const imported = serviceRoute({ self: 'west', importPort: port, remote: ['east'], exported: false });
  let westRoute: ServiceRoute = { ...imported, ports: [{ port: 80, importPort: port, appProtocol }] };
  const set = (node: Node, table: RouteTable): void => node.table.set(table);
  const setEast: Pair['setEast'] = (change) => {
    eastRoute = change(eastRoute);
    set(east, tableOf(east, [eastRoute], []));
  };
  const setWest: Pair['setWest'] = (change) => {
    westRoute = change(westRoute);
    set(west, tableOf(west, [westRoute], [clusterRoute([east])]));
  };
  setEast((route) => route);
  setWest((route) => route);
  await linksUp(west, 1);
  await until('import port', () => west.gateway.importPorts().size === 1);
  return {
    ca,
    port,
    west,
    east,
    backends,
    setEast,
    setWest,
    speakAs(account) {
      caller = account === undefined ? undefined : workload(account);
    },
    setAccess: (...rules) =>
      setEast((route) => {
        const { access: _before, ...others } = route;
        return rules.length === 0 ? others : { ...others, access: accessPlan(rules) };
      }),
    async logged(count) {
      await until(`${count} entries of east's access log`, () => east.access.length >= count);
      return east.access.splice(0);
    },
    async close() {
      await Promise.all([west.gateway.close(), east.gateway.close(), ...backends.map((backend) => backend.close())]);
      ca.close();
    },
  };
}
