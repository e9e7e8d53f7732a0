import type { LocalServices } from '../model/ports/service-source.ts';
import type { MeshView } from '../model/view.ts';
import type { PolicyBase } from './defaults.ts';
import type { Drains } from './drain.ts';
import type { PolicySet } from './policy-set.ts';

/** All that the plan of one cluster's gateways follows from; `failover` and `traffic` hold where no policy does. */
export interface CompileInput extends PolicyBase {
  readonly view: MeshView;
  /** The own cluster's services: fresher than the view, and with the endpoints that only this cluster knows. */
  readonly local: LocalServices;
  /** `<namespace>/<name>:<service port>` → port of the gateway's plain listener. */
  readonly importPorts: ReadonlyMap<string, number>;
  /** Absent: none. */
  readonly policies?: PolicySet;
  /** Absent: none. */
  readonly drains?: Drains;
}
