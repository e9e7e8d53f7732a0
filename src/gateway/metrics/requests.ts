import type { ClusterName, ServiceKey } from '../../model/names.ts';
import { nameOf, namespaceOf } from '../../model/names.ts';
import type { ResponseFlag } from '../access-log.ts';
import type { Exchange } from '../http/exchange.ts';
import { type MetricSamples, Series } from './series.ts';

/** Services × clusters × statuses × flags that are told apart. */
const maxSeries = 20_000;
const durationBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const unknown = 'unknown';
const service = ['destination_service', 'destination_service_namespace'] as const;

/** The series of one kind of request. */
interface Counted {
  readonly source: ClusterName | undefined;
  readonly cluster: ClusterName | undefined;
  readonly status: number;
  readonly flag: ResponseFlag;
  readonly grpcStatus: number | undefined;
  readonly inbound: boolean;
  readonly proven: boolean;
  readonly requests: number;
  readonly duration: number;
}

/** Requests that were told apart, after their end. Names and labels as in experience.md, "Observability". */
export class RequestMetrics {
  readonly #requests = new Series({
    name: 'isthmus_requests_total',
    help: 'Requests that ended, by what the client was told.',
    labels: [
      'direction',
      'source_cluster',
      'destination_cluster',
      ...service,
      'response_code',
      'grpc_response_status',
      'response_flags',
      'connection_security_policy',
    ],
    maxSeries,
  });
  readonly #duration = new Series({
    name: 'isthmus_request_duration_seconds',
    help: 'From the first byte of a request to the last one of its response.',
    labels: ['direction', 'destination_cluster', ...service],
    bounds: durationBounds,
    maxSeries,
  });
  readonly #retries = new Series({
    name: 'isthmus_request_retries_total',
    help: 'Upstreams that requests were sent to, or were to be, beyond the first.',
    labels: ['direction', ...service],
    maxSeries,
  });
  /** The kind counted last for each service: most requests are of one kind, and finding series costs more than adding. */
  readonly #last = new Map<ServiceKey | undefined, Counted>();

  /** `now`: monotonic ms. */
  ended(exchange: Exchange, now: number): void {
    const counted = this.#countedAs(exchange);
    this.#requests.add(counted.requests);
    this.#duration.observe(counted.duration, (now - exchange.startedAt) / 1000);
    if (exchange.attempts < 2) return;
    const [name, namespace] = namesOf(exchange.service);
    this.#retries.add(this.#retries.of(exchange.about.direction, name, namespace), exchange.attempts - 1);
  }

  metrics(): readonly MetricSamples[] {
    return [this.#requests, this.#duration, this.#retries];
  }

  #countedAs(exchange: Exchange): Counted {
    const { service: key, about, cluster, status, flag, grpcStatus } = exchange;
    const last = this.#last.get(key);
    const inbound = about.direction === 'inbound';
    const proven = about.peer !== undefined;
    if (
      last &&
      last.status === status &&
      last.flag === flag &&
      last.cluster === cluster &&
      last.source === about.sourceCluster &&
      last.grpcStatus === grpcStatus &&
      last.inbound === inbound &&
      last.proven === proven
    ) {
      return last;
    }
    const [name, namespace] = namesOf(key);
    const destination = cluster ?? unknown;
    const counted: Counted = {
      source: about.sourceCluster,
      cluster,
      status,
      flag,
      grpcStatus,
      inbound,
      proven,
      duration: this.#duration.of(about.direction, destination, name, namespace),
      requests: this.#requests.of(
        about.direction,
        about.sourceCluster ?? unknown,
        destination,
        name,
        namespace,
        String(status),
        grpcStatus === undefined ? '' : String(grpcStatus),
        flag,
        proven ? 'mutual_tls' : 'none',
      ),
    };
    this.#last.set(key, counted);
    return counted;
  }
}

function namesOf(key: ServiceKey | undefined): [string, string] {
  return key === undefined ? [unknown, unknown] : [nameOf(key), namespaceOf(key)];
}
