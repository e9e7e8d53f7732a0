import {
  type ChannelCredentials,
  type ChannelOptions,
  type Client,
  experimental,
  type MethodDefinition,
  type VerifyOptions,
} from '@grpc/grpc-js';
import type { DetailedPeerCertificate, SecureContext } from 'node:tls';
import { IsthmusError } from '../../model/error.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { fromGrpcFailure } from '../grpc-status.ts';
import { type ChainCheck, pemOf, secureContextOf, type TlsMaterial, walkChain } from './tls.ts';

/**
 * Options for every channel between roles. Keepalive finds a dead peer in about 1.5 s. The name is only what goes into
 * SNI: who the server is, is decided by its SPIFFE ID.
 */
export const channelOptions: ChannelOptions = {
  'grpc.ssl_target_name_override': 'isthmus.internal',
  'grpc.keepalive_time_ms': 1000,
  'grpc.keepalive_timeout_ms': 500,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  'grpc.max_receive_message_length': 16 << 20,
  'grpc.enable_retries': 0,
  // Channels with the same target and options would otherwise share connections across credentials' lives.
  'grpc.use_local_subchannel_pool': 1,
};

export interface ChannelIdentity {
  /** Each new connection uses what is current; while undefined, connecting waits. */
  readonly material: Watch<TlsMaterial | undefined>;
  /** False: the client has no certificate (enrolment). */
  readonly withIdentity: boolean;
  /** Judges the server's chain, after OpenSSL verified it against the anchors. */
  readonly check: ChainCheck<unknown>;
}

type CaUpdate = { readonly caCertificate: Buffer };
type IdentityUpdate = { readonly certificate: Buffer; readonly privateKey: Buffer };

/** Feeds grpc-js from a `Watch`, and is subscribed to it only as long as a channel listens. */
class MaterialProvider {
  readonly #source: Watch<TlsMaterial | undefined>;
  readonly #ends = new Map<unknown, () => void>();

  constructor(source: Watch<TlsMaterial | undefined>) {
    this.#source = source;
  }

  addCaCertificateListener(listener: (update: CaUpdate | null) => void): void {
    this.#add(listener, ({ anchors }) => {
      listener({ caCertificate: Buffer.from(anchors.map((der) => pemOf(der)).join('')) });
    });
  }

  removeCaCertificateListener(listener: unknown): void {
    this.#remove(listener);
  }

  addIdentityCertificateListener(listener: (update: IdentityUpdate | null) => void): void {
    this.#add(listener, ({ identity }) => {
      if (!identity) return;
      listener({
        certificate: Buffer.from(identity.chain.map((der) => pemOf(der)).join('')),
        privateKey: Buffer.from(identity.keyPem),
      });
    });
  }

  removeIdentityCertificateListener(listener: unknown): void {
    this.#remove(listener);
  }

  #add(listener: unknown, feed: (material: TlsMaterial) => void): void {
    const forward = (material: TlsMaterial | undefined): void => {
      if (material) feed(material);
    };
    this.#ends.set(listener, this.#source.subscribe(forward));
    // Asynchronously, as grpc-js expects of providers.
    queueMicrotask(() => forward(this.#source.current));
  }

  #remove(listener: unknown): void {
    this.#ends.get(listener)?.();
    this.#ends.delete(listener);
  }
}

/** Credentials that follow the identity and the anchors of this process without a new channel. */
export function channelCredentials(identity: ChannelIdentity): ChannelCredentials {
  const provider = new MaterialProvider(identity.material);
  const verify: VerifyOptions = {
    checkServerIdentity: (_host, certificate) => {
      try {
        // tls passes the detailed form, which grpc-js' types do not say.
        identity.check(walkChain(certificate as DetailedPeerCertificate));
        return undefined;
      } catch (thrown) {
        return IsthmusError.from(thrown, 'unauthenticated');
      }
    },
  };
  const own = identity.withIdentity ? provider : null;
  const credentials = experimental.createCertificateProviderChannelCredentials(provider, own, verify);
  ownContexts(credentials, identity);
  return credentials;
}

/** The part of grpc-js' credentials that makes TLS contexts; a test of an anchor below a root notices when it moves. */
interface ContextMaker {
  getLatestSecureContext(): SecureContext | null;
}

/** Lets grpc-js use the contexts of all our other connections: TLS 1.3 only, and anchors that are no roots. */
function ownContexts(credentials: ChannelCredentials, { material, withIdentity }: ChannelIdentity): void {
  const contexts = new WeakMap<TlsMaterial, SecureContext>();
  (credentials as unknown as ContextMaker).getLatestSecureContext = () => {
    const { current } = material;
    if (!current || (withIdentity && !current.identity)) return null;
    const context = contexts.get(current) ?? secureContextOf(withIdentity ? current : { anchors: current.anchors });
    contexts.set(current, context);
    return context;
  };
}

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** One request, one answer. @throws IsthmusError with the code that the status stands for */
export function callUnary<Request, Response>(
  client: Client,
  method: MethodDefinition<Request, Response>,
  request: Request,
  options: CallOptions,
): Promise<Response> {
  const what = `${method.path} at ${client.getChannel().getTarget()}`;
  return new Promise((resolve, reject) => {
    const { signal, timeoutMs } = options;
    const call = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      { deadline: Date.now() + timeoutMs },
      (error, response) => {
        signal?.removeEventListener('abort', abort);
        if (error) reject(fromGrpcFailure(what, error));
        else if (response === undefined) reject(new IsthmusError('corrupt', `${what}: an empty answer`));
        else resolve(response);
      },
    );
    const abort = (): void => call.cancel();
    if (signal?.aborted) call.cancel();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
