import { IsthmusError } from '../../model/error.ts';
import { isPort, parseServiceKey } from '../../model/names.ts';
import type { LocalService } from '../../model/ports/service-source.ts';
import type { ServicePort } from '../../model/record.ts';
import type { LocalEndpoint } from '../../model/route.ts';

/** One instance of a service: `port` serves all its ports, `ports` says which for which; else the port is the same. */
export interface StaticEndpoint {
  readonly id?: string;
  /** IP address or host name. */
  readonly address: string;
  readonly port?: number;
  /** Service port → port of the instance. */
  readonly ports?: Readonly<Record<number, number>>;
  readonly zone?: string;
}

/** A service as a configuration file lists it. */
export interface StaticService {
  /** `<namespace>/<name>`. */
  readonly service: string;
  readonly ports: readonly { readonly port: number; readonly name?: string; readonly appProtocol?: string }[];
  readonly exported: boolean;
  readonly allow: LocalService['allow'];
  readonly endpoints: readonly StaticEndpoint[];
  readonly capacity?: LocalService['capacity'];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly passthrough?: boolean;
}

/** A listed service, its endpoints not ready yet. @throws IsthmusError `invalid` for one that cannot be */
export function localServiceOf(spec: StaticService): LocalService {
  const key = parseServiceKey(spec.service);
  const { exported, allow, capacity, labels, annotations, passthrough } = spec;
  const ports = spec.ports.map((port): ServicePort => {
    requirePort(`A port of service ${key}`, port.port);
    const { name, appProtocol } = port;
    return {
      port: port.port,
      protocol: 'TCP',
      ...(name !== undefined && { name }),
      ...(appProtocol !== undefined && { appProtocol }),
    };
  });
  if (ports.length === 0) throw new IsthmusError('invalid', `Service ${key} must have at least one port`);
  const endpoints = spec.endpoints.map((endpoint) => endpointOf(key, ports, endpoint));
  if (new Set(endpoints.map((endpoint) => endpoint.id)).size !== endpoints.length) {
    throw new IsthmusError('invalid', `The endpoints of service ${key} must have different ids`);
  }
  return {
    key,
    ports,
    exported,
    allow,
    endpoints,
    ...(capacity && { capacity }),
    ...(labels && { labels }),
    ...(annotations && { annotations }),
    ...(passthrough && { passthrough }),
  };
}

function endpointOf(key: string, ports: readonly ServicePort[], spec: StaticEndpoint): LocalEndpoint {
  const mapped = ports.map(({ port }) => {
    const target = spec.ports?.[port] ?? spec.port ?? port;
    requirePort(`The port of endpoint ${spec.address} of service ${key}`, target);
    return [port, target] as const;
  });
  const { address, zone } = spec;
  return {
    id: spec.id ?? `${address}:${mapped[0]?.[1]}`,
    address,
    ports: new Map(mapped),
    ready: false,
    ...(zone !== undefined && { zone }),
  };
}

function requirePort(what: string, port: number): void {
  if (isPort(port)) return;
  throw new IsthmusError('invalid', `${what} must be 1 to 65535: current value is ${String(port)}`);
}
