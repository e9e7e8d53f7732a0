import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { AccessJudge, AccessVerdict, Caller } from '../../model/access.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { SourceIdentity } from '../../model/ports/source-identity.ts';
import { declaredProtocol } from '../../model/protocol.ts';
import type { RoutePort } from '../../model/route.ts';
import {
  type ConnectRequest,
  decodeConnect,
  encodeAccepted,
  encodeProbeAnswer,
  type HeaderFields,
  isProbe,
  type RefusalReason,
  statusOf,
} from '../../wire/connect.ts';
import type { ConnectionFacts, ResponseFlag } from '../access-log.ts';
import { callerOf } from '../access/caller.ts';
import { Permit, type PermitContext, seesRequests } from '../access/permit.ts';
import type { ServiceBook } from '../balance/service-book.ts';
import type { ServiceEntry } from '../balance/service-entry.ts';
import { overloaded } from '../http/reply.ts';
import { spokenOn } from '../http/spoken.ts';
import { isLimitReason, type LimitReason, type Refusals } from '../metrics/refusals.ts';
import { type CandidateContext, inboundCandidates, outboundCandidates } from './candidates.ts';
import type { Connections, Overload, TurnedAway } from './connections.ts';
import { type InboundPeer, refuseStream } from './hbone-server.ts';
import type { HttpClient, RequestJudge } from './http/context.ts';
import type { HttpIntake } from './http/http-intake.ts';
import type { Upstreams } from './http/upstreams.ts';
import type { ImportedPort } from './import-listeners.ts';
import { abortEnd } from './splice.ts';

export interface IntakeOptions {
  readonly self: ClusterName;
  readonly clock: Clock;
  readonly book: ServiceBook;
  readonly connections: Connections;
  readonly candidates: CandidateContext;
  readonly identities: SourceIdentity | undefined;
  readonly access: AccessJudge;
  readonly http: HttpIntake;
  readonly upstreams: Upstreams;
  /** Whether a port that says nothing of its protocol is looked at, see `spokenOn`. */
  readonly detect: boolean;
  readonly refusals: Refusals;
  /** Nothing new is taken from other clusters. */
  readonly draining: () => boolean;
}

const flags: Readonly<Partial<Record<RefusalReason, ResponseFlag>>> = {
  denied: 'RBAC',
  overloaded: 'UO',
  draining: 'UO',
};

/** Why a request is turned away before anything is tried. */
type Turned = Exclude<RefusalReason, 'no-ready-endpoint' | 'connect-failed' | 'overloaded'> | LimitReason;

/** What was decided about a request from outside. */
type Judgement =
  | {
      readonly ok: true;
      readonly entry: ServiceEntry;
      readonly rule: string;
      readonly permit: Permit;
      /** Undefined: nothing more is to be judged. */
      readonly judge: RequestJudge | undefined;
    }
  | {
      readonly ok: false;
      readonly reason: RefusalReason;
      readonly counted: Turned;
      readonly entry: ServiceEntry | undefined;
      readonly rule: string | undefined;
      readonly details: string;
    };

