/** Why nothing can be mounted here, or undefined. */
export function mountProblem(): string | undefined;
