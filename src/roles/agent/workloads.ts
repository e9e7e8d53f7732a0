import type { Server } from '@grpc/grpc-js';
import type { AgentConfig } from '../../config/agent.ts';
import type { JwtIssuerConfig, WorkloadSocketConfig } from '../../config/workloads.ts';
import { blame } from '../../config/source.ts';
import { domainId, parseSpiffeId } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { CallIdentity } from '../../trust/io/call-identity.ts';
import type { ClusterCa } from '../../trust/io/cluster-ca.ts';
import { serveWorkloadApi, type WorkloadSocket } from '../../trust/io/workload-api.ts';
import { istioHandlers } from '../../trust/io/workload-istio.ts';
import { createJwtAttestor, type JwtIssuer } from '../../trust/io/workload-jwt.ts';
import { istioCertificateService } from '../../trust/io/workload-protocols.ts';
import { createRenewalAttestor } from '../../trust/workload/attest.ts';
import { Started } from '../shutdown.ts';

export interface WorkloadsContext {
  readonly config: AgentConfig;
  readonly ca: ClusterCa;
  /** The certificate signing API is added here. */
  readonly server: Server;
  readonly peerOf: CallIdentity;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Gives workloads their identities: Istio's certificate signing API on the agent's listener, the SPIFFE Workload API on
 * Unix sockets. @throws IsthmusError naming the value of the file that is to blame; nothing is then left running
 */
export async function serveWorkloads(context: WorkloadsContext): Promise<{ close(): Promise<void> }> {
  const { config, ca, server, peerOf, clock, log } = context;
  const { jwt, sockets } = config.workloads;
  const started = new Started(log);
  try {
    const attestor = await createJwtAttestor({
      issuers: jwt.map(issuerOf),
      trustDomain: ca.trustDomain,
      clock,
      log,
    }).catch((thrown: unknown) => {
      throw blame(thrown, config.source, 'workloads.jwt');
    });
    const attestors = [createRenewalAttestor(ca.trustDomain), attestor];
    const { issuance } = ca;
    server.addService(
      istioCertificateService,
      istioHandlers({ issuance, attestors, peerOf, anchors: () => ca.anchors, log }),
    );
    for (const [index, each] of sockets.entries()) {
      const socket = socketOf(each, ca);
      const { cluster, trust } = ca;
      const api = await serveWorkloadApi({ socket, cluster, issuance, trust, clock, log }).catch((thrown: unknown) => {
        throw blame(thrown, config.source, `workloads.sockets[${index}]`);
      });
      started.add(`workload socket ${each.path}`, () => api.close());
    }
    return { close: () => started.end() };
  } catch (thrown) {
    await started.end();
    throw thrown;
  }
}

function issuerOf({ issuer, audience, keysFile, keys, subject }: JwtIssuerConfig): JwtIssuer {
  return { issuer, audience, subject, keys: keysFile === undefined ? { jwks: keys } : { file: keysFile } };
}

function socketOf(
  { path, spiffeId, serviceAccount, uid }: WorkloadSocketConfig,
  { trustDomain }: ClusterCa,
): WorkloadSocket {
  const [namespace, name] = (serviceAccount ?? '').split('/');
  const id = spiffeId ?? parseSpiffeId(`${domainId(trustDomain)}/ns/${namespace}/sa/${name}`);
  return { path, id, uid: uid ?? process.getuid?.() ?? 0 };
}
