/** The hidden first argument with which the command starts itself as the host of one engine of models. */
export const MODEL_ARGUMENT = '__model';
