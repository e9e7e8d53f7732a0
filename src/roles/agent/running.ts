import type { Server } from '@grpc/grpc-js';
import type { AgentConfig } from '../../config/agent.ts';
import { AgeBook } from '../../federation/io/age-book.ts';
import { type ConfigServer, createConfigServer } from '../../federation/io/config-server.ts';
import { type Publisher, startPublisher } from '../../federation/io/publisher.ts';
import { type Reader, startReader } from '../../federation/io/reader.ts';
import { startRosterReader } from '../../federation/io/roster-reader.ts';
import { createStaticSource, type StaticList, type StaticSource } from '../../federation/io/static-source.ts';
import { type EventKind, EventList } from '../../federation/event-list.ts';
import { placeIn } from '../../federation/refusal.ts';
import { IsthmusError } from '../../model/error.ts';
import { roleOf, trustDomainOf } from '../../model/identity.ts';
import type { ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import { authorityPartition, type Hub } from '../../model/ports/hub.ts';
import type { LeaderElector } from '../../model/ports/leader-elector.ts';
import type { Log } from '../../model/ports/log.ts';
import { loadService } from '../../runtime/io/grpc.ts';
import type { GrpcListener, PeerCall } from '../../runtime/io/grpc-server.ts';
import { gatewayIdentityService } from '../../trust/io/authority-api.ts';
import type { VerifiedPeer } from '../../trust/io/call-identity.ts';
import type { BundleOffer } from '../../trust/bundle/bundle-holder.ts';
import type { RosterOffer } from '../../trust/roster-holder.ts';
import { type BundleStore, openBundleStore } from '../../trust/io/bundle-store.ts';
import type { ClusterCa } from '../../trust/io/cluster-ca.ts';
import { isPresent, waitFor, Watchable } from '../../runtime/watchable.ts';
import { startSelfCheck } from '../../trust/io/self-check.ts';
import { bundlesRecordKey } from '../../wire/bundle.ts';
import { Started } from '../shutdown.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { ImportPorts } from './import-ports.ts';
import { Announcer } from './announcer.ts';
import { importRecords } from './imports.ts';
import { Leading } from './leading.ts';
import { LiveServices } from './live-services.ts';
import { Mesh } from './mesh.ts';
import { PolicyDesk } from './policy/desk.ts';
import { FailoverBook } from './policy/failovers.ts';
import { PolicyFiles } from './policy/files.ts';
import { filePolicyStore, sharedPolicyStore } from './policy/store.ts';
import { TargetRates } from './status/rates.ts';
import { serveWorkloads } from './workloads.ts';

export interface RunningContext {
  readonly config: AgentConfig;
  readonly ca: ClusterCa;
  readonly hub: Hub;
  /** The services are added here; it listens already. */
  readonly server: Server;
  readonly listener: () => GrpcListener<VerifiedPeer | undefined> | undefined;
  /** As the configuration lists them at the start. */
  readonly services: StaticList;
  /** Decides which replica writes. */
  readonly elector: LeaderElector;
  /** Resolves when another replica turns out to lead. */
  readonly standingBy: Promise<void>;
  /** Standing for election failed for good, later than at the start. */
  readonly onFailure: (thrown: unknown) => void;
  /** The replica that led has taken the cluster out of the federation: this one is to stop too. */
  readonly onLeft: () => void;
  /** Where gateways listen for imports. */
  readonly importHost: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** All parts of an agent that need its identity. */
export interface RunningAgent {
  readonly ca: ClusterCa;
  /** Undefined: another replica leads. */
  readonly publisher: () => Publisher | undefined;
  /** Undefined: another replica leads. */
  readonly announcer: () => Announcer | undefined;
  /** What happened to partitions of the hub. */
  readonly events: EventList;
  readonly reader: Reader;
  readonly bundles: BundleStore;
  readonly source: StaticSource;
  /** The files that the source is read from. */
  readonly services: LiveServices;
  readonly importPorts: ImportPorts;
  readonly mesh: Mesh;
  readonly gateways: ConfigServer;
  readonly rates: TargetRates;
  readonly desk: PolicyDesk;
  readonly policyFiles: PolicyFiles;
  readonly failovers: FailoverBook;
  readonly acknowledgements: Acknowledgements;
  close(): Promise<void>;
}

/** What it means when a roster or bundles in the hub are not taken. */
const offerEvents = { older: 'rollback', conflicting: 'equivocation', refused: 'distrusted' } as const;

/** Starts, in order, everything between the hub and the gateways. Ends what it started if it fails. */
export async function startRunning(context: RunningContext): Promise<RunningAgent> {
  const { config, ca, hub, clock, log } = context;
  const { stateDir, timings } = config;
  const started = new Started(log);
  const standsBy = new Watchable(true);
  const events = new EventList();
  try {
    const reader = await startReader({
      hub,
      self: ca.cluster,
      readsSelf: standsBy,
      trust: ca.trust,
      verifier: ca.sealVerifier,
      stateDir,
      clock,
      log,
      pollMs: timings.pollMs,
      liveness: { suspectMs: timings.suspectMs, deadMs: timings.deadMs, recoverMs: timings.recoverMs },
      onEvent: (cluster, kind, detail) => events.add({ cluster, kind, detail }, clock.now()),
    });
    started.add('reader', () => reader.close());
    const bundles = await openBundleStore({
      stateDir,
      federationDomain: ca.federationDomain,
      verifier: ca.sealVerifier,
      log,
    });
    started.add('bundles', () => bundles.close());
    const refused = (kind: EventKind, key: string, rule: string): void =>
      events.add(
        { cluster: authorityPartition, kind, detail: `${placeIn(hub.name, authorityPartition, key)}: ${rule}` },
        clock.now(),
      );
    const taken = (key: string, offer: RosterOffer | BundleOffer): boolean => {
      if (!('detail' in offer)) return true;
      refused(offerEvents[offer.result], key, offer.detail);
      return false;
    };
    const rosters = startRosterReader({
      hub,
      onRoster: (sealed, chain) => void taken('head', ca.acceptRoster(sealed, chain)),
      onBundles: (sealed, chain) => taken(bundlesRecordKey, bundles.offer(sealed, chain)),
      onRefusal: ({ reason, key, rule }) => refused(reason, key, rule),
      clock,
      log,
    });
    started.add('roster reader', () => rosters.close());
    const source = createStaticSource({ ...context.services, clock, log });
    started.add('services', () => source.close());
    const services = new LiveServices({ config, source, clock, log });
    started.add('services files', () => services.close());
    services.start();
    const importPorts = await ImportPorts.open({
      stateDir,
      host: context.importHost,
      range: config.importPorts,
      fixed: config.importPorts.fixed,
      clock,
      log,
    });
    started.add('import ports', () => importPorts.close());
    const ages = await AgeBook.open({ stateDir, clock, log });
    started.add('ages', () => ages.close());
    const { failover, ...traffic } = config.policy;
    const store = config.leaderLock === undefined ? filePolicyStore(stateDir, log) : sharedPolicyStore;
    const desk = new PolicyDesk({
      self: ca.cluster,
      store,
      clock,
      log,
      onEvent: (cluster, kind, detail) => events.add({ cluster, kind, detail }, clock.now()),
    });
    const onFiles = desk.setFiles.bind(desk);
    const policyFiles = new PolicyFiles({ paths: config.policies, onFiles, clock, log });
    started.add('policy files', () => policyFiles.close());
    await policyFiles.start();
    const mesh = new Mesh({
      self: ca.cluster,
      trust: ca.trust,
      partitions: reader.partitions,
      ages,
      source,
      importPorts,
      desk,
      failover,
      traffic,
      log,
      onNotice: (cluster, { reason, message: detail }) =>
        events.add({ cluster, kind: noticeKinds[reason], detail }, clock.now()),
    });
    started.add('mesh', () => mesh.close());
    mesh.start();
    const gateways = serveGateways(context, mesh);
    started.add('config server', () => gateways.close());
    const rates = followReports(gateways, clock, started);
    const failovers = new FailoverBook();
    started.add(
      'failovers',
      gateways.gateways.subscribe((connected) => failovers.note(connected.values(), clock.now())),
    );
    const acknowledgements = startAcknowledgements(context, { reader, gateways });
    started.add('acknowledgements', () => acknowledgements.close());
    const peerOf = (call: PeerCall): VerifiedPeer | undefined => context.listener()?.peerOf(call);
    const workloads = await serveWorkloads({ config, ca, server: context.server, peerOf, clock, log });
    started.add('workloads', () => workloads.close());
    const leading = new Leading<LeadingPart>({
      elector: context.elector,
      begin: () =>
        lead(context, { mesh, source, gateways, importPorts, acknowledgements, reader, events, desk, standsBy }),
      end: async (part) => {
        part.endAcks();
        part.endPolicies();
        desk.follow();
        part.announcer.close();
        mesh.lead(undefined);
        standsBy.set(true);
        await part.publisher.close();
      },
      log,
    });
    started.add('leadership', () => leading.close());
    const failed = leading.start();
    failed.catch((thrown: unknown) => context.onFailure(thrown));
    await Promise.race([failed, waitFor(leading.part, isPresent), context.standingBy]);
    const publisher = (): Publisher | undefined => leading.part.current?.publisher;
    const announcer = (): Announcer | undefined => leading.part.current?.announcer;
    return {
      ca,
      publisher,
      announcer,
      events,
      reader,
      bundles,
      source,
      services,
      importPorts,
      mesh,
      gateways,
      rates,
      desk,
      policyFiles,
      failovers,
      acknowledgements,
      close: () => started.end(),
    };
  } catch (thrown) {
    await started.end();
    throw thrown;
  }
}

const noticeKinds = { NotExportable: 'not-exportable', AgeCorrected: 'age-corrected' } as const;

/** What only the leading replica runs. */
interface LeadingPart {
  readonly publisher: Publisher;
  readonly announcer: Announcer;
  readonly endAcks: () => void;
  readonly endPolicies: () => void;
}

interface LeadingContext
  extends Pick<
    RunningAgent,
    'mesh' | 'source' | 'gateways' | 'importPorts' | 'acknowledgements' | 'reader' | 'events' | 'desk'
  > {
  readonly standsBy: Watchable<boolean>;
}

async function lead(
  { config, ca, hub, onLeft, clock, log }: RunningContext,
  { mesh, source, gateways, importPorts, acknowledgements, reader, events, desk, standsBy }: LeadingContext,
): Promise<LeadingPart> {
  if (reader.partitions.current.get(ca.cluster)?.left) {
    onLeft();
    throw new IsthmusError('cancelled', `The replica that led has taken ${ca.cluster} out of the federation`);
  }
  await desk.lead(mesh.own);
  const publisher = await startPublisher({
    hub,
    cluster: ca.cluster,
    trustDomain: ca.trustDomain,
    sealer: ca.sealer,
    verifier: ca.sealVerifier,
    stateDir: config.stateDir,
    clock,
    log,
    leaseMs: config.timings.leaseMs,
    onEvent: (kind, detail) => events.add({ cluster: ca.cluster, kind, detail }, clock.now()),
  });
  const announcer = new Announcer({
    publisher,
    source,
    gateways: gateways.gateways,
    before: mesh.own,
    // Only replicas with state directories of their own have to be told; everybody else would have to read it too.
    more: () => [
      ...(config.leaderLock === undefined ? [] : importRecords(importPorts.current)),
      ...acknowledgements.records.current,
      ...desk.records(),
    ],
    clock,
  });
  mesh.lead(publisher.own);
  standsBy.set(false);
  announcer.start();
  const endAcks = acknowledgements.records.subscribe(() => announcer.announce());
  const endPolicies = desk.changes.subscribe(() => announcer.announce());
  return { publisher, announcer, endAcks, endPolicies };
}

function startAcknowledgements(
  { config, ca, listener, clock, log }: RunningContext,
  { reader, gateways }: Pick<RunningAgent, 'reader' | 'gateways'>,
): Acknowledgements {
  const selfCheck = startSelfCheck({
    listener: () => {
      const port = listener()?.port;
      return port === undefined ? undefined : { host: config.listen.grpc.host, port };
    },
    material: ca.listenerMaterial,
    trust: ca.trust,
    verifier: ca.peerVerifier,
    clock,
    log,
  });
  const { partitions } = reader;
  return new Acknowledgements({ ca, selfCheck, gateways: gateways.gateways, partitions, clock, log });
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
