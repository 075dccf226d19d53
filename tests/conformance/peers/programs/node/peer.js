// node-postgres against whatever PGHOST and PGPORT name: one JSON line per case, exit code 1 when one is off.
// PEER_MODE=transaction leaves out what needs one server for a whole session.
'use strict'

const assert = require('node:assert/strict')
const { pipeline } = require('node:stream/promises')
const { Readable, Writable } = require('node:stream')
const { Client, Pool, Query } = require('pg')
const { from: copyFrom, to: copyTo } = require('pg-copy-streams')

const SESSION = process.env.PEER_MODE !== 'transaction'
const CASE_TIMEOUT_MS = 30_000
const MB = 1024 * 1024

const open = []

async function connect(options = {}) {
  const client = new Client({ ...options })
  // A connection that ends while it is idle must not end the program: the case that needs it will fail.
  client.on('error', () => {})
  await client.connect()
  open.push(client)
  return client
}

async function fails(code, promise) {
  try {
    await promise
  } catch (error) {
    assert.equal(error.code, code, `${error.code} ${error.message}`)
    return error
  }
  assert.fail(`expected an error ${code}`)
}

const value = async (client, text, values) => Object.values((await client.query(text, values)).rows[0])[0]

async function table(client, name, columns) {
  await client.query(`DROP TABLE IF EXISTS ${name}`)
  await client.query(`CREATE TABLE ${name} (${columns})`)
}

