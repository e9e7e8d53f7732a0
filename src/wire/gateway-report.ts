import { z } from 'zod';
import {
  type ClusterName,
  parseClusterName,
  parseReplicaName,
  parseServiceKey,
  type ReplicaName,
  type ServiceKey,
} from '../model/names.ts';
import type { GatewayAddress } from '../model/record.ts';
import type { ServiceStanding } from '../model/shares.ts';
import type { Acknowledgement } from '../model/trust.ts';
import { acknowledgementShape } from './acknowledgement.ts';
import { decodeJson } from './json-decoding.ts';

/** What a gateway says of itself when it connects to its agent. */
export interface GatewayAdvert {
  /** Where other clusters' gateways reach it. */
  readonly addresses: readonly GatewayAddress[];
  readonly version: string;
}

/** One way to another cluster as a gateway sees it, through its own tunnel. */
export interface LinkReport {
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  readonly address: string;
  readonly up: boolean;
  /** Milliseconds; undefined while never measured. */
  readonly rttP50Ms?: number;
  readonly rttP99Ms?: number;
  /** 0 to 1, of the probes of the last minute. */
  readonly loss: number;
  /** Monotone ms of the gateway since the last change of `up`. */
  readonly forMs: number;
  /** Connections which that gateway carries, as it said when it was last probed. */
  readonly load?: number;
  readonly reason?: string;
}

/** One target of one service as a gateway's traffic shows it. Counters grow from the gateway's start. */
export interface TargetReport {
  readonly cluster: ClusterName;
  readonly share: number;
  readonly why: string;
  readonly reachable: boolean;
  readonly health: number;
  readonly connections: number;
  readonly failures: number;
  readonly active: number;
  /** Connections of the service which that cluster's gateways carry, from everywhere; undefined = not said lately. */
  readonly load?: number;
}

export interface EndpointReport {
  readonly id: string;
  readonly up: boolean;
  readonly active: number;
  readonly reason?: string;
}

export interface ServiceReport {
  readonly service: ServiceKey;
  readonly targets: readonly TargetReport[];
  readonly endpoints: readonly EndpointReport[];
  /** What keeps clients here from it, such as an import port that cannot be had. */
  readonly problem?: string;
}

/** Traffic of a service went elsewhere. */
export interface MoveReport {
  /** Grows with each move of the gateway, also when it is started again. */
  readonly sequence: number;
  /** Before this report. */
  readonly agoMs: number;
  readonly service: ServiceKey;
  readonly from: ServiceStanding;
  readonly to: ServiceStanding;
  /** Afterwards; without those that have none. */
  readonly shares: readonly { readonly cluster: ClusterName; readonly share: number }[];
  readonly why: string;
}

/** What a gateway presents and trusts. */
export interface TrustReport {
  /** Undefined: not proved yet, or no longer; `problem` says why. */
  readonly acknowledged?: Acknowledgement;
  readonly problem?: string;
  /** The gateway's wall clock in ms as it wrote this. */
  readonly clock: number;
}

/** What a gateway tells its agent about once a second. */
export interface GatewayReport {
  readonly instance: ReplicaName;
  readonly version: string;
  readonly ready: boolean;
  /** What it waits for when not ready. */
  readonly waitingFor?: string;
  readonly draining: boolean;
  readonly svidNotAfter?: number;
  readonly rosterSequence?: number;
  readonly trust?: TrustReport;
  readonly tableDigest: string;
  readonly links: readonly LinkReport[];
  readonly services: readonly ServiceReport[];
  /** Services that this report leaves out because it would be too large; later ones tell of them. Absent: none. */
  readonly omitted?: number;
  /** Of late, oldest first; each is told several times. Absent: none, or an elder gateway. */
  readonly moves?: readonly MoveReport[];
}

/** Moves that one report tells at most. */
export const maxMovesInReport = 2000;

/** More is refused: `ReportEncoder` stays below, however many services there are. */
const maxReportBytes: number = 4 << 20;
const maxAdvertBytes = 16_384;

const amount = z.number().min(0);
const text = z.string().max(500);
const clusterName = z.string().transform(parseClusterName);
const replicaName = z.string().transform(parseReplicaName);

const standing = z.enum(['Active', 'Spill', 'Failover', 'Down']);

const linkSchema = z.object({
  cluster: clusterName,
  instance: replicaName,
  address: z.string().max(300),
  up: z.boolean(),
  rttP50Ms: amount.optional(),
  rttP99Ms: amount.optional(),
  loss: amount.max(1),
  forMs: amount,
  load: amount.optional(),
  reason: text.optional(),
});

