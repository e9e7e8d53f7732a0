import type { AccessLogEntry } from '../access-log.ts';
import { type ClusterName, nameOf, namespaceOf, type ServiceKey } from '../../model/names.ts';
import type { CountedReason, Refusals } from './refusals.ts';
import { type MetricSamples, Series } from './series.ts';

/** Services × clusters × flags that are told apart; a federation of a thousand services in ten clusters stays below. */
const maxServiceSeries = 20_000;
const maxClusterSeries = 1000;
const maxReasons = 64;

const connectBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const durationBounds = [0.005, 0.025, 0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600];

const service = ['destination_service', 'destination_service_namespace'] as const;
/** What stands where nothing is known, as in other meshes' metrics. */
const unknown = 'unknown';

/** What connections have carried since it was last told. */
export interface CarriedBytes {
  readonly direction: AccessLogEntry['direction'];
  readonly destination: ClusterName;
  readonly service: ServiceKey;
  /** From clients. */
  readonly received: number;
  /** To clients. */
  readonly sent: number;
}

/** The series of bytes of one service. */
interface Way {
  readonly direction: CarriedBytes['direction'];
  readonly destination: ClusterName;
  readonly received: number;
  readonly sent: number;
}

/** Everything that is counted as it happens. Names and labels as in experience.md, "Observability". */
export class TrafficMetrics implements Refusals {
  readonly #connections = new Series({
    name: 'isthmus_connections_total',
    help: 'Connections that ended, by how.',
    labels: [
      'direction',
      'source_cluster',
      'destination_cluster',
      ...service,
      'response_flags',
      'connection_security_policy',
    ],
    maxSeries: maxServiceSeries,
  });
  readonly #received = new Series({
    name: 'isthmus_bytes_received_total',
    help: 'Bytes from clients.',
    labels: ['direction', 'destination_cluster', ...service],
    maxSeries: maxServiceSeries,
  });
  readonly #sent = new Series({
    name: 'isthmus_bytes_sent_total',
    help: 'Bytes to clients.',
    labels: ['direction', 'destination_cluster', ...service],
    maxSeries: maxServiceSeries,
  });
  readonly #connect = new Series({
    name: 'isthmus_connect_duration_seconds',
    help: 'From acceptance to the connected upstream, all candidates tried included.',
    labels: ['direction', 'destination_cluster'],
    bounds: connectBounds,
    maxSeries: maxClusterSeries,
  });
  readonly #duration = new Series({
    name: 'isthmus_connection_duration_seconds',
    help: 'Whole life of connections that ended.',
    labels: ['direction', 'destination_cluster'],
    bounds: durationBounds,
    maxSeries: maxClusterSeries,
  });
  readonly #attempts = new Series({
    name: 'isthmus_connect_attempts_total',
    help: 'Candidates tried for connections that ended; more than connections means failing over at connect time.',
    labels: ['direction'],
    maxSeries: 2,
  });
  readonly #refusals = new Series({
    name: 'isthmus_refusals_total',
    help: 'What was turned away before it was carried, by reason.',
    labels: ['reason'],
    maxSeries: maxReasons,
  });
  readonly #ejections = new Series({
    name: 'isthmus_ejections_total',
    help: 'Endpoints and remote services taken out of use by their outcomes.',
    labels: ['destination_cluster', ...service],
    maxSeries: maxServiceSeries,
  });
  readonly #failovers = new Series({
    name: 'isthmus_failovers_total',
    help: 'Times that all traffic of a service left its preferred tier.',
    labels: service,
    maxSeries: maxServiceSeries,
  });

  /** Where the last bytes of each service went, and their series: to find those costs more than to add. */
  readonly #lastWay = new Map<ServiceKey, Way>();

  /** One connection has ended. Durations in the entry are ms. */
  connectionEnded(entry: AccessLogEntry): void {
    const { direction } = entry;
    const destination = entry.destination_cluster ?? unknown;
    const name = entry.destination_service ? nameOf(entry.destination_service) : unknown;
    const namespace = entry.destination_service ? namespaceOf(entry.destination_service) : unknown;
    this.#connections.add(
      this.#connections.of(
        direction,
        entry.source_cluster ?? unknown,
        destination,
        name,
        namespace,
        entry.response_flags,
        entry.peer_identity === null ? 'none' : 'mutual_tls',
      ),
    );
    this.#attempts.add(this.#attempts.of(direction), entry.upstream_request_attempt_count);
    this.#duration.observe(this.#duration.of(direction, destination), entry.duration / 1000);
    if (entry.destination_cluster === null) return;
    this.#connect.observe(this.#connect.of(direction, destination), entry.connect_duration / 1000);
  }

  /** Bytes of a connection, whose entry comes only when it ends, or of a request. */
  carried({ direction, destination, service: key, received, sent }: CarriedBytes): void {
    let way = this.#lastWay.get(key);
    if (!way || way.direction !== direction || way.destination !== destination) {
      const labels = [direction, destination, nameOf(key), namespaceOf(key)] as const;
      way = { direction, destination, received: this.#received.of(...labels), sent: this.#sent.of(...labels) };
      this.#lastWay.set(key, way);
    }
    this.#received.add(way.received, received);
    this.#sent.add(way.sent, sent);
  }

  count(reason: CountedReason): void {
    this.#refusals.add(this.#refusals.of(reason));
  }

  ejected(cluster: string, key: ServiceKey): void {
    this.#ejections.add(this.#ejections.of(cluster, nameOf(key), namespaceOf(key)));
  }

  failedOver(key: ServiceKey): void {
    this.#failovers.add(this.#failovers.of(nameOf(key), namespaceOf(key)));
  }

  metrics(): readonly MetricSamples[] {
    return [
      this.#connections,
      this.#received,
      this.#sent,
      this.#connect,
      this.#duration,
      this.#attempts,
      this.#refusals,
      this.#ejections,
      this.#failovers,
    ];
  }
}
