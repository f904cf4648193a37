/** A function that opens something at its first call and gives every later caller the same thing. */
export interface Once<T> {
  (): Promise<T>;
  /** Calls `use` if the thing was opened and opening it succeeded. */
  ifOpened(use: (opened: T) => Promise<void> | void): Promise<void>;
}

export function once<T>(open: () => Promise<T>): Once<T> {
  let opening: Promise<T> | undefined;
  const call = (): Promise<T> => (opening ??= open());
  return Object.assign(call, {
    async ifOpened(use: (opened: T) => Promise<void> | void) {
      const settled = (await Promise.allSettled(opening === undefined ? [] : [opening]))[0];
      if (settled?.status === 'fulfilled') await use(settled.value);
    },
  });
}
