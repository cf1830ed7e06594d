/** Names in other spellings. */

type Snake<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? '' : '_'}${Uppercase<First>}${Snake<Rest>}`
  : '';

/** `rowPitch` as `ROW_PITCH`. */
export type UpperSnake<Name extends string> = Snake<Name>;

/** `rowPitch` becomes `ROW_PITCH`. */
export function upperSnake<const Name extends string>(name: Name): UpperSnake<Name> {
  return name.replace(/[A-Z]/g, '_$&').toUpperCase() as UpperSnake<Name>;
}
