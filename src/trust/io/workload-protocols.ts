import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { loadService } from '../../runtime/io/grpc.ts';

/** Messages of `proto/istio/ca.proto` and `proto/spiffe/workload.proto` as proto-loader gives them. */

/** `google.protobuf.Struct`, undecoded: values are looked at only to refuse. */
export interface StructMessage {
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface IstioCertificateRequest {
  readonly csr: string;
  /** 64-bit, as text. */
  readonly validityDuration: string;
  readonly metadata: StructMessage | null;
}

export interface IstioCertificateResponse {
  readonly certChain: readonly string[];
}

export interface X509SvidMessage {
  readonly spiffeId: string;
  readonly x509Svid: Buffer;
  readonly x509SvidKey: Buffer;
  readonly bundle: Buffer;
}

export interface X509SvidResponse {
  readonly svids: readonly X509SvidMessage[];
  readonly federatedBundles: Readonly<Record<string, Buffer>>;
}

export interface X509BundlesResponse {
  readonly bundles: Readonly<Record<string, Buffer>>;
}

/** Definition to register the handlers of `istioHandlers` under. */
export const istioCertificateService: ServiceDefinition = loadService(
  'istio/ca.proto',
  'istio.v1.auth.IstioCertificateService',
).service;

/** Definition to register the handlers of the Workload API under. */
export const workloadApiService: ServiceDefinition = loadService('spiffe/workload.proto', 'SpiffeWorkloadAPI').service;

// The shapes above are those of the proto files; proto-loader itself knows no types.
export const createCertificateMethod = istioCertificateService['CreateCertificate'] as MethodDefinition<
  IstioCertificateRequest,
  IstioCertificateResponse
>;
