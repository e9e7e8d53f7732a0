import type { ExportApi } from '../../admin/export-api.ts';
import { readDocument } from '../../config/document.ts';
import { problemsError } from '../../config/problem.ts';
import { parseServicesFile } from '../../config/services-file.ts';
import { previewExports } from '../../federation/export/preview.ts';
import { localServiceOf } from '../../federation/export/static-services.ts';
import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { RunningAgent } from './running.ts';

export interface ExportPreviewContext {
  readonly running: () => RunningAgent | undefined;
  readonly clock: Clock;
}

/** Answers what would become of services that are not exported yet. */
export function createExportApi({ running, clock }: ExportPreviewContext): ExportApi {
  return {
    preview(services) {
      const agent = running();
      const view = agent?.mesh.view.current;
      const entry = agent?.ca.trust.current?.roster.clusters.get(agent.ca.cluster);
      if (!agent || !view || !entry) {
        throw new IsthmusError('unavailable', 'The agent does not know the federation yet: isthmus status says why');
      }
      const parsed = parseServicesFile(readDocument('services', JSON.stringify({ services })));
      if (!parsed.ok) throw problemsError('services', parsed.problems);
      const local = parsed.value.services.map(localServiceOf);
      return previewExports({
        view,
        own: agent.mesh.own?.records ?? new Map(),
        local: { synced: true, services: new Map(local.map((service) => [service.key, service])) },
        exportable: entry.exportable,
        now: clock.now(),
      });
    },
  };
}
