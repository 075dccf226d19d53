import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;

/**
 * JDBC against whatever PGHOST and PGPORT name: one JSON line per case, exit code 1 when one is off.
 * PEER_MODE=transaction leaves out what needs one server for a whole session.
 */
public final class Peer {
    private static final boolean SESSION = !"transaction".equals(System.getenv("PEER_MODE"));
    private static final long CASE_TIMEOUT_S = 30;
    private static final int MB = 1024 * 1024;
    private static final List<Connection> OPEN = Collections.synchronizedList(new ArrayList<>());

    private Peer() {
    }

    /** Connects; options are the driver's, as "name=value". */
    static Connection connect(String... options) throws SQLException {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE");
        Properties told = new Properties();
        told.setProperty("user", System.getenv("PGUSER"));
        told.setProperty("sslmode", "disable");
        // A named statement on the server from the first execution on.
        told.setProperty("prepareThreshold", "1");
        for (String option : options) {
            told.setProperty(option.substring(0, option.indexOf('=')), option.substring(option.indexOf('=') + 1));
        }
        Connection connection = DriverManager.getConnection(url, told);
        OPEN.add(connection);
        return connection;
    }

    static void same(Object wanted, Object found) {
        if (!wanted.equals(found)) {
            throw new AssertionError("wanted " + wanted + ", found " + found);
        }
    }

    static SQLException fails(String code, Callable<?> what) throws Exception {
        try {
            what.call();
        } catch (SQLException error) {
            same(code, error.getSQLState());
            return error;
        }
        throw new AssertionError("expected an error " + code);
    }

