import type { IncomingMessage, ServerResponse } from 'node:http';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { isLoopback } from '../../model/address.ts';
import { messageOf } from '../../model/error.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import type { MetricSample, MetricSamples } from '../metrics/series.ts';
import { type HttpListener, listenHttp, sendText } from './http-listener.ts';

/** What the pages show, made when they are asked for. */
export interface MetricsPages {
  readonly metrics: () => readonly MetricSamples[];
  readonly config: () => object;
  readonly routes: () => object;
  readonly stats: () => object;
}

/**
 * `/metrics` for Prometheus; `/config`, `/routes` and `/stats` for whoever is on this machine: they say more than a
 * monitoring system needs to know.
 * @throws IsthmusError `conflict`, `unavailable`
 */
export function startMetricsServer(address: ListenAddress, pages: MetricsPages): Promise<HttpListener> {
  return listenHttp({
    address,
    purpose: 'metrics',
    answer(request, response) {
      if (request.url === '/metrics') return void sendMetrics(response, pages.metrics());
      const page = pageOf(request.url, pages);
      if (!page) return sendText(response, 404, 'see /metrics, and on this machine /config, /routes and /stats');
      if (!isFromHere(request)) return sendText(response, 403, 'only for clients on this machine');
      response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
      response.end(`${JSON.stringify(page(), undefined, 2)}\n`);
    },
  });
}

function pageOf(url: string | undefined, { config, routes, stats }: MetricsPages): (() => object) | undefined {
  if (url === '/config') return config;
  if (url === '/routes') return routes;
  return url === '/stats' ? stats : undefined;
}

/** By address and by name: a page of a stranger in this machine's browser gets here under the stranger's name. */
function isFromHere({ socket, headers }: IncomingMessage): boolean {
  const host = (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  return isLoopback(address) && isLoopback(host);
}

async function sendMetrics(response: ServerResponse, metrics: readonly MetricSamples[]): Promise<void> {
  const registry = new Registry();
  for (const metric of metrics) registry.registerMetric(expose(metric));
  try {
    const text = await registry.metrics();
    response.writeHead(200, { 'content-type': registry.contentType }).end(text);
  } catch (thrown) {
    sendText(response, 500, messageOf(thrown));
  }
}

/** A metric of the library whose values are read off ours at that moment. */
function expose(metric: MetricSamples): Counter | Gauge | Histogram {
  const { name, help } = metric;
  const options = { name, help, labelNames: [...metric.labels], registers: [] };
  switch (metric.kind) {
    case 'counter':
      return new Counter({
        ...options,
        collect() {
          this.reset();
          for (const sample of metric.samples()) this.inc(labelled(metric, sample), sample.value);
        },
      });
    case 'gauge':
      return new Gauge({
        ...options,
        collect() {
          for (const sample of metric.samples()) this.set(labelled(metric, sample), sample.value);
        },
      });
    case 'histogram':
      return new CountedHistogram(metric);
  }
}

function labelled({ labels }: MetricSamples, { values }: MetricSample): Record<string, string> {
  return Object.fromEntries(labels.map((label, index) => [label, values[index] ?? '']));
}

/** The library's histogram takes single observations only; this one shows buckets that were counted elsewhere. */
class CountedHistogram extends Histogram {
  readonly #metric: MetricSamples;

  constructor(metric: MetricSamples) {
    super({ name: metric.name, help: metric.help, labelNames: [...metric.labels], registers: [] });
    this.#metric = metric;
  }

  override get(): ReturnType<Histogram['get']> {
    const { name, help, bounds = [] } = this.#metric;
    const values = [...this.#metric.samples()].flatMap((sample) => {
      const labels = labelled(this.#metric, sample);
      let below = 0;
      const buckets = [...(sample.buckets ?? [])].map((count, index) => {
        below += count;
        return { metricName: `${name}_bucket`, labels: { ...labels, le: bounds[index] ?? '+Inf' }, value: below };
      });
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sample.value },
        { metricName: `${name}_count`, labels, value: below },
      ];
    });
    const shape = { name, help, type: 'histogram', aggregator: 'sum', collect: () => undefined, values };
    return Promise.resolve(shape as unknown as Awaited<ReturnType<Histogram['get']>>);
  }

  /** What the registry asks for instead of `get`. */
  getForPromString(): ReturnType<Histogram['get']> {
    return this.get();
  }
}
