import { z } from 'zod';
import { isPort, type ServiceKey } from '../model/names.ts';
import type { ServicePort } from '../model/record.ts';
import { parseHostPort } from '../model/address.ts';
import { count, section } from '../wire/schema.ts';
import { type HealthCheckConfig, ownHealthCheck } from './health-check.ts';
import { host, port, serviceKey, word } from './scalars.ts';

/** One instance of a service. */
export interface EndpointConfig {
  readonly address: string;
  /** Service port → port of the instance; has every port of the service. */
  readonly ports: Readonly<Record<number, number>>;
  readonly zone?: string;
}

/** One service of the static source, for machines without Kubernetes. */
export interface ServiceConfig {
  readonly service: ServiceKey;
  readonly ports: readonly ServicePort[];
  /** Key `export` of the file, default true: other clusters may use it. */
  readonly exported: boolean;
  /** Default `members`. */
  readonly allow: 'members' | 'policy';
  readonly endpoints: readonly EndpointConfig[];
  readonly capacity?: { readonly concurrent?: number; readonly rps?: number };
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Default false. True: may be reached by SNI, its TLS untouched. */
  readonly passthrough?: boolean;
  /** What differs for this service. */
  readonly healthCheck?: Partial<HealthCheckConfig>;
}

/** Bounds of one file; more belongs into a source that is not a file. */
const maxServices = 1000;
const maxEndpoints = 1000;
const maxPorts = 64;
const maxLabels = 64;

/** A bare number is short for `{ port: … }`. */
const servicePort = z.preprocess(
  (value) => (typeof value === 'object' ? value : { port: value }),
  section({
    port,
    name: z.exactOptional(word(`a name of 1 to 63 of a-z, 0-9 and '-'`, /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/)),
    protocol: z.literal('TCP').default('TCP'),
    appProtocol: z.exactOptional(word(`an application protocol, such as 'http'`, /^[a-zA-Z0-9./-]{1,253}$/)),
  }),
);

/** `host:port` is short for `{ address: host, port: port }`. */
const endpoint = z.preprocess(
  (value) => {
    const short = typeof value === 'string' ? parseHostPort(value) : undefined;
    return short ? { address: short.host, port: short.port } : value;
  },
  section(
    {
      address: host,
      port: z.exactOptional(port),
      ports: z.exactOptional(z.record(z.string(), port)),
      zone: z.exactOptional(word('a zone of 1 to 63 characters', /^[a-zA-Z0-9][-a-zA-Z0-9_.]{0,62}$/)),
    },
    `'<host>:<port>', or a mapping with address and port or ports`,
  ),
);

type EndpointInput = z.infer<typeof endpoint>;

/** Labels as Kubernetes has them, without its prefix rules. */
const labels = z
  .record(z.string(), word('a label of at most 253 characters', /^[\x20-\x7e]{0,253}$/))
  .refine((given) => Object.keys(given).length <= maxLabels, `must have at most ${maxLabels} labels`);

function endpointPorts(
  { port: only, ports }: EndpointInput,
  servicePorts: readonly ServicePort[],
  refuse: (key: 'port' | 'ports', message: string) => void,
): Readonly<Record<number, number>> {
  const map = new Map<number, number>();
  if (only !== undefined && ports !== undefined) refuse('port', 'must not stand beside ports: give one of the two');
  if (only !== undefined && servicePorts.length > 1) {
    refuse('port', 'must be ports, because the service has several: { <service port>: <port of the instance> }');
  }
  for (const each of servicePorts) map.set(each.port, ports?.[each.port] ?? only ?? each.port);
  for (const key of Object.keys(ports ?? {})) {
    const number = Number(key);
    if (!isPort(number) || !map.has(number)) {
      refuse('ports', `must name ports of the service (${[...map.keys()].join(', ')}): there is no ${key}`);
    }
  }
  return Object.fromEntries(map);
}

const service: z.ZodType<ServiceConfig> = section({
  service: serviceKey,
  ports: z.array(servicePort).min(1).max(maxPorts),
  export: z.boolean().default(true),
  allow: z.enum(['members', 'policy']).default('members'),
  endpoints: z.array(endpoint).max(maxEndpoints).default([]),
  capacity: z.exactOptional(
    section({
      concurrent: z.exactOptional(count(1, 1_000_000)),
      rps: z.exactOptional(count(1, 10_000_000)),
    }),
  ),
  labels: z.exactOptional(labels),
  annotations: z.exactOptional(labels),
  passthrough: z.exactOptional(z.boolean()),
  healthCheck: z.exactOptional(ownHealthCheck),
}).transform(({ export: exported, endpoints, ...rest }, context): ServiceConfig => {
  const seen = new Set<number>();
  for (const [index, each] of rest.ports.entries()) {
    if (seen.has(each.port)) {
      context.addIssue({
        code: 'custom',
        path: ['ports', index],
        message: `must be there once: ${each.port} is repeated`,
      });
    }
    seen.add(each.port);
  }
  const checked = rest.healthCheck?.port;
  if (checked !== undefined && !seen.has(checked)) {
    const message = `must be a port of the service (${[...seen].join(', ')}): there is no ${checked}`;
    context.addIssue({ code: 'custom', path: ['healthCheck', 'port'], message });
  }
  return {
    ...rest,
    exported,
    endpoints: endpoints.map((given, index) => ({
      address: given.address,
      ...(given.zone !== undefined && { zone: given.zone }),
      ports: endpointPorts(given, rest.ports, (key, message) =>
        context.addIssue({ code: 'custom', path: ['endpoints', index, key], message }),
      ),
    })),
  };
});

/** The list `services` of an agent: every service once. */
export const serviceList: z.ZodType<readonly ServiceConfig[]> = z
  .array(service)
  .max(maxServices)
  .superRefine((services, context) => {
    const first = new Map<string, number>();
    for (const [index, { service: key }] of services.entries()) {
      const before = first.get(key);
      if (before === undefined) first.set(key, index);
      else {
        const message = `must be there once: '${key}' is services[${before}] already`;
        context.addIssue({ code: 'custom', path: [index, 'service'], message });
      }
    }
  });
