import { Client, type ClientReadableStream, type Metadata, type MethodDefinition } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '../../model/error.ts';
import { authorityId, type TrustDomain } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { AckRecord } from '../../model/record.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { fromGrpcFailure } from '../../runtime/grpc-status.ts';
import { callUnary, channelCredentials, channelOptions } from '../../runtime/io/grpc-client.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { sleep } from '../../runtime/sleep.ts';
import { decodeAcks, encodeAcks } from '../authority/acknowledgements.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import {
  acknowledgeMethod,
  type IntermediateResponse,
  leaveMethod,
  renewIntermediateMethod,
  type SealedDocument,
  timeHeader,
  watchRosterMethod,
} from './authority-api.ts';
import { peerCheck } from './call-identity.ts';

/** How one attempt to reach the authority may take, in ms. */
const connectTimeoutMs = 5000;

export interface AuthorityLinkOptions {
  readonly federationDomain: TrustDomain;
  /** `host:port`, tried in turn. */
  readonly addresses: readonly string[];
  /** Trust that knows the authority: the anchors suffice. */
  readonly base: TrustSource;
  readonly material: Watch<TlsMaterial | undefined>;
  readonly knownSequence: () => number;
  readonly onRoster: (document: SealedDocument) => void;
  /** The authority's wall clock in ms, just now: as a stream opens, and with each acknowledgement. */
  readonly onTime?: (at: number) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** How an agent stands with its authority. */
export interface AuthorityLinkStatus {
  readonly connected: boolean;
  /** Monotonic ms since when this is so. */
  readonly since: number;
  /** Undefined while connected. */
  readonly problem: string | undefined;
}

/** The agent's end of the authority: a roster stream that is opened again for ever, and renewals. */
export interface AuthorityLink {
  status(): AuthorityLinkStatus;
  /** @throws IsthmusError */
  renewIntermediate(replica: string, csr: Uint8Array): Promise<IntermediateResponse>;
  /** Says what replicas proved; what the cluster's other agents said. @throws IsthmusError */
  acknowledge(own: readonly AckRecord[]): Promise<readonly AckRecord[]>;
  /** Says goodbye for this whole cluster. @throws IsthmusError */
  leave(why: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens the link; an unreachable authority is no error but a status. */
export function openAuthorityLink(options: AuthorityLinkOptions): AuthorityLink {
  const { federationDomain, addresses, base, material, clock, log } = options;
  const stop = new AbortController();
  const authority = authorityId(federationDomain);
  const credentials = channelCredentials({
    material,
    withIdentity: true,
    check: peerCheck(createPeerVerifier(base, clock), authority, (id) => id === authority),
  });
  /** That of the roster stream: what has to be said often needs no connection of its own. */
  let live: Client | undefined;
  let status: AuthorityLinkStatus = { connected: false, since: clock.monotonic(), problem: 'not connected yet' };
  const become = (connected: boolean, problem?: string): void => {
    const since = status.connected === connected ? status.since : clock.monotonic();
    if (status.connected !== connected) {
      if (connected) log.info({ authority }, 'connected to the authority');
      else log.warn({ authority, why: problem }, 'lost the authority');
    }
    status = { connected, since, problem };
  };

  const run = async (): Promise<void> => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 5000 }, () => clock.random());
    for (let attempt = 0; !stop.signal.aborted; attempt += 1) {
      const address = addresses[attempt % addresses.length] ?? '';
      try {
        await streamOnce(address, {
          ...options,
          credentials,
          signal: stop.signal,
          connected: (client) => {
            backoff.reset();
            live = client;
            become(true);
          },
        });
        become(false, `the authority at ${address} ended the stream`);
      } catch (thrown) {
        become(false, messageOf(thrown));
      }
      live = undefined;
      await sleep(clock, backoff.next(), stop.signal);
    }
  };
  const running = run();
  let turn = 0;
  const ask = async <Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
  ): Promise<Response> => {
    const address = addresses[turn++ % addresses.length] ?? '';
    const client = new Client(address, credentials, channelOptions);
    try {
      return await callUnary(client, method, request, { timeoutMs: connectTimeoutMs, signal: stop.signal });
    } finally {
      client.close();
    }
  };
  return {
    status: () => status,
    renewIntermediate: (replica, csr) => ask(renewIntermediateMethod, { replica, csr: Buffer.from(csr) }),
    async acknowledge(own): Promise<readonly AckRecord[]> {
      if (!live) throw new IsthmusError('unavailable', status.problem ?? 'not connected to the authority');
      const request = { own: encodeAcks(own).map(({ key, record }) => ({ key, record: Buffer.from(record) })) };
      const limits = { timeoutMs: connectTimeoutMs, signal: stop.signal };
      const { others, time } = await callUnary(live, acknowledgeMethod, request, limits);
      options.onTime?.(Number(time));
      return decodeAcks(others);
    },
    async leave(why): Promise<void> {
      await ask(leaveMethod, { why });
    },
    async close(): Promise<void> {
      stop.abort(new IsthmusError('cancelled', 'The agent is closing'));
      await running;
    },
  };
}

interface StreamOptions extends AuthorityLinkOptions {
  readonly credentials: ReturnType<typeof channelCredentials>;
  readonly signal: AbortSignal;
  readonly connected: (client: Client) => void;
}

/** One roster stream from its opening to its end. Rejects with why it failed. */
async function streamOnce(address: string, options: StreamOptions): Promise<void> {
  const { credentials, signal, clock, connected, knownSequence, onRoster } = options;
  const client = new Client(address, credentials, channelOptions);
  let call: ClientReadableStream<SealedDocument> | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = watchRosterMethod;
      const request = { knownSequence: String(knownSequence()) };
      const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
      call = stream;
      const cancel = (): void => stream.cancel();
      const timer = clock.schedule(connectTimeoutMs, () => {
        reject(new IsthmusError('timeout', `No answer from the authority at ${address} within ${connectTimeoutMs} ms`));
      });
      const end = (): void => {
        timer.cancel();
        signal.removeEventListener('abort', cancel);
      };
      const alive = (metadata: Metadata): void => {
        timer.cancel();
        connected(client);
        const time = Number(metadata.get(timeHeader)[0] ?? Number.NaN);
        if (Number.isSafeInteger(time)) options.onTime?.(time);
      };
      stream.once('metadata', alive);
      stream.on('data', (document: SealedDocument) => onRoster(document));
      stream.on('error', (cause) => {
        end();
        reject(fromGrpcFailure(`Authority at ${address}`, cause));
      });
      stream.on('end', () => {
        end();
        resolve();
      });
      signal.addEventListener('abort', cancel, { once: true });
      if (signal.aborted) cancel();
    });
  } finally {
    call?.cancel();
    client.close();
  }
}
