import { Command, CommanderError } from 'commander';
import { IsthmusError } from '../../model/error.ts';
import { describeError, exit, exitOf } from '../exit.ts';
import type { World } from '../world.ts';
import { addExport } from './verbs/export.ts';
import { addHub } from './verbs/hub.ts';
import { addShows } from './verbs/look.ts';
import { addMembers } from './verbs/members.ts';
import { addOperate } from './verbs/operate.ts';
import { type Action, type Choose, examples } from './verbs/options.ts';
import { addPolicy } from './verbs/policy.ts';
import { addDemo, addRoles } from './verbs/run.ts';
import { addSetUp } from './verbs/set-up.ts';
import { addTrust } from './verbs/trust.ts';

/**
 * Runs one command line (without `node` and the script). Everything it has to say goes to `world`.
 * @returns the exit status (`exit.ts`)
 */
export async function runCli(args: readonly string[], world: World): Promise<number> {
  let action: Action | undefined;
  const program = buildProgram(world, (chosen) => {
    action = chosen;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return action === undefined ? exit.ok : await action();
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exit.ok : exit.usage;
    const error = IsthmusError.from(thrown);
    world.stderr.write(describeError(error));
    if (error.code === 'internal' && error.cause instanceof Error) world.stderr.write(`${error.cause.stack ?? ''}\n`);
    return exitOf(error);
  }
}

/** Every verb with its flags. */
export function buildProgram(world: World, choose: Choose): Command {
  const program = new Command('isthmus')
    .description('Links clusters into one federation: gateways, one trust root, shared services.')
    .configureOutput({
      writeOut: (text) => void world.stdout.write(text),
      writeErr: (text) => void world.stderr.write(text),
    })
    .exitOverride()
    .version(world.version, '-V, --version', 'print the version')
    .helpCommand(true)
    .addHelpText(
      'after',
      examples([
        ['isthmus demo', 'three linked clusters on this machine'],
        ['isthmus status', 'is it ready, and if not, what does it wait for'],
        ['isthmus services shop/web', 'who serves it, with which share, and why'],
        ['isthmus explain shop/web:80', 'where a connection would go now'],
      ]) + '\nExit status: 0 ok, 1 a check failed, 2 usage or configuration, 4 unreachable or timed out.\n',
    );
  program.commandsGroup('Run:');
  addRoles(program, world, choose);
  addDemo(program, world, choose);
  program.commandsGroup('Set up:');
  addSetUp(program, world, choose);
  program.commandsGroup('Look:');
  addShows(program, world, choose);
  program.commandsGroup('Policy and operations:');
  addPolicy(program, world, choose);
  addOperate(program, world, choose);
  addExport(program, world, choose);
  program.commandsGroup('Members:');
  addMembers(program, world, choose);
  program.commandsGroup('Trust:');
  addTrust(program, world, choose);
  program.commandsGroup('Hub:');
  addHub(program, world, choose);
  program.commandsGroup('More:');
  program
    .command('version')
    .description('print the version')
    .action(() =>
      choose(async () => {
        world.stdout.write(`isthmus ${world.version}\n`);
        return exit.ok;
      }),
    );
  return program;
}
