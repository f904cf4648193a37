import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/'] },
  js.configs.recommended,
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
    },
  },
  {
    // The browser's types come with the reports' pages; its globals are none of Node's.
    files: ['{pipeline,extract,transform,load,fixtures}/**/*.{ts,tsx}'],
    ignores: ['pipeline/report/script.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...['document', 'window', 'self', 'parent', 'top', 'location', 'history', 'origin'],
        ...['name', 'event', 'status', 'length', 'open', 'close', 'print', 'stop', 'find'],
      ],
    },
  },
  {
    files: ['test/**/*.{ts,tsx}'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' },
  },
);
