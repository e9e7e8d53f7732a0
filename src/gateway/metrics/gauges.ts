import { nameOf, namespaceOf, type ServiceKey } from '../../model/names.ts';
import type { ServiceStanding } from '../../model/shares.ts';
import type { GatewayReport } from '../../wire/gateway-report.ts';
import type { ServiceEntry } from '../balance/service-entry.ts';
import type { GatewayLimits, LimitUse } from '../limits.ts';
import type { MetricSample, MetricSamples } from './series.ts';

/** What the gateway is at this moment. */
export interface GaugeFacts {
  readonly version: string;
  readonly report: GatewayReport;
  readonly limits: GatewayLimits;
  readonly use: LimitUse;
  readonly entries: Iterable<ServiceEntry>;
  /** Wall clock in ms. */
  readonly svidNotAfter: number | undefined;
}

const service = ['destination_service', 'destination_service_namespace'] as const;
const standings: Readonly<Record<ServiceStanding, number>> = { Active: 0, Spill: 1, Failover: 2, Down: 3 };

/** Metrics that are read off, not counted. Bounded by the table: what leaves it leaves here too. */
export function gaugesOf(facts: GaugeFacts): readonly MetricSamples[] {
  return [...ofGateway(facts), ...ofLinks(facts), ...ofLimits(facts), ...ofServices(facts)];
}

function ofGateway({ version, report, svidNotAfter }: GaugeFacts): MetricSamples[] {
  const expiry = svidNotAfter === undefined ? [] : [one(svidNotAfter / 1000, 'svid')];
  return [
    gauge('build_info', 'Which program this is; always 1.', { labels: ['version'], samples: [one(1, version)] }),
    gauge('gateway_ready', 'Whether it takes traffic.', { labels: [], samples: [one(Number(report.ready))] }),
    gauge('gateway_draining', 'Whether it is about to end.', { labels: [], samples: [one(Number(report.draining))] }),
    gauge('cert_expiry_timestamp_seconds', 'When a certificate runs out.', { labels: ['kind'], samples: expiry }),
    gauge('roster_sequence', 'The roster that it judges its peers by.', {
      labels: [],
      samples: report.rosterSequence === undefined ? [] : [one(report.rosterSequence)],
    }),
  ];
}

function ofLinks({ report: { links } }: GaugeFacts): MetricSamples[] {
  const labels = ['destination_cluster', 'destination_gateway'];
  const name = ({ cluster, instance }: (typeof links)[number]): [string, string] => [cluster, instance];
  return [
    gauge('link_up', 'Whether the way to a gateway of another cluster works, by own tunnels and probes.', {
      labels,
      samples: links.map((link) => one(Number(link.up), ...name(link))),
    }),
    gauge('link_rtt_seconds', 'Round trip through the tunnel, over the last half minute.', {
      labels: [...labels, 'quantile'],
      samples: links.flatMap((link) => [
        ...(link.rttP50Ms === undefined ? [] : [one(link.rttP50Ms / 1000, ...name(link), '0.5')]),
        ...(link.rttP99Ms === undefined ? [] : [one(link.rttP99Ms / 1000, ...name(link), '0.99')]),
      ]),
    }),
    gauge('link_loss_ratio', 'Part of the probes of the last minute that were lost.', {
      labels,
      samples: links.map((link) => one(link.loss, ...name(link))),
    }),
  ];
}

function ofLimits({ limits, use }: GaugeFacts): MetricSamples[] {
  return [
    gauge('limit', 'A bound of this gateway.', {
      labels: ['limit'],
      samples: Object.entries(limits).map(([limit, value]) => one(value, limit)),
    }),
    gauge('limit_used', 'How much of a bound is used; of bounds for each of many, by the one that uses most.', {
      labels: ['limit'],
      samples: Object.entries(use).map(([limit, value]) => one(value, limit)),
    }),
  ];
}

function ofServices({ entries, report }: GaugeFacts): MetricSamples[] {
  const all = [...entries];
  const per = (name: string, help: string, of: (entry: ServiceEntry) => number): MetricSamples =>
    gauge(name, help, { labels: service, samples: all.map((entry) => one(of(entry), ...labelsOf(entry.route.key))) });
  const targets = report.services.flatMap(({ service: key, targets: each }) =>
    each.map((target) => ({ ...target, labels: [...labelsOf(key), target.cluster] })),
  );
  return [
    per(
      'failover_state',
      '0 best tier, 1 partly elsewhere, 2 all elsewhere, 3 nowhere to go.',
      ({ standing }) => standings[standing],
    ),
    per('service_connections', 'Connections of a service, both ways.', ({ circuit }) => circuit.open),
    per('service_connections_pending', 'Of these, still being made.', ({ circuit }) => circuit.pending),
    per('service_connections_limit', 'What the policy allows.', ({ connection }) => connection.maxConnections),
    per('service_connections_pending_limit', 'What the policy allows.', ({ connection }) => connection.maxPending),
    gauge('endpoints', 'Local endpoints of a service, by state.', {
      labels: [...service, 'state'],
      samples: all.flatMap(endpointSamples),
    }),
    gauge('target_share', 'Part of the traffic of a service that goes to a cluster.', {
      labels: [...service, 'destination_cluster'],
      samples: targets.map(({ share, labels }) => one(share, ...labels)),
    }),
    gauge('connections_active', 'Connections being made or open, by where they go.', {
      labels: [...service, 'destination_cluster'],
      samples: targets.map(({ active, labels }) => one(active, ...labels)),
    }),
  ];
}

function endpointSamples(entry: ServiceEntry): MetricSample[] {
  const counts = { up: 0, ejected: 0, not_ready: 0 };
  for (const { endpoint, ejection } of entry.endpoints.values()) {
    if (!endpoint.ready) counts.not_ready += 1;
    else if (ejection.kind === 'out') counts.ejected += 1;
    else counts.up += 1;
  }
  return Object.entries(counts).map(([state, count]) => one(count, ...labelsOf(entry.route.key), state));
}

function labelsOf(key: ServiceKey): [string, string] {
  return [nameOf(key), namespaceOf(key)];
}

function one(value: number, ...values: readonly string[]): MetricSample {
  return { values, value };
}

function gauge(
  name: string,
  help: string,
  { labels, samples }: { readonly labels: readonly string[]; readonly samples: readonly MetricSample[] },
): MetricSamples {
  return { name: `isthmus_${name}`, help, kind: 'gauge', labels, samples: () => samples };
}
