import { IsthmusError, messageOf } from '../../model/error.ts';
import { trustDomainOf } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { PeerVerifier, TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { Acknowledgement, ServedCertificate } from '../../model/trust.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import { dialTls, secureContextOf, type TlsMaterial } from '../../runtime/io/tls.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { uriNames } from '../verify/svid-profile.ts';
import { keyIdOf } from '../x509/certificate.ts';
import { readCertificate } from '../x509/read.ts';
import { verifiedPeer } from './call-identity.ts';

export interface SelfCheckOptions {
  /** Where this replica's own listener is; undefined: not yet. */
  readonly listener: () => ListenAddress | undefined;
  /** What this replica presents, as a client too. */
  readonly material: Watch<TlsMaterial | undefined>;
  readonly trust: TrustSource;
  readonly verifier: PeerVerifier;
  readonly clock: Clock;
  readonly log: Log;
  /** Without any change it is proved again this often, in ms. Default 30,000. */
  readonly everyMs?: number;
}

/** What a replica proved by a handshake with itself. */
export interface SelfCheckResult {
  /** Undefined: not proved yet, or no longer. */
  readonly acknowledged: Acknowledgement | undefined;
  /** Why the last handshake proved nothing; undefined: it did. */
  readonly problem: string | undefined;
}

export interface SelfCheck {
  readonly result: Watch<SelfCheckResult>;
  close(): Promise<void>;
}

const handshakeTimeoutMs = 3000;
/** After a handshake that failed. */
const retryMs = 1000;
/** For the listener to end a connection that has served its purpose, in ms. */
const lingerMs = 500;

/**
 * Dials this replica's own listener whenever identity or trust changed, and reads back what it presents: only what was
 * seen on the wire is acknowledged to others.
 */
export function startSelfCheck(options: SelfCheckOptions): SelfCheck {
  const { material, trust, clock, log, everyMs = 30_000 } = options;
  const result = new Watchable<SelfCheckResult>({ acknowledged: undefined, problem: 'not looked yet' });
  const stop = new AbortController();
  let changed = new AbortController();
  const wake = (): void => changed.abort();
  const ends = [material.subscribe(wake), trust.subscribe(wake)];
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      changed = new AbortController();
      let pauseMs = everyMs;
      try {
        const acknowledged = await proveOnce(options, stop.signal);
        result.set({ acknowledged, problem: undefined });
      } catch (thrown) {
        if (stop.signal.aborted) break;
        const problem = messageOf(thrown);
        if (problem !== result.current.problem) log.debug({ why: problem }, 'the own listener proves nothing yet');
        result.set({ acknowledged: undefined, problem });
        pauseMs = retryMs;
      }
      await sleep(clock, pauseMs, AbortSignal.any([stop.signal, changed.signal]));
    }
  };
  const running = run();
  return {
    result,
    async close(): Promise<void> {
      for (const end of ends) end();
      stop.abort(new IsthmusError('cancelled', 'The self-check ends'));
      await running;
    },
  };
}

async function proveOnce(options: SelfCheckOptions, signal: AbortSignal): Promise<Acknowledgement> {
  const { listener, material, trust, verifier, clock } = options;
  const address = listener();
  const state = trust.current;
  const own = material.current;
  if (!address || !own) throw new IsthmusError('unavailable', 'there is no identity or no listener yet');
  if (!state) throw new IsthmusError('unavailable', 'there is no roster yet');
  const { socket, peer } = await dialTls({
    host: dialableHost(address.host),
    port: address.port,
    context: secureContextOf(own),
    alpn: ['h2'],
    check(chain) {
      const { id } = verifiedPeer(verifier, chain);
      const expected = ownName(own);
      if (id === expected) return { id, chain };
      throw new IsthmusError('unauthenticated', `the own listener presents ${id}, not ${expected}`);
    },
    timeoutMs: handshakeTimeoutMs,
    signal,
  });
  socket.on('error', () => undefined);
  // A clean end: to the listener a torn connection would look like a fault.
  const timer = clock.schedule(lingerMs, () => socket.destroy());
  socket.once('close', () => timer.cancel());
  socket.end();
  return {
    rosterSequence: state.roster.sequence,
    bundleSequence: state.bundles.get(trustDomainOf(peer.id))?.sequence ?? 0,
    chain: servedOf(peer.chain),
    at: clock.now(),
  };
}

function ownName({ identity }: TlsMaterial): string {
  return uriNames(readCertificate(identity?.chain[0] ?? new Uint8Array())).join(' ');
}

/** Leaf first, without the anchor, which the TLS library appends whether or not it was presented. */
function servedOf(chain: readonly Uint8Array[]): readonly ServedCertificate[] {
  return chain.flatMap((der) => {
    const { issuer, subject, spki, notAfter } = readCertificate(der);
    return Buffer.from(issuer).equals(subject) ? [] : [{ keyId: keyIdOf(spki), notAfter }];
  });
}

/** A listener on every address is reached on loopback. */
function dialableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
