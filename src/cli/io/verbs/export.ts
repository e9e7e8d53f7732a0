import { type Command, Option } from 'commander';
import type { World } from '../../world.ts';
import { type Choose, durationOption, examples, fileOption, withOutput } from './options.ts';
import { type AnswerOptions, answerFlags } from './policy.ts';

interface ExportOptions extends AnswerOptions {
  readonly plan?: boolean;
  readonly services?: string;
}

/** `export --plan`. */
export function addExport(program: Command, world: World, choose: Choose): void {
  withOutput(program.command('export'))
    .description('which conflicts an export would bring; changes nothing')
    .option('--plan', 'required: the agent itself exports what its files list')
    .addOption(fileOption())
    .option('--services <file>', 'a services file instead of those that the configuration lists')
    .addOption(new Option('--server <socket>', 'admin socket of the agent').env('ISTHMUS_SERVER'))
    .addOption(
      new Option('--timeout <duration>', 'give up after this')
        .argParser(durationOption)
        .default(undefined, '5s')
        .env('ISTHMUS_TIMEOUT'),
    )
    .addHelpText(
      'after',
      examples([
        ['isthmus export --plan -f agent.yaml', 'the file as it is now, before the agent reads it'],
        ['isthmus export --plan --services new.yaml -o json', 'exit 1 if something new would be in conflict'],
      ]),
    )
    .action((given: ExportOptions) =>
      choose(async () => {
        const { plan = false, services } = given;
        const { exportCommand } = await import('../commands/export.ts');
        return exportCommand(world, { ...answerFlags(given), plan, ...(services !== undefined && { services }) });
      }),
    );
}
