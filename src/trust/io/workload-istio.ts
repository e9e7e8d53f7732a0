import type { Metadata, ServerUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import type { Attestor, Evidence } from '../../model/ports/attestor.ts';
import type { Log } from '../../model/ports/log.ts';
import { pemOf } from '../../runtime/io/tls.ts';
import { attestCaller } from '../issue/attest-caller.ts';
import { readIstioRequest } from '../workload/istio-request.ts';
import { answer } from './answer.ts';
import type { CallIdentity } from './call-identity.ts';
import type { ClusterIssuance } from './cluster-issuance.ts';
import type { IstioCertificateRequest, IstioCertificateResponse } from './workload-protocols.ts';

export interface IstioHandlersOptions {
  readonly issuance: ClusterIssuance;
  readonly attestors: readonly Attestor[];
  readonly peerOf: CallIdentity;
  /** DER. */
  readonly anchors: () => readonly Uint8Array[];
  readonly log: Log;
}

type Call = ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;

/**
 * Handlers of `istio.v1.auth.IstioCertificateService`. Names in the certificate follow from what the caller proved; the
 * request gives a key, the header `clusterid` nothing at all.
 */
export function istioHandlers(options: IstioHandlersOptions): UntypedServiceImplementation {
  const { issuance, attestors, peerOf, anchors, log } = options;
  return {
    CreateCertificate: answer<IstioCertificateRequest, IstioCertificateResponse>(
      'CreateCertificate',
      log,
      async (call) => {
        issuance.arrive(call.getPeer());
        const attestation = await attestCaller(attestors, evidenceOf(call, peerOf));
        const { csr, lifeMs } = readIstioRequest(call.request);
        const { chain } = await issuance.issueForWorkload({
          attestation,
          csr,
          ...(lifeMs !== undefined && { lifeMs }),
        });
        log.debug({ id: attestation.id, by: attestation.by }, 'workload certified');
        // Each PEM a string of its own with its closing newline; clients take the last one for the root.
        return { certChain: [...chain, ...anchors()].map((certificate) => pemOf(certificate)) };
      },
    ),
  };
}

function evidenceOf(call: Call, peerOf: CallIdentity): Evidence {
  const bearer = bearerOf(call.metadata);
  const peer = peerOf(call)?.id;
  return { ...(bearer !== undefined && { bearer }), ...(peer !== undefined && { peer }) };
}

/** RFC 6750 §2.1; the scheme's name is case-insensitive (RFC 9110 §11.1). */
function bearerOf(metadata: Metadata): string | undefined {
  const given = metadata.get('authorization');
  if (given.length === 0) return undefined;
  const [value] = given;
  const token = typeof value === 'string' ? /^bearer +(\S+)$/i.exec(value)?.[1] : undefined;
  if (given.length > 1 || token === undefined) {
    throw new IsthmusError('unauthenticated', `The header 'authorization' must be one 'Bearer <token>'`);
  }
  return token;
}
