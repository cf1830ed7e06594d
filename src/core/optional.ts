/** Optional packages: the name comes as a parameter, so that neither our build nor a user's bundler resolves it ahead of time. */
export async function importOptional<T>(name: string): Promise<T> {
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as T;
}