const targetSchema = z.object({
  cluster: clusterName,
  share: amount,
  why: text,
  reachable: z.boolean(),
  health: amount,
  connections: amount,
  failures: amount,
  active: amount,
  load: amount.optional(),
});

const endpointSchema = z.object({ id: z.string().max(300), up: z.boolean(), active: amount, reason: text.optional() });

const reportSchema = z.object({
  instance: replicaName,
  version: z.string().max(100),
  ready: z.boolean(),
  waitingFor: text.optional(),
  draining: z.boolean(),
  svidNotAfter: amount.optional(),
  rosterSequence: amount.optional(),
  trust: z
    .object({ acknowledged: z.object(acknowledgementShape).optional(), problem: text.optional(), clock: amount })
    .optional(),
  tableDigest: z.string().max(128),
  links: z.array(linkSchema).max(10_000),
  services: z
    .array(
      z.object({
        service: z.string().transform(parseServiceKey),
        targets: z.array(targetSchema).max(1000),
        endpoints: z.array(endpointSchema).max(10_000),
        problem: text.optional(),
      }),
    )
    .max(20_000),
  omitted: amount.optional(),
  moves: z
    .array(
      z.object({
        sequence: z.number().int().min(0),
        agoMs: amount,
        service: z.string().transform(parseServiceKey),
        from: standing,
        to: standing,
        shares: z.array(z.object({ cluster: clusterName, share: amount })).max(1000),
        why: text,
      }),
    )
    .max(maxMovesInReport)
    .optional(),
});

const advertSchema = z.object({
  addresses: z
    .array(
      z.object({
        address: z.string().min(1).max(253),
        port: z.number().int().min(1).max(65_535),
        kind: z.enum(['instance', 'balanced']).default('instance'),
        instances: z.number().int().min(1).max(10_000).default(1),
      }),
    )
    .max(16),
  version: z.string().max(100),
});

/** What services may take of a report, which is sent once a second. */
const maxServiceBytes: number = 1 << 20;

/**
 * Writes the reports of one gateway. Where there are so many services that one report cannot tell of all, it tells of
 * those on which something is going on, and of the others in turn.
 */
export class ReportEncoder {
  readonly #budget: number;
  /** Where the next report begins among busy and quiet services. */
  readonly #from = { busy: 0, quiet: 0 };

  constructor(budget: number = maxServiceBytes) {
    this.#budget = budget;
  }

  encode({ services, ...rest }: GatewayReport): Uint8Array {
    const texts: string[] = [];
    let left = this.#budget;
    const take = (turn: 'busy' | 'quiet', from: readonly ServiceReport[]): void => {
      const start = from.length === 0 ? 0 : this.#from[turn] % from.length;
      let taken = 0;
      for (; taken < from.length; taken += 1) {
        const text = JSON.stringify(from[(start + taken) % from.length]);
        const bytes = Buffer.byteLength(text) + 1;
        // One that alone is too large must not keep the others waiting.
        if (bytes > this.#budget) continue;
        if (bytes > left) break;
        left -= bytes;
        texts.push(text);
      }
      this.#from[turn] = start + taken;
    };
    take('busy', services.filter(isBusy));
    take(
      'quiet',
      services.filter((service) => !isBusy(service)),
    );
    const omitted = services.length - texts.length;
    const head = JSON.stringify({ ...rest, ...(omitted > 0 && { omitted }) });
    return Buffer.from(`${head.slice(0, -1)},"services":[${texts.join(',')}]}`);
  }
}

/** Whether there is more to tell than that all is as planned and nobody calls. */
function isBusy({ targets, endpoints, problem }: ServiceReport): boolean {
  return (
    problem !== undefined ||
    targets.some(({ active, reachable, health }) => active > 0 || !reachable || health < 1) ||
    endpoints.some(({ active, up }) => active > 0 || !up)
  );
}

/** @throws IsthmusError `corrupt` */
export function decodeReport(bytes: Uint8Array): GatewayReport {
  return decodeJson("A gateway's report", reportSchema, { bytes, limit: maxReportBytes }) as GatewayReport;
}

export function encodeAdvert(advert: GatewayAdvert): Uint8Array {
  return Buffer.from(JSON.stringify(advert));
}

/** An address without kind and number of instances is one instance. @throws IsthmusError `corrupt` */
export function decodeAdvert(bytes: Uint8Array): GatewayAdvert {
  return decodeJson("A gateway's advert", advertSchema, { bytes, limit: maxAdvertBytes });
}
