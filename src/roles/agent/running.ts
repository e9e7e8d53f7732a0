import type { Server } from '@grpc/grpc-js';
import type { AgentConfig } from '../../config/agent.ts';
import { type ConfigServer, createConfigServer } from '../../federation/io/config-server.ts';
import { type Publisher, startPublisher } from '../../federation/io/publisher.ts';
import { type Reader, startReader } from '../../federation/io/reader.ts';
import { startRosterReader } from '../../federation/io/roster-reader.ts';
import { createStaticSource, type StaticSource } from '../../federation/io/static-source.ts';
import { roleOf, trustDomainOf } from '../../model/identity.ts';
import type { ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { Log } from '../../model/ports/log.ts';
import { loadService } from '../../runtime/io/grpc.ts';
import type { GrpcListener, PeerCall } from '../../runtime/io/grpc-server.ts';
import { gatewayIdentityService } from '../../trust/io/authority-api.ts';
import type { VerifiedPeer } from '../../trust/io/call-identity.ts';
import { type BundleStore, openBundleStore } from '../../trust/io/bundle-store.ts';
import type { ClusterCa } from '../../trust/io/cluster-ca.ts';
import { Started } from '../shutdown.ts';
import { ImportPorts } from './import-ports.ts';
import { Mesh } from './mesh.ts';
import { TargetRates } from './status/rates.ts';

export interface RunningContext {
  readonly config: AgentConfig;
  readonly ca: ClusterCa;
  readonly hub: Hub;
  /** The services are added here; it listens already. */
  readonly server: Server;
  readonly listener: () => GrpcListener<VerifiedPeer | undefined> | undefined;
  /** Where gateways listen for imports. */
  readonly importHost: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** All parts of an agent that need its identity. */
export interface RunningAgent {
  readonly ca: ClusterCa;
  readonly publisher: Publisher;
  readonly reader: Reader;
  readonly bundles: BundleStore;
  readonly source: StaticSource;
  readonly importPorts: ImportPorts;
  readonly mesh: Mesh;
  readonly gateways: ConfigServer;
  readonly rates: TargetRates;
  close(): Promise<void>;
}

/** Starts, in order, everything between the hub and the gateways. Ends what it started if it fails. */
export async function startRunning(context: RunningContext): Promise<RunningAgent> {
  const { config, ca, hub, clock, log } = context;
  const { stateDir, timings } = config;
  const started = new Started(log);
  try {
    const publisher = await startPublisher({
      hub,
      cluster: ca.cluster,
      trustDomain: ca.trustDomain,
      sealer: ca.sealer,
      verifier: ca.sealVerifier,
      stateDir,
      clock,
      log,
      leaseMs: timings.leaseMs,
    });
    started.add('publisher', () => publisher.close());
    const reader = await startReader({
      hub,
      self: ca.cluster,
      trust: ca.trust,
      verifier: ca.sealVerifier,
      stateDir,
      clock,
      log,
      pollMs: timings.pollMs,
      liveness: { suspectMs: timings.suspectMs, deadMs: timings.deadMs },
    });
    started.add('reader', () => reader.close());
    const bundles = await openBundleStore({
      stateDir,
      federationDomain: ca.federationDomain,
      verifier: ca.sealVerifier,
      log,
    });
    started.add('bundles', () => bundles.close());
    const rosters = startRosterReader({
      hub,
      onRoster: (sealed, chain) => void ca.acceptRoster(sealed, chain),
      onBundles: (sealed, chain) => !('detail' in bundles.offer(sealed, chain)),
      clock,
      log,
    });
    started.add('roster reader', () => rosters.close());
    const source = createStaticSource({
      services: config.services,
      healthCheck: config.healthCheck,
      clock,
      log,
    });
    started.add('services', () => source.close());
    const importPorts = await ImportPorts.open({
      stateDir,
      host: context.importHost,
      range: config.importPorts,
      fixed: config.importPorts.fixed,
      log,
    });
    const { failover, ...traffic } = config.policy;
    const mesh = new Mesh({
      self: ca.cluster,
      trust: ca.trust,
      reader,
      publisher,
      source,
      importPorts,
      failover,
      traffic,
      clock,
      onError: (thrown) => log.error({ err: thrown }, 'cannot compile the routes'),
    });
    started.add('mesh', () => mesh.close());
    mesh.start();
    const gateways = serveGateways(context, mesh);
    started.add('config server', () => gateways.close());
    const rates = followReports(gateways, clock, started);
    mesh.follow(gateways.gateways);
    return { ca, publisher, reader, bundles, source, importPorts, mesh, gateways, rates, close: () => started.end() };
  } catch (thrown) {
    await started.end();
    throw thrown;
  }
}

function serveGateways({ ca, server, listener, clock, log }: RunningContext, mesh: Mesh): ConfigServer {
  const peerOf = (call: PeerCall): VerifiedPeer | undefined => listener()?.peerOf(call);
  const identify = (call: PeerCall): { instance: ReplicaName } | undefined => {
    const peer = peerOf(call);
    const role = peer && trustDomainOf(peer.id) === ca.trustDomain ? roleOf(peer.id) : undefined;
    return role?.role === 'gateway' ? { instance: role.replica } : undefined;
  };
  const configServer = createConfigServer({
    self: ca.cluster,
    tables: mesh.table,
    trustUpdate: ca.trustUpdate,
    identify,
    clock,
    log,
  });
  const gatewayConfigService = loadService('isthmus/v1/agent.proto', 'isthmus.v1.GatewayConfig').service;
  server.addService(gatewayIdentityService, ca.identityHandlers(peerOf));
  server.addService(gatewayConfigService, configServer.handlers);
  return configServer;
}

function followReports(server: ConfigServer, clock: Clock, started: Started): TargetRates {
  const rates = new TargetRates();
  started.add(
    'rates',
    server.gateways.subscribe((gateways) => {
      rates.retain(new Set(gateways.keys()));
      for (const { report } of gateways.values()) if (report) rates.note(report, clock.now());
    }),
  );
  return rates;
}
