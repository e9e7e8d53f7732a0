import { IsthmusError } from '../../../model/error.ts';
import { type ExportPreview, exportPreviewPath } from '../../../model/export-report.ts';
import { exit } from '../../exit.ts';
import { exportPreviewView } from '../../views/export.ts';
import type { World } from '../../world.ts';
import { type AnswerFlags, answer } from './policy.ts';

export interface ExportFlags extends AnswerFlags {
  readonly plan: boolean;
  /** A services file; absent = the services of `config`. */
  readonly services?: string;
}

/** `isthmus export --plan`: ends with 1 when something new would be in conflict, or is not allowed. */
export async function exportCommand(world: World, { plan, services: file, ...flags }: ExportFlags): Promise<number> {
  if (!plan) {
    throw new IsthmusError(
      'invalid',
      'export needs --plan: the agent exports what its files list, as soon as they do',
      {
        hint: 'isthmus export --plan -f agent.yaml',
      },
    );
  }
  if (file === undefined && flags.config === undefined) {
    throw new IsthmusError('invalid', 'export --plan needs -f <agent.yaml> or --services <services.yaml>');
  }
  const services = await world.listServices(file === undefined ? { config: flags.config ?? '' } : { file });
  let ok = false;
  await answer(world, flags, async (connection) => {
    const preview = await connection.post<ExportPreview>(exportPreviewPath, { services });
    ({ ok } = preview);
    return exportPreviewView(preview);
  });
  return ok ? exit.ok : exit.failed;
}
