import type { ClusterName } from '../../../model/names.ts';
import type { MeshView } from '../../../model/view.ts';

/** More would hide the first ones. */
const maxWarnings = 20;

/**
 * What is wrong with exports as this cluster sees them: conflicts over services that it exports itself, told to every
 * exporter alike, and whatever of any cluster is not taken as it stands.
 */
export function exportWarnings(view: MeshView | undefined, self: ClusterName): readonly string[] {
  const found: string[] = [];
  for (const { key, exports, conflicts } of view?.services.values() ?? []) {
    if (exports.has(self)) for (const { message } of conflicts) found.push(`${key}: ${message}`);
  }
  for (const { notices } of view?.clusters.values() ?? []) for (const { message } of notices) found.push(message);
  if (found.length <= maxWarnings) return found;
  return [...found.slice(0, maxWarnings), `… and ${found.length - maxWarnings} more about exports`];
}
