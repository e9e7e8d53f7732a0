import type { Clock } from '../../../model/ports/clock.ts';
import type { Log } from '../../../model/ports/log.ts';
import { Tracer } from '../../http/trace/tracer.ts';
import type { MetricSamples } from '../../metrics/series.ts';
import { OtlpExporter } from './otlp-exporter.ts';
import { randomIds } from './otlp-ids.ts';

export interface OtlpTracingOptions {
  /** See `OtlpExporterOptions`. */
  readonly endpoint: string;
  /** 0 to 1, see `TracerOptions`. */
  readonly sample: number;
  readonly cluster: string;
  readonly instance: string;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** A tracer and where its spans go. */
export interface OtlpTracing {
  readonly tracer: Tracer;
  metrics(): readonly MetricSamples[];
  /** Sends what is left, within a second. */
  close(): Promise<void>;
}

/** Loaded only by a gateway that is told where traces go. */
export function startOtlpTracing(options: OtlpTracingOptions): OtlpTracing {
  const { endpoint, sample, cluster, instance, version, clock, log } = options;
  const exporter = new OtlpExporter({
    endpoint,
    clock,
    log,
    resource: {
      attributes: [
        ['service.name', 'isthmus-gateway'],
        ['service.version', version],
        ['service.instance.id', `${cluster}/${instance}`],
        ['k8s.cluster.name', cluster],
      ],
      scope: { name: 'isthmus', version },
    },
  });
  return {
    tracer: new Tracer({ ids: randomIds, clock, sample, sink: exporter }),
    metrics: () => exporter.metrics(),
    close: () => exporter.close(),
  };
}
