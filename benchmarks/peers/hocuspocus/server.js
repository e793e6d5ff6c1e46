// Hocuspocus as its documentation advises for production: the extension Database keeps documents, here in files.
'use strict';

const { existsSync } = require('node:fs');
const { readFile, rename, writeFile } = require('node:fs/promises');
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { Database } = require('@hocuspocus/extension-database');
const { Server } = require('@hocuspocus/server');

const { values: options } = parseArgs({ options: { port: { type: 'string' }, data: { type: 'string' } } });

const server = new Server({
  port: Number(options.port),
  address: '127.0.0.1',
  quiet: true,
  extensions: [
    new Database({
      fetch: async ({ documentName }) => {
        const path = join(options.data, documentName);
        return existsSync(path) ? readFile(path) : null;
      },
      store: async ({ documentName, state }) => {
        const path = join(options.data, documentName);
        await writeFile(`${path}.new`, state);
        await rename(`${path}.new`, path);
      },
    }),
  ],
});

server.listen();
