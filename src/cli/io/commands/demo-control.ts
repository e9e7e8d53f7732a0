import { adminPaths, type DemoStatus } from '../../../model/status.ts';
import { exit } from '../../exit.ts';
import type { OutputFormat } from '../../output-format.ts';
import { render, wantsColour } from '../../view.ts';
import { demoView } from '../../views/demo.ts';
import type { World } from '../../world.ts';
import { connectServer, type ServerFlags } from '../connect.ts';

export interface DemoControlFlags extends ServerFlags {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

/** `isthmus demo status|fail|restore`: tells a running demo what to do and shows how it stands. */
export async function controlDemo(
  world: World,
  verb: 'status' | 'fail' | 'restore',
  cluster: string,
  flags: DemoControlFlags,
): Promise<number> {
  const connection = await connectServer(world, 'demo', flags);
  try {
    const path = verb === 'fail' ? adminPaths.demoFail : adminPaths.demoRestore;
    const status =
      verb === 'status'
        ? await connection.get<DemoStatus>(adminPaths.demo)
        : await connection.post<DemoStatus>(path, { cluster });
    const colour = wantsColour(world.stdout.isTTY, world.env);
    world.stdout.write(render(demoView(status), { format: flags.output, headers: flags.headers, colour }));
    if (verb === 'fail') world.stderr.write(`Undo with: isthmus demo restore ${cluster}\n`);
    return exit.ok;
  } finally {
    await connection.close();
  }
}
