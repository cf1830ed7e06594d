/** Reads a file that `tesserae bench --json FILE` wrote. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type BenchReport, REPORT_SCHEMA } from './bench/report.ts';
import { UsageError } from './errors.ts';

/** A file that is no report is a usage error: for `compare`, exit status 1 is kept for a change. */
export function readReport(file: string, cwd: string): BenchReport {
  let report: Partial<BenchReport> | null;
  try {
    report = JSON.parse(readFileSync(resolve(cwd, file), 'utf8')) as Partial<BenchReport> | null;
  } catch (error) {
    const reason =
      error instanceof SyntaxError
        ? 'it is not JSON'
        : ((error as NodeJS.ErrnoException).code ?? String(error));
    throw new UsageError(`cannot read ${file}: ${reason}`);
  }
  if (report?.tool !== 'tesserae' || report.kind !== 'bench' || !Array.isArray(report.rows)) {
    throw new UsageError(`${file} is no bench report`, 'Make one with `tesserae bench --json FILE`.');
  }
  if (report.schema !== REPORT_SCHEMA) {
    throw new UsageError(
      `${file} has schema ${report.schema}, this version reads ${REPORT_SCHEMA}`,
      'Measure again.',
    );
  }
  return report as BenchReport;
}
