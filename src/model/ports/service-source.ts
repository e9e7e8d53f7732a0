import type { ServiceKey } from '../names.ts';
import type { ExportRecord, ServicePort } from '../record.ts';
import type { LocalEndpoint } from '../route.ts';
import type { Watch } from './watch.ts';

/** A service that runs in this cluster, as its source describes it. */
export interface LocalService {
  readonly key: ServiceKey;
  readonly ports: readonly ServicePort[];
  readonly exported: boolean;
  readonly allow: ExportRecord['allow'];
  readonly capacity?: ExportRecord['capacity'];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** May be reached by SNI, its TLS untouched. */
  readonly passthrough?: boolean;
  readonly endpoints: readonly LocalEndpoint[];
}

/** Immutable set of services; `synced` is false until the source was read completely once. */
export interface LocalServices {
  readonly synced: boolean;
  readonly services: ReadonlyMap<ServiceKey, LocalService>;
}

/** Where services come from: a file, Kubernetes. */
export type ServiceSource = Watch<LocalServices>;
