import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../../../runtime/duration.ts';
import type { World } from '../../world.ts';
import { type Choose, examples, withOutput, withServer } from './options.ts';
import { type AnswerOptions, answerFlags, repeated } from './policy.ts';

const defaultDrainMs = 60_000;
const defaultUndrainMs = 30_000;

/** Reads `2x` or `1.5`. */
function loadOption(text: string): number {
  const load = /^\d+(\.\d+)?x?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (!(load >= 0 && load <= 1000)) throw new InvalidArgumentError(`It must be a factor such as '2x' or '1.5'.`);
  return load;
}

/** Reads a duration; none at all is one too. */
function paceOption(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError(`It must be a duration such as '5m', or '0s' for at once.`);
  return ms;
}

interface SimulateOptions extends AnswerOptions {
  readonly lose?: readonly string[];
  readonly drain?: readonly string[];
  readonly load?: number;
  readonly policy?: readonly string[];
}

/** `simulate`, `drain`, `undrain`, `failover history`. */
export function addOperate(program: Command, world: World, choose: Choose): void {
  withServer(withOutput(program.command('simulate')))
    .description('where traffic would go; changes nothing')
    .option('--lose <cluster>', 'as if it could not be reached; repeatable', repeated)
    .option('--drain <cluster>', 'as if it were drained; repeatable', repeated)
    .addOption(
      new Option('--load <factor>', 'as if so much more were asked').argParser(loadOption).default(undefined, '1x'),
    )
    .option('--policy <file>', 'as if these policies were applied; repeatable', repeated)
    .addHelpText(
      'after',
      examples([
        ['isthmus simulate --lose east', 'exit 1 if a service would have nowhere to go'],
        ['isthmus simulate --drain east --load 2x', 'with twice the load'],
        ['isthmus simulate --policy web.yaml', 'a policy not yet applied'],
      ]),
    )
    .action((given: SimulateOptions) =>
      choose(async () => {
        const { simulateCommand } = await import('../commands/operate.ts');
        const { lose = [], drain = [], load = 1, policy = [] } = given;
        return simulateCommand(world, { ...answerFlags(given), lose, drain, load, policy });
      }),
    );
  addDrain(program, { world, choose, state: 'drained' });
  addDrain(program, { world, choose, state: 'active' });
  const failover = program.command('failover').description('where traffic went, and why');
  withServer(withOutput(failover.command('history [service]')))
    .description('changes of where the traffic of services goes, newest first')
    .addHelpText('after', examples([['isthmus failover history shop/web', 'one service']]))
    .action((service: string | undefined, given: AnswerOptions) =>
      choose(async () => (await import('../commands/operate.ts')).failoverHistory(world, service, answerFlags(given))),
    );
}

interface DrainVerb {
  readonly world: World;
  readonly choose: Choose;
  readonly state: 'drained' | 'active';
}

interface DrainOptions extends AnswerOptions {
  readonly over?: number;
  readonly yes?: boolean;
  readonly wait?: boolean;
}

function addDrain(program: Command, { world, choose, state }: DrainVerb): void {
  const drains = state === 'drained';
  const command = program.command(drains ? 'drain [target]' : 'undrain <target>');
  withServer(withOutput(command))
    .description(drains ? 'take a cluster or gateway out of use, gradually' : 'bring it back, gradually')
    .addOption(
      new Option('--over <duration>', 'its share moves over so long')
        .argParser(paceOption)
        .default(undefined, drains ? '60s' : '30s'),
    )
    .option('--yes', 'do it; without, a preview')
    .option('--wait', 'tell how far it is, until it is over')
    .addHelpText(
      'after',
      examples(
        drains
          ? [
              ['isthmus drain', 'what is drained now'],
              ['isthmus drain east --over 5m', 'preview: where its traffic would go'],
              ['isthmus drain east --over 5m --yes --wait', 'do it'],
              ['isthmus drain east/gateway-0 --yes', 'one gateway: new sessions avoid it'],
            ]
          : [['isthmus undrain east --yes', 'connections come back over 30s']],
      ),
    )
    .action((target: string | undefined, given: DrainOptions) =>
      choose(async () => {
        const { drainCommand, listDrains } = await import('../commands/operate.ts');
        if (target === undefined) return listDrains(world, answerFlags(given));
        const overMs = given.over ?? (drains ? defaultDrainMs : defaultUndrainMs);
        const { yes = false, wait = false } = given;
        return drainCommand(world, target, { ...answerFlags(given), state, overMs, yes, wait });
      }),
    );
}