/** Takes clients in: decides whether they may, and where they go. */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #permits: PermitContext;

  constructor(options: IntakeOptions) {
    this.#options = options;
    const { access, book } = options;
    this.#permits = { access, routeOf: (service) => book.get(service)?.route };
  }

  /** A plain client on an import listener. */
  plain(socket: Socket, { service, port }: ImportedPort): void {
    const { self, book, connections, candidates, identities } = this.#options;
    const { remoteAddress: source, remotePort, remoteFamily } = socket;
    const entry = book.get(service);
    const sourceIdentity = source === undefined ? undefined : identities?.of(source);
    const forwardedFor = remoteFamily === 'IPv6' ? `[${source}]:${remotePort}` : `${source}:${remotePort}`;
    const about: ConnectionFacts = {
      direction: 'outbound',
      remoteAddress: forwardedFor,
      sourceCluster: self,
      peer: undefined,
      sourceIdentity,
      rule: undefined,
      traceparent: undefined,
    };
    const turnAway = (overload?: Overload): void => this.#turnAway(socket, { about, entry, port, overload });
    if (!entry) return turnAway();
    const request: ConnectRequest = {
      service,
      port,
      hop: 0,
      sourceCluster: self,
      forwardedFor,
      ...(sourceIdentity !== undefined && { sourceIdentity }),
    };
    const carry = (): void => {
      const overload = connections.overload(entry, undefined);
      if (overload) return turnAway(overload);
      connections.carry({
        client: socket,
        entry,
        port,
        candidates: outboundCandidates(candidates, entry, { port, source, request }),
        about,
        refuse: () => abortEnd(socket),
      });
    };
    const spoken = spokenOn(portOf(entry, port), this.#options);
    if (spoken === 'tcp') return carry();
    // Requests of many clients share a tunnel.
    const { forwardedFor: _, ...onward } = request;
    const client = { end: socket, service, port, about, source, onward, judge: undefined, opened: undefined };
    const { http } = this.#options;
    // Bounds of the service are those of its requests here, and each request is answered.
    const { full } = connections;
    if (!full) return http.take(client, spoken, carry);
    if (spoken === 'http' && connections.roomForWords) return http.refuse(client, overloaded(full));
    turnAway(full);
  }

  /** A plain client, without a word. */
  #turnAway(
    socket: Socket,
    of: Pick<TurnedAway, 'about' | 'entry' | 'port'> & { readonly overload: Overload | undefined },
  ): void {
    const { overload, about, entry, port } = of;
    socket.on('error', () => undefined);
    abortEnd(socket);
    this.#options.refusals.count(overload ? `limit-${overload}` : 'no-route');
    this.#options.connections.turnedAway({
      about,
      entry,
      port,
      flag: overload ? 'UO' : 'NR',
      status: 0,
      details: overload ?? 'the service is not in the table any more',
    });
  }

  /** A stream of another cluster's gateway or workload. */
  tunnelled(stream: ServerHttp2Stream, headers: HeaderFields, from: InboundPeer): void {
    const { peer, remoteAddress } = from;
    const { connections, candidates, clock } = this.#options;
    if (isProbe(headers)) return answerProbe(stream, connections.size);
    const decoded = decodeConnect(headers);
    if (!decoded.ok) {
      from.malformed(decoded.reason, decoded.detail);
      return refuseStream(stream, decoded.reason, clock);
    }
    const { request } = decoded;
    const caller = callerOf(peer, request.sourceIdentity);
    const judgement = this.#judge(request, caller);
    const about: ConnectionFacts = {
      direction: 'inbound',
      remoteAddress,
      sourceCluster: peer.cluster,
      peer: peer.id,
      sourceIdentity: caller.identity,
      rule: judgement.rule,
      traceparent: request.traceparent,
    };
    if (!judgement.ok) return this.#refuse(stream, { judgement, about, port: request.port });
    const { entry, judge, permit } = judgement;
    const source = sourceOf(request, remoteAddress);
    if (judge) return this.#requests(stream, { entry, port: request.port, source, about, judge, permit });
    connections.carry({
      client: stream,
      entry,
      port: request.port,
      candidates: inboundCandidates(candidates, entry, { port: request.port, source }),
      about,
      permit,
      accept: () => stream.respond(encodeAccepted(entry.carriedHere)),
      refuse: (reason) => refuseStream(stream, reason, clock),
    });
  }

  /**
   * A stream whose requests must be judged one by one. It is accepted as any other, once an endpoint is connected: the
   * caller may try elsewhere until then.
   */
  #requests(
    stream: ServerHttp2Stream,
    of: Pick<HttpClient, 'port' | 'source' | 'about' | 'judge' | 'permit'> & { readonly entry: ServiceEntry },
  ): void {
    const { upstreams, clock, connections, http } = this.#options;
    const { entry, port, source, about } = of;
    const left = (): void => stop();
    stream.once('close', left).on('error', left);
    const want = { port, source, onward: undefined, tried: [] };
    const stop = upstreams.dial(entry, want, {
      first: undefined,
      done: ({ dialled, nowhere }) => {
        stream.off('close', left).off('error', left);
        if (!dialled) {
          const reason = nowhere ? 'no-ready-endpoint' : 'connect-failed';
          connections.turnedAway({ about, entry, port, flag: nowhere ? 'UH' : 'UF', status: 503, details: reason });
          return refuseStream(stream, reason, clock);
        }
        stream.respond(encodeAccepted(entry.carriedHere));
        const declared = declaredProtocol(portOf(entry, port) ?? {});
        const spoken = declared === undefined || declared === 'tcp' ? 'http' : declared;
        const client = { ...of, end: stream, service: entry.route.key, onward: undefined, opened: dialled };
        // There is no other way than requests: bytes would not be judged.
        http.take(client, spoken, () => abortEnd(stream));
      },
    });
  }

  /** The order is that of what a stranger may learn. */
  #judge({ hop, service, port }: ConnectRequest, caller: Caller): Judgement {
    const entry = this.#options.book.get(service);
    const known = entry?.route.exported ? entry : undefined;
    const no = (counted: Turned, verdict?: AccessVerdict): Judgement => ({
      ok: false,
      reason: isLimitReason(counted) ? 'overloaded' : counted,
      counted,
      // The name of what is not there was chosen by the peer: it is a detail, and no label of a metric.
      entry: known,
      rule: verdict?.rule,
      details: isLimitReason(counted) ? counted : `${counted}: ${service}:${port}`,
    });
    if (hop > 0) return no('loop');
    if (!entry || !known) return no('not-exported');
    const { access } = this.#options;
    const { route } = entry;
    const verdict = access.connection({ route, port, caller, seesRequests: seesRequests(route, port) });
    if (verdict.decision === 'denied') return no('denied', verdict);
    if (!route.ports.some((one) => one.port === port)) return no('unknown-port', verdict);
    if (this.#options.draining()) return no('draining', verdict);
    const overload = this.#options.connections.overload(entry, caller.peer);
    if (overload) return no(`limit-${overload}`, verdict);
    const unseen = verdict.decision === 'allowed';
    const permit = new Permit(this.#permits, { service, port, caller, unseen });
    const judge: RequestJudge = (method, target) => permit.request(method, target);
    return { ok: true, entry, rule: verdict.rule, permit, judge: unseen ? undefined : judge };
  }

  #refuse(
    stream: ServerHttp2Stream,
    refused: {
      readonly judgement: Extract<Judgement, { ok: false }>;
      readonly about: ConnectionFacts;
      readonly port: number;
    },
  ): void {
    const { judgement, about, port } = refused;
    const { reason, entry, details, counted } = judgement;
    refuseStream(stream, reason, this.#options.clock);
    this.#options.refusals.count(counted);
    const flag = flags[reason] ?? 'NR';
    this.#options.connections.turnedAway({ about, entry, port, flag, status: statusOf(reason), details });
  }
}

function answerProbe(stream: ServerHttp2Stream, load: number): void {
  stream.on('error', () => undefined);
  if (!stream.destroyed) stream.respond(encodeProbeAnswer(load), { endStream: true });
  stream.resume();
}

function portOf({ route }: ServiceEntry, port: number): RoutePort | undefined {
  return route.ports.find((one) => one.port === port);
}

/** What `consistentHash` goes by here. */
function sourceOf({ bucket, forwardedFor }: ConnectRequest, remoteAddress: string): string {
  return bucket === undefined ? hostOf(forwardedFor ?? remoteAddress) : String(bucket);
}

/** `10.0.0.7:4711` and `[fd00::7]:4711` without the port. */
function hostOf(address: string): string {
  const colon = address.lastIndexOf(':');
  return address.slice(0, colon < 0 ? address.length : colon).replace(/^\[(.*)\]$/, '$1');
}
