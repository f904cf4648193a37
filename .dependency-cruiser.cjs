/**
 * Imports run one way: cli → commands → run → the three stages → staging and the small value modules.
 * The stages never import each other; only the demo command and the tests may see the stand-in cloud.
 */
const values =
  '^pipeline/(month|money|scope|errors|log|version|outcome|provisional|waits|files)\\.ts$';
const rule = (name, from, to) => ({ name, severity: 'error', from, to });

module.exports = {
  forbidden: [
    rule('no-circles', {}, { circular: true }),
    ...['extract', 'transform', 'load'].map((room) =>
      rule(
        `${room}-stands-alone`,
        { path: `^${room}/` },
        {
          path: '^(pipeline|extract|transform|load|fixtures|test)/',
          pathNot: [`^${room}/`, '^pipeline/staging/', values],
        },
      ),
    ),
    rule(
      'values-know-nothing',
      { path: values },
      { path: '^(pipeline|extract|transform|load|fixtures|test)/', pathNot: values },
    ),
    rule(
      'staging-knows-values-only',
      { path: '^pipeline/staging/' },
      {
        path: '^(pipeline|extract|transform|load|fixtures|test)/',
        pathNot: ['^pipeline/staging/', values],
      },
    ),
    rule(
      'run-is-below-commands',
      { path: '^pipeline/', pathNot: '^pipeline/(commands/|cli\\.ts$)' },
      { path: '^pipeline/(commands/|cli\\.ts$)' },
    ),
    rule(
      'commands-are-below-cli',
      { path: '^pipeline/commands/' },
      { path: '^pipeline/cli\\.ts$' },
    ),
    rule(
      'only-demo-sees-fixtures',
      { path: '^(pipeline|extract|transform|load)/', pathNot: '^pipeline/commands/demo\\.ts$' },
      { path: '^fixtures/' },
    ),
    rule('nothing-imports-tests', { pathNot: '^test/' }, { path: '^test/' }),
    rule(
      'fixtures-see-values-only',
      { path: '^fixtures/' },
      { path: '^(pipeline|extract|transform|load)/', pathNot: values },
    ),
    rule('no-undeclared-packages', {}, { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] }),
    rule(
      'no-dev-packages-in-product',
      { path: '^(pipeline|extract|transform|load|fixtures)/' },
      { dependencyTypes: ['npm-dev'] },
    ),
    rule('resolvable', {}, { couldNotResolve: true }),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
