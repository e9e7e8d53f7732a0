import { constants } from 'node:crypto';
import { isIP } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { Agent, type buildConnector, request } from 'undici';
import { IsthmusError } from '../../model/error.ts';
import { type SpiffeId, type TrustDomain, trustDomainOf } from '../../model/identity.ts';
import { walkChain } from '../../runtime/io/tls.ts';
import { maxBundleBytes } from '../../wire/bundle.ts';
import { parseEndpointUrl } from '../bundle/endpoint-url.ts';
import { readBundle, type SpiffeBundle } from '../bundle/spiffe-bundle.ts';
import { trustOf } from '../verify/trust-state.ts';
import { checkTime, verifyPath } from '../verify/path.ts';

/**
 * How an endpoint proves itself (SPIFFE Federation §5.2). It is always said explicitly; a fetch that fails by one is
 * never tried by the other.
 */
export type EndpointProfile =
  | {
      readonly name: 'https_web';
      /** PEM anchors instead of the Web PKI. */
      readonly ca?: string;
    }
  | {
      readonly name: 'https_spiffe';
      /** Who the endpoint must prove to be. */
      readonly endpointId: SpiffeId;
      /** DER anchors of that id's trust domain. */
      readonly anchors: readonly Uint8Array[];
    };

export interface FetchBundleOptions {
  readonly url: string;
  readonly profile: EndpointProfile;
  /** Whose bundle it is; nothing in the document says so. */
  readonly trustDomain: TrustDomain;
  /** Wall clock in ms. */
  readonly now: () => number;
  /** From the first connection to the last byte, redirects included. Default 10 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const defaultTimeoutMs = 10_000;
/** SPIFFE Federation §7.5.1 asks to follow redirects, not to follow them for ever. */
const maxRedirects = 5;
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * Fetches the bundle of a trust domain once, bounded in time and size.
 * @throws IsthmusError `invalid` (URL, redirect), `unavailable`, `timeout`, `unauthenticated` (the endpoint is another),
 * `not-found`, `corrupt` (no bundle)
 */
export async function fetchBundle(options: FetchBundleOptions): Promise<SpiffeBundle> {
  const { profile, timeoutMs = defaultTimeoutMs, signal } = options;
  const first = parseEndpointUrl(options.url);
  const deadline = AbortSignal.timeout(timeoutMs);
  const ended = signal ? AbortSignal.any([deadline, signal]) : deadline;
  const agent = new Agent({
    connect: connectorOf(profile, options.now, ended),
    connections: 1,
    maxResponseSize: maxBundleBytes,
  });
  try {
    const bytes = await follow(first, agent, ended);
    return readBundle(options.trustDomain, bytes);
  } catch (thrown) {
    throw fetchError(thrown, { url: first, deadline, timeoutMs });
  } finally {
    await agent.destroy();
  }
}

/** Every target must be an endpoint in its own right and prove itself anew; none is remembered. */
async function follow(first: URL, agent: Agent, signal: AbortSignal): Promise<Uint8Array> {
  let url = first;
  for (let hops = 0; hops <= maxRedirects; hops += 1) {
    const { statusCode, headers, body } = await request(url, {
      dispatcher: agent,
      signal,
      headers: { accept: 'application/json' },
    });
    if (statusCode === 200) return new Uint8Array(await body.arrayBuffer());
    await body.dump();
    if (!redirects.has(statusCode)) {
      throw new IsthmusError(statusCode === 404 ? 'not-found' : 'unavailable', `${url.href} answered ${statusCode}`);
    }
    const { location } = headers;
    if (typeof location !== 'string') {
      throw new IsthmusError('corrupt', `${url.href} redirects without saying where to`);
    }
    url = parseEndpointUrl(URL.parse(location, url.href)?.href ?? location);
  }
  throw new IsthmusError('unavailable', `${first.href} redirects more than ${maxRedirects} times`);
}

function fetchError(
  thrown: unknown,
  { url, deadline, timeoutMs }: { readonly url: URL; readonly deadline: AbortSignal; readonly timeoutMs: number },
): IsthmusError {
  if (thrown instanceof IsthmusError) return thrown;
  if (deadline.aborted) {
    return new IsthmusError('timeout', `No bundle from ${url.href} within ${timeoutMs} ms`, { cause: thrown });
  }
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
    return new IsthmusError('corrupt', `${url.href} sends more than ${maxBundleBytes} bytes`, { cause: thrown });
  }
  if (/CERT|SELF_SIGNED|ALTNAME|UNABLE_TO_/.test(code)) {
    return new IsthmusError('unauthenticated', `${url.href} cannot prove itself: ${code}`, { cause: thrown });
  }
  return new IsthmusError('unavailable', `Cannot fetch ${url.href}: ${code || String(thrown)}`, { cause: thrown });
}

/** Connections of one fetch; none outlives `signal`, whatever stage it is in. */
function connectorOf(profile: EndpointProfile, now: () => number, signal: AbortSignal): buildConnector.connector {
  const check = profile.name === 'https_spiffe' ? spiffeCheck(profile, now) : undefined;
  return ({ hostname, port }, callback) => {
    const socket = connectTls({
      host: hostname,
      port: Number(port || 443),
      minVersion: 'TLSv1.2',
      secureOptions: constants.SSL_OP_NO_TICKET,
      ...(isIP(hostname) === 0 && { servername: hostname }),
      ...tlsOptionsOf(profile),
    });
    const abort = (): void => void socket.destroy(IsthmusError.from(signal.reason, 'timeout'));
    const failed = (error: Error): void => callback(error, null);
    signal.addEventListener('abort', abort, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', abort));
    socket.once('error', failed);
    socket.once('secureConnect', () => {
      socket.off('error', failed);
      const refused = check?.(hostname, walkChain(socket.getPeerCertificate(true)));
      if (!refused) return callback(null, socket);
      socket.destroy();
      callback(refused, null);
    });
    if (signal.aborted) abort();
  };
}

function tlsOptionsOf(profile: EndpointProfile): ConnectionOptions {
  if (profile.name === 'https_web') return profile.ca === undefined ? {} : { ca: profile.ca };
  // OpenSSL's verdict would be one about host names and pools of roots; ours replaces it.
  return { rejectUnauthorized: false, checkServerIdentity: () => undefined };
}

type SpiffeProfile = Extract<EndpointProfile, { readonly name: 'https_spiffe' }>;

/** The endpoint's certificate must be an X.509-SVID of exactly the configured id (SPIFFE Federation §5.2.2.2). */
function spiffeCheck(
  { endpointId, anchors }: SpiffeProfile,
  now: () => number,
): (host: string, chain: readonly Uint8Array[]) => IsthmusError | undefined {
  const trust = trustOf({ trustDomain: trustDomainOf(endpointId), sequence: 0, anchors });
  return (host, chain) => {
    const path = verifyPath(chain, trust, { binding: 'spiffe' });
    const refusal = path.ok ? checkTime(path, now()) : path;
    const wrong = path.ok && path.id !== endpointId ? `it is ${path.id}` : undefined;
    const why = refusal ? `${refusal.reason}: ${refusal.detail}` : wrong;
    if (why === undefined) return undefined;
    return new IsthmusError('unauthenticated', `${host} does not prove to be ${endpointId}: ${why}`);
  };
}
