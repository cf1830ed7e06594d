/**
 * `npm run bench -- models [options]`: `tesserae bench --suite models --peers` from the sources, on the tests' models as well where they are here.
 */
import { WHOLE_MODELS } from '../test/support/onnx.ts';

export function modelArguments(rest: readonly string[]): readonly string[] {
  const shared = WHOLE_MODELS.flatMap(({ from, file }) => (from === 'shared/data' && file ? [file] : []));
  return ['--suite', 'models', '--peers', '--models', ['packaged', ...shared].join(','), ...rest];
}
