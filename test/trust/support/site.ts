import { join } from 'node:path';
import { Server } from '@grpc/grpc-js';
import { type ClusterName, parseReplicaName } from '../../../src/model/names.ts';
import type { Clock } from '../../../src/model/ports/clock.ts';
import type { Attestor } from '../../../src/model/ports/attestor.ts';
import { type GrpcListener, listenGrpc } from '../../../src/runtime/io/grpc-server.ts';
import {
  type Authority,
  initAuthority,
  type OpenAuthorityOptions,
  openAuthority,
} from '../../../src/trust/io/authority.ts';
import { gatewayIdentityService } from '../../../src/trust/io/authority-api.ts';
import { optionalPeer, type VerifiedPeer } from '../../../src/trust/io/call-identity.ts';
import { type ClusterCa, type OpenClusterCaOptions, openClusterCa } from '../../../src/trust/io/cluster-ca.ts';
import { joinCluster } from '../../../src/trust/io/join.ts';
import { istioHandlers } from '../../../src/trust/io/workload-istio.ts';
import { istioCertificateService } from '../../../src/trust/io/workload-protocols.ts';
import { createRenewalAttestor } from '../../../src/trust/workload/attest.ts';
import type { Endings } from './endings.ts';
import { silent } from './environment.ts';
import { federationDomain } from './federation.ts';

const loopback = { host: '127.0.0.1', port: 0 };

export interface TestAuthority {
  readonly dir: string;
  readonly authority: Authority;
}

/** An authority in a directory of its own. */
export async function startTestAuthority(
  ends: Endings,
  clock: Clock,
  options: Partial<OpenAuthorityOptions> = {},
): Promise<TestAuthority> {
  const dir = await ends.directory();
  const stateDir = join(dir, 'authority');
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: { N: 1 << 12 } });
  const authority = await openAuthority({ stateDir, listen: loopback, clock, log: silent, ...options });
  ends.add(() => authority.close());
  return { dir, authority };
}

export interface TestAgentOptions extends Partial<OpenClusterCaOptions> {
  readonly cluster: ClusterName;
  readonly clock: Clock;
  readonly attestors?: (ca: ClusterCa) => Promise<readonly Attestor[]>;
}

export interface TestAgent {
  readonly ca: ClusterCa;
  readonly stateDir: string;
  readonly listener: GrpcListener<VerifiedPeer | undefined>;
  /** `host:port` of its gRPC listener. */
  readonly address: string;
}

/** The identity side of an agent: joined, its CA open, its gRPC calls served as the role does. */
export async function startTestAgent(ends: Endings, at: TestAuthority, options: TestAgentOptions): Promise<TestAgent> {
  const { cluster, clock, attestors, ...rest } = options;
  const stateDir = join(at.dir, cluster);
  const { token } = await at.authority.issueToken({ cluster });
  await joinCluster({ token, stateDir, replica: parseReplicaName('one'), clock, log: silent });
  const ca = await openClusterCa({ stateDir, clock, log: silent, ...rest });
  ends.add(() => ca.close());
  const server = new Server();
  const held: { listener?: GrpcListener<VerifiedPeer | undefined> } = {};
  const peerOf = (call: { getPeer(): string }): VerifiedPeer | undefined => held.listener?.peerOf(call);
  server.addService(gatewayIdentityService, ca.identityHandlers(peerOf));
  server.addService(
    istioCertificateService,
    istioHandlers({
      issuance: ca.issuance,
      attestors: [createRenewalAttestor(ca.trustDomain), ...((await attestors?.(ca)) ?? [])],
      peerOf,
      anchors: () => ca.anchors,
      log: silent,
    }),
  );
  held.listener = await listenGrpc({
    listen: loopback,
    server,
    material: () => ca.listenerMaterial.current,
    check: optionalPeer(ca.peerVerifier),
    log: silent,
  });
  const { listener } = held;
  ends.add(() => listener.close());
  ends.add(ca.trust.subscribe(() => listener.recheck()));
  return { ca, stateDir, listener, address: `127.0.0.1:${listener.port}` };
}