    static void run(Connection connection, String... texts) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            for (String text : texts) {
                statement.execute(text);
            }
        }
    }

    static Object value(Connection connection, String text, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(text)) {
            return value(statement, values);
        }
    }

    static Object value(PreparedStatement statement, Object... values) throws SQLException {
        for (int index = 0; index < values.length; index++) {
            statement.setObject(index + 1, values[index]);
        }
        try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            return rows.getObject(1);
        }
    }

    static void simple() throws Exception {
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
            Connection connection = connect("preferQueryMode=" + mode);
            same(1, value(connection, "SELECT 1"));
            try (Statement statement = connection.createStatement()) {
                same(true, statement.execute("SELECT 1; SELECT 2"));
                same(true, statement.getMoreResults());
                try (ResultSet rows = statement.getResultSet()) {
                    rows.next();
                    same(2, rows.getInt(1));
                }
                statement.execute("");
            }
        }
    }

    static void types() throws Exception {
        Connection connection = connect();
        same(9007199254740993L, value(connection, "SELECT ?::int8", 9007199254740993L));
        same("größe 東京 🐘", value(connection, "SELECT ?::text", "größe 東京 🐘"));
        same(true, value(connection, "SELECT ?::bool", true));
        byte[] bytes = {0, -1, 39, 92};
        same(true, Arrays.equals(bytes, (byte[]) value(connection, "SELECT ?::bytea", (Object) bytes)));
        OffsetDateTime when = OffsetDateTime.of(2024, 2, 29, 12, 34, 56, 789_000_000, ZoneOffset.UTC);
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::timestamptz")) {
            for (int turn = 0; turn < 3; turn++) {
                statement.setObject(1, when);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(when.toInstant(), rows.getObject(1, OffsetDateTime.class).toInstant());
                }
            }
        }
    }

    static void preparedAcrossTransactions() throws Exception {
        Connection connection = connect();
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::int + 1")) {
            for (int turn = 0; turn < 12; turn++) {
                same(turn + 1, value(statement, turn));
                if (turn % 2 == 0) {
                    connection.commit();
                } else {
                    connection.rollback();
                }
            }
        }
    }

    static void preparedByTwo() throws Exception {
        // The driver counts names from S_1 on each connection: the same name, another statement.
        Connection first = connect();
        Connection second = connect();
        try (PreparedStatement twice = first.prepareStatement("SELECT ?::int * 2");
            PreparedStatement joined = second.prepareStatement("SELECT ?::text || 'b'")) {
            for (int turn = 0; turn < 10; turn++) {
                same(turn * 2, value(twice, turn));
                same("ab", value(joined, "a"));
            }
        }
    }

    static void changedTable() throws Exception {
        Connection connection = connect();
        run(connection, "DROP TABLE IF EXISTS jdbc_changed", "CREATE TABLE jdbc_changed (a int)",
            "INSERT INTO jdbc_changed VALUES (1)");
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM jdbc_changed")) {
            same(1, value(statement));
            same(1, value(statement));
            run(connection, "ALTER TABLE jdbc_changed ADD COLUMN b text DEFAULT 'new'");
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                same("new", rows.getString("b"));
            }
        }
    }

    static void manyStatements() throws Exception {
        // More than the driver's own cache holds: it closes some while others run.
        Connection connection = connect("preparedStatementCacheQueries=20");
        for (int turn = 0; turn < 3; turn++) {
            for (int number = 0; number < 60; number++) {
                same(number + turn, value(connection, "SELECT ?::int + " + number, turn));
            }
        }
    }

    static void portals() throws Exception {
        Connection connection = connect();
        connection.setAutoCommit(false);
        try (Statement first = connection.createStatement(); Statement second = connection.createStatement()) {
            first.setFetchSize(7);
            second.setFetchSize(5);
            int seen = 0;
            try (ResultSet outer = first.executeQuery("SELECT generate_series(1, 50)")) {
                try (ResultSet inner = second.executeQuery("SELECT generate_series(1, 50)")) {
                    while (outer.next() && inner.next()) {
                        same(outer.getInt(1), inner.getInt(1));
                        seen++;
                    }
                }
            }
            same(50, seen);
        }
        connection.commit();
        same(1, value(connection, "SELECT 1"));
        connection.commit();
    }

    static void batches() throws Exception {
        Connection connection = connect();
        run(connection, "DROP TABLE IF EXISTS jdbc_batch", "CREATE TABLE jdbc_batch (n int UNIQUE)");
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?)")) {
            for (int number = 0; number < 2000; number++) {
                statement.setInt(1, number);
                statement.addBatch();
            }
            same(2000, statement.executeBatch().length);
        }
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?)")) {
            for (int number : new int[] {5000, 5001, 7, 5002}) {
                statement.setInt(1, number);
                statement.addBatch();
            }
            try {
                statement.executeBatch();
                throw new AssertionError("a batch with a duplicate went through");
            } catch (BatchUpdateException error) {
                same("23505", error.getSQLState());
            }
        }
        connection.rollback();
        same(2000L, value(connection, "SELECT count(*) FROM jdbc_batch"));
        connection.commit();
        try (PreparedStatement statement =
            connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int number = 6000; number < 6300; number++) {
                statement.setInt(1, number);
                statement.addBatch();
            }
            statement.executeBatch();
            int keys = 0;
            try (ResultSet rows = statement.getGeneratedKeys()) {
                while (rows.next()) {
                    keys++;
                }
            }
            same(300, keys);
        }
        connection.rollback();
    }

    static void transactions() throws Exception {
        Connection connection = connect();
        Connection other = connect();
        run(connection, "DROP TABLE IF EXISTS jdbc_tx", "CREATE TABLE jdbc_tx (n int)");
        connection.setAutoCommit(false);
        run(connection, "INSERT INTO jdbc_tx VALUES (1)");
        same(0L, value(other, "SELECT count(*) FROM jdbc_tx"));
        Savepoint savepoint = connection.setSavepoint("a");
        run(connection, "INSERT INTO jdbc_tx VALUES (2)");
        connection.rollback(savepoint);
        connection.commit();
        same(1L, value(other, "SELECT sum(n) FROM jdbc_tx"));
        connection.setReadOnly(true);
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        same("serializable", value(connection, "SHOW transaction_isolation"));
        fails("25006", () -> {
            run(connection, "INSERT INTO jdbc_tx VALUES (3)");
            return null;
        });
        connection.rollback();
        connection.setReadOnly(false);
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        run(connection, "INSERT INTO jdbc_tx VALUES (4)");
        connection.commit();
        same(5L, value(other, "SELECT sum(n) FROM jdbc_tx"));
    }

    static void errors() throws Exception {
        Connection connection = connect();
        fails("22012", () -> value(connection, "SELECT 1/0"));
        fails("42601", () -> value(connection, "SELEC ?::int", 1));
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::text::int")) {
            for (int turn = 0; turn < 4; turn++) {
                fails("22P02", () -> value(statement, "abc"));
                same(5, value(statement, "5"));
            }
        }
        connection.setAutoCommit(false);
        fails("42P01", () -> value(connection, "SELECT * FROM jdbc_nowhere"));
        fails("25P02", () -> value(connection, "SELECT 1"));
        connection.rollback();
        same(1, value(connection, "SELECT 1"));
        connection.commit();
        connection.setAutoCommit(true);
        run(connection, "DROP TABLE IF EXISTS jdbc_unique",
            "CREATE TABLE jdbc_unique (n int CONSTRAINT jdbc_only_one UNIQUE)", "INSERT INTO jdbc_unique VALUES (1)");
        PSQLException error = (PSQLException) fails("23505", () -> {
            run(connection, "INSERT INTO jdbc_unique VALUES (1)");
            return null;
        });
        same("jdbc_only_one", error.getServerErrorMessage().getConstraint());
    }

    static void autosave() throws Exception {
        Connection connection = connect("autosave=always");
        connection.setAutoCommit(false);
        for (int turn = 0; turn < 3; turn++) {
            fails("22012", () -> value(connection, "SELECT 1/0"));
            same(1, value(connection, "SELECT 1"));
        }
        connection.commit();
    }

    static void copies() throws Exception {
        Connection connection = connect();
        run(connection, "DROP TABLE IF EXISTS jdbc_copy", "CREATE TABLE jdbc_copy (n int, t text)");
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int number = 0; number < 20_000; number++) {
            lines.append(number).append("\tline ").append(number).append('\n');
        }
        same(20_000L, copy.copyIn("COPY jdbc_copy FROM STDIN", new StringReader(lines.toString())));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        same(20_000L, copy.copyOut("COPY (SELECT * FROM jdbc_copy ORDER BY n) TO STDOUT", out));
        same(lines.toString(), out.toString("UTF-8"));
        fails("22P02", () -> copy.copyIn("COPY jdbc_copy FROM STDIN", new StringReader("no number\tx\n")));
        same(20_000L, value(connection, "SELECT count(*) FROM jdbc_copy"));
    }

    static void cancel() throws Exception {
        Connection connection = connect();
        ExecutorService one = Executors.newSingleThreadExecutor();
        try (Statement statement = connection.createStatement()) {
            Future<SQLException> found = one.submit(() -> fails("57014", () -> statement.execute("SELECT pg_sleep(20)")));
            Thread.sleep(300);
            statement.cancel();
            found.get(CASE_TIMEOUT_S, TimeUnit.SECONDS);
        } finally {
            one.shutdownNow();
        }
        same(1, value(connection, "SELECT 1"));
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.execute("SELECT pg_sleep(20)"));
        }
        same(2, value(connection, "SELECT 2"));
        connection.setAutoCommit(false);
        run(connection, "SET LOCAL statement_timeout = '50ms'");
        fails("57014", () -> value(connection, "SELECT pg_sleep(10)"));
        connection.rollback();
    }

    static void lateCancel() throws Exception {
        Connection idle = connect();
        Connection busy = connect();
        ExecutorService one = Executors.newSingleThreadExecutor();
        try (Statement statement = idle.createStatement()) {
            statement.execute("SELECT 1");
            Future<Object> found = one.submit(() -> value(busy, "SELECT 'done'::text FROM pg_sleep(0.6)"));
            for (int turn = 0; turn < 3; turn++) {
                statement.execute("SELECT 1");
                idle.unwrap(PGConnection.class).cancelQuery();
                Thread.sleep(100);
            }
            same("done", found.get(CASE_TIMEOUT_S, TimeUnit.SECONDS));
        } finally {
            one.shutdownNow();
        }
    }

    static void settings() throws Exception {
        Connection first = connect("ApplicationName=one");
        Connection second = connect("ApplicationName=two");
        run(first, "SET TIME ZONE 'Asia/Tokyo'");
        run(second, "SET TIME ZONE 'America/New_York'");
        for (int turn = 0; turn < 5; turn++) {
            same("Asia/Tokyo", value(first, "SHOW TIME ZONE"));
            same("America/New_York", value(second, "SHOW TIME ZONE"));
            same("one", value(first, "SHOW application_name"));
            same("two", value(second, "SHOW application_name"));
        }
        first.setAutoCommit(false);
        run(first, "SET TIME ZONE 'UTC'");
        first.rollback();
        same("Asia/Tokyo", value(first, "SHOW TIME ZONE"));
        first.commit();
    }

    static void notices() throws Exception {
        Connection connection = connect();
        try (Statement statement = connection.createStatement()) {
            statement.execute("DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'careful'; END $$");
            SQLWarning first = statement.getWarnings();
            same("hello", first.getMessage());
            same("careful", first.getNextWarning().getMessage());
        }
    }

    static void large() throws Exception {
        Connection connection = connect();
        same(32 * MB, ((String) value(connection, "SELECT repeat('x', ?::int)", 32 * MB)).length());
        byte[] sent = new byte[8 * MB];
        Arrays.fill(sent, (byte) 7);
        same(true, Arrays.equals(sent, (byte[]) value(connection, "SELECT ?::bytea", (Object) sent)));
    }

    static void twenty() throws Exception {
        Connection connection = connect();
        run(connection, "DROP TABLE IF EXISTS jdbc_counter",
            "CREATE TABLE jdbc_counter (id int PRIMARY KEY, n int)",
            "INSERT INTO jdbc_counter SELECT g, 0 FROM generate_series(0, 4) g");
        ExecutorService threads = Executors.newFixedThreadPool(20);
        try {
            List<Future<Object>> running = new ArrayList<>();
            for (int worker = 0; worker < 20; worker++) {
                int offset = worker;
                running.add(threads.submit(() -> {
                    Connection mine = connect();
                    mine.setAutoCommit(false);
                    try (PreparedStatement add =
                        mine.prepareStatement("UPDATE jdbc_counter SET n = n + 1 WHERE id = ?")) {
                        for (int turn = 0; turn < 25; turn++) {
                            add.setInt(1, (offset + turn) % 5);
                            same(1, add.executeUpdate());
                            if (turn % 5 == 4) {
                                mine.rollback();
                            } else {
                                mine.commit();
                            }
                        }
                    }
                    return null;
                }));
            }
            for (Future<Object> one : running) {
                one.get(CASE_TIMEOUT_S, TimeUnit.SECONDS);
            }
        } finally {
            threads.shutdownNow();
        }
        same(400L, value(connection, "SELECT sum(n) FROM jdbc_counter"));
    }

    static void validity() throws Exception {
        Connection connection = connect();
        same(true, connection.isValid(5));
        same("PostgreSQL", connection.getMetaData().getDatabaseProductName());
        try (ResultSet rows = connection.getMetaData().getTables(null, "pg_catalog", "pg_class", null)) {
            same(true, rows.next());
        }
    }

    static void listen() throws Exception {
        Connection listener = connect();
        run(listener, "LISTEN jdbc_channel");
        run(connect(), "NOTIFY jdbc_channel, 'payload'");
        PGNotification[] heard = listener.unwrap(PGConnection.class).getNotifications(5000);
        same(1, heard.length);
        same("payload", heard[0].getParameter());
    }

    static Map<String, Case> cases() {
        Map<String, Case> found = new LinkedHashMap<>();
        found.put("every query mode", Peer::simple);
        found.put("values of many types", Peer::types);
        found.put("one prepared statement in several transactions", Peer::preparedAcrossTransactions);
        found.put("one name for two statements of two clients", Peer::preparedByTwo);
        found.put("a prepared statement survives a changed table", Peer::changedTable);
        found.put("more statements than the driver keeps", Peer::manyStatements);
        found.put("portals fetched in parts", Peer::portals);
        found.put("batches", Peer::batches);
        found.put("transactions, rollback and savepoints", Peer::transactions);
        found.put("errors leave the connection usable", Peer::errors);
        found.put("a savepoint around every statement", Peer::autosave);
        found.put("COPY in and out", Peer::copies);
        found.put("cancel and timeouts", Peer::cancel);
        found.put("a cancel that comes too late hits nobody", Peer::lateCancel);
        found.put("settings of two clients stay apart", Peer::settings);
        found.put("notices", Peer::notices);
        found.put("large rows and parameters", Peer::large);
        found.put("twenty connections at once", Peer::twenty);
        found.put("metadata and validity", Peer::validity);
        if (SESSION) {
            found.put("LISTEN and NOTIFY", Peer::listen);
        }
        return found;
    }

    static String quoted(String text) {
        StringBuilder made = new StringBuilder("\"");
        for (char one : text.toCharArray()) {
            made.append(one < ' ' || one == '"' || one == '\\' ? String.format("\\u%04x", (int) one) : one);
        }
        return made.append('"').toString();
    }

    /** Runs all cases, each with a time limit, each on connections of its own. */
    public static void main(String[] arguments) {
        boolean off = false;
        for (Map.Entry<String, Case> one : cases().entrySet()) {
            String detail = "";
            ExecutorService thread = Executors.newSingleThreadExecutor();
            try {
                thread.submit(() -> {
                    one.getValue().run();
                    return null;
                }).get(CASE_TIMEOUT_S, TimeUnit.SECONDS);
            } catch (Exception error) {
                off = true;
                detail = String.valueOf(error.getCause() == null ? error : error.getCause());
            }
            thread.shutdownNow();
            for (Connection connection : new ArrayList<>(OPEN)) {
                try {
                    connection.abort(Runnable::run);
                } catch (SQLException error) {
                    detail = detail.isEmpty() ? "" : detail + "; " + error.getMessage();
                }
            }
            OPEN.clear();
            System.out.println("{\"case\": " + quoted(one.getKey()) + ", \"ok\": " + detail.isEmpty()
                + ", \"detail\": " + quoted(detail) + "}");
        }
        System.exit(off ? 1 : 0);
    }
}
