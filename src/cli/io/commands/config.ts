import { stringify } from 'yaml';
import { exit } from '../../exit.ts';
import { withOrigins } from '../../origins.ts';
import type { FileRole, World } from '../../world.ts';

export interface ConfigFlags {
  readonly file: string;
  readonly role?: FileRole;
  readonly showOrigin?: boolean;
  readonly output?: string;
}

/** `isthmus config check`: says so when a file is right; all problems are one error otherwise. */
export async function checkConfig(world: World, { file, role }: ConfigFlags): Promise<number> {
  const config = await world.readConfig(file, role);
  world.stdout.write(`${file}: a right configuration of role ${config.role}\n`);
  return exit.ok;
}

/** `isthmus config view`: every value in force, defaults included. Secrets are in files of their own, never here. */
export async function viewConfig(world: World, { file, role, showOrigin, output }: ConfigFlags): Promise<number> {
  const { effective, lines } = await world.readConfig(file, role);
  if (showOrigin) world.stdout.write(withOrigins(effective, file, lines));
  else world.stdout.write(output === 'json' ? `${JSON.stringify(effective, null, 2)}\n` : stringify(effective));
  return exit.ok;
}
