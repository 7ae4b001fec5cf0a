/** Whether `version` ("24.15.0") is one that Holdfast runs on. */
export function isNewEnough(version: string): boolean;
