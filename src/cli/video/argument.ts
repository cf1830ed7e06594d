/** The hidden first argument with which the command starts itself as a process that looks at frames. */
export const EYE_ARGUMENT = '__eye';
