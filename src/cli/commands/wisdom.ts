/** `tesserae wisdom`: lists, exports, imports and clears the plans that were measured. */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { printPlan, type Runtime } from '../../index.ts';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatMs } from '../format.ts';
import { addJson, addRuntimeOptions, addVerbose, type CommonOptions, type Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Define } from './types.ts';

export const defineWisdom: Define = (program, run) => {
  const wisdom = program
    .command('wisdom')
    .summary('list, export, import or clear measured plans')
    .description('Wisdom is the store of measured plans. It is signed for this machine, engine and version.');
  const define = (
    name: string,
    about: string,
    work: (session: Session, file?: string) => Promise<ExitCode>,
  ) => {
    const command = common(wisdom.command(name).description(about));
    if (name === 'export') command.argument('[file]', 'where to (default: stdout)');
    if (name === 'import') command.argument('<file>', 'made by export');
    command.action((...given: readonly unknown[]) => {
      const file = typeof given[0] === 'string' ? given[0] : undefined;
      const options = given.find((value) => typeof value === 'object' && value !== null) as CommonOptions;
      return run(options, (session) => work(session, file));
    });
  };
  define('list', 'what is remembered', list);
  define('export', 'write the signed text of the store', exportTo);
  define('import', 'merge an exported file, all or nothing', importFrom);
  define('clear', 'forget everything', clear);
};

function common(command: Command): Command {
  return addVerbose(addJson(addRuntimeOptions(command)));
}

/** The head of every document of these commands. */
function documentOf(action: string, { info }: Runtime): object {
  return { tool: 'tesserae', kind: `wisdom ${action}`, schema: 1, source: info.wisdom.source };
}

function list(session: Session): Promise<ExitCode> {
  return session.withRuntime(async (runtime) => {
    const entries = runtime.wisdom.list();
    const { source, signature } = runtime.info.wisdom;
    const rows = entries.map(({ key, effort, ms, plan }) => [key, effort, formatMs(ms), printPlan(plan)]);
    const columns = [
      { title: 'problem' },
      { title: 'effort' },
      { title: 'time', align: 'right' as const },
      { title: 'plan' },
    ];
    const table = rows.length > 0 ? `${renderTable(columns, rows, session.colors.dim)}\n` : '';
    const count = entries.length === 1 ? '1 plan' : `${entries.length} plans`;
    session.print({ ...documentOf('list', runtime), signature, entries }, `${table}${count} in ${source}\n`);
    return EXIT.ok;
  });
}

function exportTo(session: Session, file?: string): Promise<ExitCode> {
  return session.withRuntime(async (runtime) => {
    const text = runtime.wisdom.export();
    const entries = runtime.wisdom.list().length;
    if (file === undefined) {
      // Without a file, plain stdout is the store's own text, ready to be piped.
      session.print(
        { ...documentOf('export', runtime), entries, text },
        text.endsWith('\n') ? text : `${text}\n`,
      );
      return EXIT.ok;
    }
    onFile(file, () => writeFileSync(resolve(session.host.cwd, file), text));
    session.print(
      { ...documentOf('export', runtime), entries, file },
      `${entries} plans written to ${file}\n`,
    );
    return EXIT.ok;
  });
}

function importFrom(session: Session, file = ''): Promise<ExitCode> {
  const text = onFile(file, () => readFileSync(resolve(session.host.cwd, file), 'utf8'));
  return session.withRuntime(async (runtime) => {
    const imported = runtime.wisdom.import(text);
    session.print(
      { ...documentOf('import', runtime), imported },
      `${imported} plans taken over from ${file}\n`,
    );
    return EXIT.ok;
  });
}

function clear(session: Session): Promise<ExitCode> {
  return session.withRuntime(async (runtime) => {
    const cleared = runtime.wisdom.list().length;
    runtime.wisdom.clear();
    session.print({ ...documentOf('clear', runtime), cleared }, `${cleared} plans forgotten\n`);
    return EXIT.ok;
  });
}

function onFile<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new UsageError(`cannot use ${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}