const cases = {
  async 'simple query'() {
    const client = await connect()
    assert.equal(await value(client, 'SELECT 1 AS one'), 1)
    assert.equal((await client.query('')).rows.length, 0)
    const several = await client.query("SELECT 1 AS a; SELECT 2 AS b; SELECT 'c' AS c")
    assert.deepEqual(several.map((one) => Object.values(one.rows[0])[0]), [1, 2, 'c'])
  },

  async 'values of many types'() {
    const client = await connect()
    const sent = ['9007199254740993', 'größe 東京 🐘', true, null, '12345678901234567890.123', Buffer.from([0, 255, 39, 92])]
    const { rows } = await client.query(
      'SELECT $1::int8 AS a, $2::text AS b, $3::bool AS c, $4::text AS d, $5::numeric AS e, $6::bytea AS f', sent)
    assert.deepEqual(Object.values(rows[0]), sent)
    const when = new Date('2024-02-29T12:34:56.789Z')
    assert.equal((await value(client, 'SELECT $1::timestamptz', [when])).getTime(), when.getTime())
    assert.deepEqual(await value(client, 'SELECT $1::int[]', [[1, 2, 3]]), [1, 2, 3])
  },

  async 'one prepared statement in several transactions'() {
    const client = await connect()
    for (let turn = 0; turn < 6; turn += 1) {
      await client.query('BEGIN')
      assert.equal(await value(client, { name: 'add', text: 'SELECT $1::int + 1 AS n', values: [turn] }), turn + 1)
      await client.query(turn % 2 ? 'COMMIT' : 'ROLLBACK')
    }
  },

  async 'one name for two statements of two clients'() {
    const [first, second] = [await connect(), await connect()]
    for (let turn = 0; turn < 5; turn += 1) {
      assert.equal(await value(first, { name: 'same', text: 'SELECT $1::int * 2 AS n', values: [turn] }), turn * 2)
      assert.equal(await value(second, { name: 'same', text: 'SELECT $1::text || $2 AS n', values: ['a', 'b'] }), 'ab')
    }
  },

  async 'unnamed statements of clients in turns'() {
    const clients = await Promise.all([1, 2, 3, 4, 5, 6].map(() => connect()))
    for (let turn = 0; turn < 20; turn += 1) {
      const found = await Promise.all(clients.map((client, index) =>
        value(client, index % 2 ? 'SELECT $1::int + 1' : 'SELECT $1::int - 1', [turn])))
      found.forEach((one, index) => assert.equal(one, index % 2 ? turn + 1 : turn - 1))
    }
  },

  async 'a prepared statement survives a changed table'() {
    const client = await connect()
    await table(client, 'node_changed', 'a int')
    await client.query('INSERT INTO node_changed VALUES (1)')
    const statement = { name: 'changed', text: 'SELECT a FROM node_changed' }
    assert.equal(await value(client, statement), 1)
    await client.query('ALTER TABLE node_changed ADD COLUMN b int')
    assert.equal(await value(client, statement), 1)
  },

  async 'a portal fetched in parts'() {
    const client = await connect()
    const { rows } = await client.query({ text: 'SELECT generate_series(1, 95) AS n WHERE $1', values: [true], rows: 10 })
    assert.equal(rows.length, 95)
    assert.equal(await value(client, 'SELECT 7'), 7)
  },

  async 'transactions, rollback and savepoints'() {
    const [client, other] = [await connect(), await connect()]
    await table(client, 'node_tx', 'n int')
    await client.query('BEGIN')
    await client.query('INSERT INTO node_tx VALUES (1)')
    assert.equal(await value(other, 'SELECT count(*)::int FROM node_tx'), 0)
    await client.query('SAVEPOINT a')
    await client.query('INSERT INTO node_tx VALUES (2)')
    await client.query('ROLLBACK TO SAVEPOINT a')
    await client.query('COMMIT')
    assert.equal(await value(other, 'SELECT sum(n)::int FROM node_tx'), 1)
    await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY')
    assert.equal(await value(client, 'SHOW transaction_isolation'), 'serializable')
    await fails('25006', client.query('INSERT INTO node_tx VALUES (3)'))
    await client.query('ROLLBACK')
    assert.equal(await value(client, 'SHOW transaction_isolation'), 'read committed')
  },

  async 'errors leave the connection usable'() {
    const client = await connect()
    await fails('22012', client.query('SELECT 1/0'))
    await fails('42601', client.query('SELEC $1', [1]))
    await fails('22P02', client.query({ name: 'bad', text: 'SELECT $1::int AS n', values: ['abc'] }))
    assert.equal(await value(client, { name: 'bad', text: 'SELECT $1::int AS n', values: [5] }), 5)
    await client.query('BEGIN')
    await fails('42P01', client.query('SELECT * FROM node_nowhere'))
    await fails('25P02', client.query('SELECT 1'))
    await client.query('ROLLBACK')
    assert.equal(await value(client, 'SELECT 1'), 1)
  },

  async 'errors carry their fields'() {
    const client = await connect()
    await table(client, 'node_unique', 'n int CONSTRAINT node_only_one UNIQUE')
    await client.query('INSERT INTO node_unique VALUES (1)')
    const error = await fails('23505', client.query('INSERT INTO node_unique VALUES ($1)', [1]))
    assert.equal(error.constraint, 'node_only_one')
    assert.equal(error.table, 'node_unique')
    assert.match(error.detail, /already exists/)
  },

  async 'COPY in and out'() {
    const client = await connect()
    await table(client, 'node_copy', 'n int, t text')
    const lines = Array.from({ length: 20000 }, (_, n) => `${n}\tline ${n} ${'y'.repeat(50)}\n`)
    await pipeline(Readable.from(lines), client.query(copyFrom('COPY node_copy FROM STDIN')))
    assert.equal(await value(client, 'SELECT count(*)::int FROM node_copy'), 20000)
    let bytes = 0
    const count = new Writable({ write(chunk, _, done) { bytes += chunk.length; done() } })
    await pipeline(client.query(copyTo('COPY node_copy TO STDOUT')), count)
    assert.equal(bytes, Buffer.byteLength(lines.join('')))
    await assert.rejects(pipeline(Readable.from(['no number\tx\n']), client.query(copyFrom('COPY node_copy FROM STDIN'))))
    assert.equal(await value(client, 'SELECT count(*)::int FROM node_copy'), 20000)
  },

  async 'cancel'() {
    const client = await connect()
    const busy = new Query('SELECT pg_sleep(20)')
    const ended = new Promise((resolve) => { busy.on('error', resolve); busy.on('end', () => resolve(null)) })
    client.query(busy)
    await new Promise((resolve) => setTimeout(resolve, 300))
    const messenger = new Client()
    messenger.on('error', () => {})
    messenger.cancel(client, busy)
    assert.equal((await ended)?.code, '57014')
    assert.equal(await value(client, 'SELECT 1'), 1)
  },

  async 'a cancel that comes too late hits nobody'() {
    const [first, second] = [await connect(), await connect()]
    assert.equal(await value(first, 'SELECT 1'), 1)
    const running = value(second, "SELECT 'done' FROM pg_sleep(0.6)")
    for (let turn = 0; turn < 3; turn += 1) {
      const idle = new Query('SELECT 1')
      first.query(idle)
      await new Promise((resolve) => idle.on('end', resolve))
      const messenger = new Client()
      messenger.on('error', () => {})
      messenger.connection.on('error', () => {})
      messenger.connection.connect(Number(process.env.PGPORT), process.env.PGHOST)
      messenger.connection.on('connect', () => messenger.connection.cancel(first.processID, first.secretKey))
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    assert.equal(await running, 'done')
  },

  async 'statement timeout inside a transaction'() {
    const client = await connect()
    await client.query('BEGIN')
    await client.query("SET LOCAL statement_timeout = '50ms'")
    await fails('57014', client.query('SELECT pg_sleep(10)'))
    await client.query('ROLLBACK')
    assert.equal(await value(client, 'SHOW statement_timeout'), '0')
  },

  async 'settings of two clients stay apart'() {
    const [first, second] = [await connect({ application_name: 'one' }), await connect({ application_name: 'two' })]
    await first.query("SET TIME ZONE 'Asia/Tokyo'")
    await second.query("SET TIME ZONE 'America/New_York'")
    for (let turn = 0; turn < 5; turn += 1) {
      assert.equal(await value(first, 'SHOW TIME ZONE'), 'Asia/Tokyo')
      assert.equal(await value(second, 'SHOW TIME ZONE'), 'America/New_York')
      assert.equal(await value(first, 'SHOW application_name'), 'one')
      assert.equal(await value(second, 'SHOW application_name'), 'two')
    }
    await first.query('BEGIN')
    await first.query("SET TIME ZONE 'UTC'")
    await first.query('ROLLBACK')
    assert.equal(await value(first, 'SHOW TIME ZONE'), 'Asia/Tokyo')
  },

  async 'notices'() {
    const client = await connect()
    const heard = []
    client.on('notice', (notice) => heard.push([notice.severity, notice.message]))
    await client.query("DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'careful'; END $$")
    assert.deepEqual(heard, [['NOTICE', 'hello'], ['WARNING', 'careful']])
  },

  async 'large rows and parameters'() {
    const client = await connect()
    assert.equal((await value(client, "SELECT repeat('x', $1::int)", [32 * MB])).length, 32 * MB)
    const large = Buffer.alloc(8 * MB, 7)
    assert.ok(large.equals(await value(client, 'SELECT $1::bytea', [large])))
    assert.equal((await client.query('SELECT n, repeat($1, 20) FROM generate_series(1, 50000) n', ['z'])).rows.length, 50000)
  },

  async 'twenty connections at once'() {
    const client = await connect()
    await table(client, 'node_counter', 'id int PRIMARY KEY, n int')
    await client.query('INSERT INTO node_counter SELECT g, 0 FROM generate_series(0, 4) g')
    const pool = new Pool({ max: 20 })
    pool.on('error', () => {})
    try {
      await Promise.all(Array.from({ length: 20 }, async (_, worker) => {
        const mine = await pool.connect()
        try {
          for (let turn = 0; turn < 25; turn += 1) {
            await mine.query('BEGIN')
            const add = { name: `add${worker % 3}`, text: 'UPDATE node_counter SET n = n + 1 WHERE id = $1', values: [(worker + turn) % 5] }
            await mine.query(add)
            await mine.query(turn % 5 === 4 ? 'ROLLBACK' : 'COMMIT')
          }
        } finally {
          mine.release()
        }
      }))
    } finally {
      await pool.end()
    }
    assert.equal(await value(client, 'SELECT sum(n)::int FROM node_counter'), 400)
  },

  async 'a client that leaves in a transaction leaves nothing'() {
    const [client, other] = [await connect(), await connect()]
    await table(other, 'node_left', 'n int')
    await client.query('BEGIN')
    await client.query('INSERT INTO node_left VALUES (1)')
    client.connection.stream.destroy()
    await other.query('BEGIN')
    await other.query("SET LOCAL lock_timeout = '10s'")
    await other.query('LOCK TABLE node_left')
    await other.query('COMMIT')
    assert.equal(await value(other, 'SELECT count(*)::int FROM node_left'), 0)
  },

  async 'temporary tables inside a transaction'() {
    const client = await connect()
    for (let turn = 0; turn < 3; turn += 1) {
      await client.query('BEGIN')
      await client.query('CREATE TEMP TABLE node_temp (n int) ON COMMIT DROP')
      await client.query('INSERT INTO node_temp VALUES (1)')
      assert.equal(await value(client, 'SELECT count(*)::int FROM node_temp'), 1)
      await client.query('COMMIT')
    }
  },
}

const sessionCases = {
  async 'LISTEN and NOTIFY'() {
    const [listener, speaker] = [await connect(), await connect()]
    const heard = new Promise((resolve) => listener.on('notification', resolve))
    await listener.query('LISTEN node_channel')
    await speaker.query("NOTIFY node_channel, 'payload'")
    assert.equal((await heard).payload, 'payload')
  },

  async 'temporary tables of a session'() {
    const client = await connect()
    await client.query('CREATE TEMP TABLE node_kept (n int)')
    await client.query('INSERT INTO node_kept VALUES (1)')
    assert.equal(await value(client, 'SELECT count(*)::int FROM node_kept'), 1)
  },
}

async function main() {
  let off = 0
  for (const [name, body] of Object.entries(SESSION ? { ...cases, ...sessionCases } : cases)) {
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${CASE_TIMEOUT_MS} ms`)), CASE_TIMEOUT_MS)
    })
    let detail = ''
    try {
      await Promise.race([body(), late])
    } catch (error) {
      off += 1
      detail = `${error.code ?? ''} ${error.message}`.trim().slice(0, 500)
    }
    clearTimeout(timer)
    // Not waited for: where a case has failed, a connection may never answer.
    for (const client of open.splice(0)) client.end().catch(() => {})
    console.log(JSON.stringify({ case: name, ok: detail === '', detail }))
  }
  process.exit(off ? 1 : 0)
}

main()
