import { parseServiceKey } from '../../src/model/names.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { serviceRoute, type ServiceSpec } from '../../test/gateway/support/mesh.ts';
import { roomy, routeTo, settled, type SpawnOptions, spawnGateway } from '../../test/gateway/support/spawn-gateway.ts';
import { freePort } from '../../test/support/ports.ts';
import type { Contestant, Stage } from './peers.ts';

const service = 'shop/web';

/** One gateway process, the real one: a client of its own cluster, and an endpoint there. */
export async function isthmus(stage: Stage): Promise<Contestant> {
  const port = await freePort();
  const { backendPort } = stage;
  const route = routeOf(stage, { self: 'west', importPort: port, local: [backendPort] });
  const gateway = await spawnGateway({ ...common(stage, 'west'), services: [route] });
  await settled(gateway, 0, 1);
  return { name: 'isthmus', port, pids: [gateway.child.pid], close: () => gateway.end('SIGTERM') };
}

/** Two of them, the endpoint being in the other's cluster: requests are told apart by the first one only. */
export async function isthmusPair(stage: Stage): Promise<Contestant> {
  const { backendPort } = stage;
  const exported = routeOf(stage, { self: 'east', local: [backendPort] });
  const east = await spawnGateway({ ...common(stage, 'east'), services: [exported] });
  const port = await freePort();
  const imported = routeOf(stage, { self: 'west', importPort: port, remote: ['east'], exported: false });
  const routes = [routeTo('east', [east.hbonePort])];
  const west = await spawnGateway({ ...common(stage, 'west'), services: [imported], routes });
  await settled(west, 1, 1);
  return {
    name: 'isthmus',
    port,
    pids: [west.child.pid, east.child.pid],
    close: async () => void (await Promise.all([west.end('SIGTERM'), east.end('SIGTERM')])),
  };
}

/** Retries as they are without a policy, metrics counted; `accessLog` 0 as 1: its sampling is there. */
function common({ ca, core, dir, logs, nodeArguments }: Stage, cluster: string): SpawnOptions {
  const log = `${dir}/isthmus-${cluster}.log`;
  return {
    ca,
    core,
    cluster,
    clusters: ['west', 'east'],
    limits: roomy.limits,
    nodeArguments,
    accessLogShare: logs ? 1 : 0,
    launcher: ['sh', '-c', 'exec "$@" 2>>"$0"', log],
  };
}

function routeOf({ h2 }: Stage, spec: ServiceSpec): ServiceRoute {
  const route = serviceRoute({ ...spec, service });
  const name = h2 ? 'grpc' : 'http';
  return {
    ...route,
    key: parseServiceKey(service),
    ports: route.ports.map((port) => ({ ...port, name })),
    connection: roomy.connection,
  };
}
