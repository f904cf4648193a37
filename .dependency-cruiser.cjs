/**
 * Imports run one way: cli → commands → run, inspect, export, report → extract, transform, load → config → staging → shared.
 * The stages never import each other; only the demo command and the tests may see the stand-in cloud.
 */
const rooms = '^(pipeline|extract|transform|load|fixtures|test)/';
/** Peers that are optional, and here for the tests: dependency-cruiser does not know such packages. */
const optional = '^node_modules/(playwright-core|bullmq|ioredis)/';
const rule = (name, from, to) => ({ name, severity: 'error', from, to });
/** What is in a room imports from the named ones alone, beside itself. */
const stands = (name, room, ...on) =>
  rule(
    name,
    { path: `^${room}/` },
    { path: rooms, pathNot: [`^${room}/`, ...on.map((one) => `^${one}/`)] },
  );

module.exports = {
  forbidden: [
    rule('no-circles', {}, { circular: true }),
    stands('shared-is-the-ground', 'pipeline/shared'),
    stands('staging-on-shared', 'pipeline/staging', 'pipeline/shared'),
    stands('config-on-staging', 'pipeline/config', 'pipeline/staging', 'pipeline/shared'),
    ...['extract', 'transform', 'load'].map((stage) =>
      stands(
        `${stage}-stands-alone`,
        stage,
        'pipeline/config',
        'pipeline/staging',
        'pipeline/shared',
      ),
    ),
    rule(
      'run-inspect-report-are-below-commands',
      { path: '^pipeline/(run|inspect|export|report)/' },
      { path: '^(pipeline/(commands/|(cli|command-line)\\.ts$)|fixtures/|test/)' },
    ),
    rule('run-is-below-inspect', { path: '^pipeline/run/' }, { path: '^pipeline/inspect/' }),
    // A report is made of the exports alone: it neither fetches nor asks a database.
    stands(
      'report-on-load',
      'pipeline/report',
      'load',
      'pipeline/config',
      'pipeline/staging',
      'pipeline/shared',
    ),
    rule(
      'commands-are-below-cli',
      { path: '^pipeline/commands/' },
      { path: '^pipeline/(cli|command-line)\\.ts$' },
    ),
    rule(
      'only-demo-sees-fixtures',
      { path: '^(pipeline|extract|transform|load)/', pathNot: '^pipeline/commands/demo\\.ts$' },
      { path: '^fixtures/' },
    ),
    stands('fixtures-on-shared', 'fixtures', 'pipeline/shared'),
    rule('nothing-imports-tests', { pathNot: '^test/' }, { path: '^test/' }),
    rule(
      'no-undeclared-packages',
      {},
      { dependencyTypes: ['npm-no-pkg', 'npm-unknown'], pathNot: optional },
    ),
    rule(
      'no-dev-packages-in-product',
      { path: '^(pipeline|extract|transform|load|fixtures)/' },
      { dependencyTypes: ['npm-dev'], pathNot: optional },
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
