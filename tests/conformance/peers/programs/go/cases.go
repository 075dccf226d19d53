package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/lib/pq"
)

const mb = 1 << 20

func cases() []testCase {
	found := []testCase{
		{"simple query", simple},
		{"values of many types", types},
		{"binary parameters", binaryParameters},
		{"one prepared statement in several transactions", preparedAcross},
		{"one name for two statements of two clients", preparedByTwo},
		{"unnamed statements of clients in turns", unnamed},
		{"transactions, rollback and savepoints", transactions},
		{"errors leave the connection usable", failures},
		{"errors carry their fields", fields},
		{"COPY in", copyIn},
		{"cancel and timeouts", cancels},
		{"settings of two clients stay apart", settings},
		{"notices", notices},
		{"large rows and parameters", large},
		{"rows read in part", partly},
		{"twenty connections at once", twenty},
	}
	if session {
		found = append(found, testCase{"LISTEN and NOTIFY", listen})
	}
	return found
}

func simple() error {
	db := open("")
	defer db.Close()
	same(1, value[int](db, "SELECT 1"))
	exec(db, "", "SELECT 1; SELECT 2")
	rows, err := db.Query("SELECT 1; SELECT 'b'")
	must(err)
	defer rows.Close()
	same(true, rows.Next())
	same(false, rows.Next())
	same(true, rows.NextResultSet())
	same(true, rows.Next())
	var second string
	must(rows.Scan(&second))
	same("b", second)
	return rows.Err()
}

func types() error {
	db := open("")
	defer db.Close()
	same(int64(9007199254740993), value[int64](db, "SELECT $1::int8", int64(9007199254740993)))
	same("größe 東京 🐘", value[string](db, "SELECT $1::text", "größe 東京 🐘"))
	same(true, value[bool](db, "SELECT $1::bool", true))
	same(false, value[sql.NullString](db, "SELECT $1::text", nil).Valid)
	same([]byte{0, 255, 39, 92}, value[[]byte](db, "SELECT $1::bytea", []byte{0, 255, 39, 92}))
	when := time.Date(2024, 2, 29, 12, 34, 56, 789000000, time.UTC)
	same(true, when.Equal(value[time.Time](db, "SELECT $1::timestamptz", when)))
	var numbers pq.Int64Array
	must(db.QueryRow("SELECT $1::int8[]", pq.Array([]int64{1, 2, 3})).Scan(&numbers))
	same(pq.Int64Array{1, 2, 3}, numbers)
	return nil
}

func binaryParameters() error {
	db := open("binary_parameters=yes")
	defer db.Close()
	for turn := 0; turn < 20; turn++ {
		same(turn+1, value[int](db, "SELECT $1::int + 1", turn))
		same([]byte{1, 2}, value[[]byte](db, "SELECT $1::bytea", []byte{1, 2}))
	}
	return nil
}

func preparedAcross() error {
	db := open("")
	defer db.Close()
	db.SetMaxOpenConns(1)
	statement, err := db.Prepare("SELECT $1::int + 1")
	must(err)
	defer statement.Close()
	for turn := 0; turn < 8; turn++ {
		tx, err := db.Begin()
		must(err)
		var found int
		must(tx.Stmt(statement).QueryRow(turn).Scan(&found))
		same(turn+1, found)
		if turn%2 == 0 {
			must(tx.Commit())
		} else {
			must(tx.Rollback())
		}
	}
	return nil
}

// preparedByTwo uses that the driver counts names from 1 on each connection.
func preparedByTwo() error {
	first, second := open(""), open("")
	defer first.Close()
	defer second.Close()
	first.SetMaxOpenConns(1)
	second.SetMaxOpenConns(1)
	twice, err := first.Prepare("SELECT $1::int * 2")
	must(err)
	defer twice.Close()
	joined, err := second.Prepare("SELECT $1::text || 'b'")
	must(err)
	defer joined.Close()
	for turn := 0; turn < 6; turn++ {
		var number int
		must(twice.QueryRow(turn).Scan(&number))
		same(turn*2, number)
		var text string
		must(joined.QueryRow("a").Scan(&text))
		same("ab", text)
	}
	return nil
}

// unnamed lets the driver parse in one round trip and bind in the next, with others in between.
func unnamed() error {
	db := open("")
	defer db.Close()
	return together(6, func(worker int) {
		for turn := 0; turn < 30; turn++ {
			if worker%2 == 0 {
				same(turn+1, value[int](db, "SELECT $1::int + 1", turn))
			} else {
				same(turn-1, value[int](db, "SELECT $1::int - 1", turn))
			}
		}
	})
}

// together runs a function in several goroutines and returns the first fault.
func together(number int, body func(int)) error {
	var group sync.WaitGroup
	faults := make(chan error, number)
	for worker := 0; worker < number; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			defer func() {
				if fault := recover(); fault != nil {
					faults <- fmt.Errorf("%v", fault)
				}
			}()
			body(worker)
		}()
	}
	group.Wait()
	select {
	case err := <-faults:
		return err
	default:
		return nil
	}
}

func transactions() error {
	db := open("")
	defer db.Close()
	exec(db, "DROP TABLE IF EXISTS go_tx", "CREATE TABLE go_tx (n int)")
	tx, err := db.Begin()
	must(err)
	exec(tx, "INSERT INTO go_tx VALUES (1)")
	same(0, value[int](db, "SELECT count(*) FROM go_tx"))
	exec(tx, "SAVEPOINT a", "INSERT INTO go_tx VALUES (2)", "ROLLBACK TO SAVEPOINT a")
	must(tx.Commit())
	same(1, value[int](db, "SELECT sum(n) FROM go_tx"))
	strict, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	must(err)
	same("serializable", value[string](strict, "SHOW transaction_isolation"))
	_, err = strict.Exec("INSERT INTO go_tx VALUES (3)")
	fails("25006", err)
	must(strict.Rollback())
	same("read committed", value[string](db, "SHOW transaction_isolation"))
	return nil
}

func failures() error {
	db := open("")
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err := db.Exec("SELECT 1/0")
	fails("22012", err)
	_, err = db.Exec("SELEC $1", 1)
	fails("42601", err)
	_, err = db.Exec("SELECT $1::int", "abc")
	fails("22P02", err)
	same(5, value[int](db, "SELECT $1::int", "5"))
	tx, err := db.Begin()
	must(err)
	_, err = tx.Exec("SELECT * FROM go_nowhere")
	fails("42P01", err)
	_, err = tx.Exec("SELECT 1")
	fails("25P02", err)
	must(tx.Rollback())
	same(1, value[int](db, "SELECT 1"))
	return nil
}

func fields() error {
	db := open("")
	defer db.Close()
	exec(db, "DROP TABLE IF EXISTS go_unique", "CREATE TABLE go_unique (n int CONSTRAINT go_only_one UNIQUE)",
		"INSERT INTO go_unique VALUES (1)")
	_, err := db.Exec("INSERT INTO go_unique VALUES ($1)", 1)
	told := fails("23505", err)
	same("go_only_one", told.Constraint)
	same("go_unique", told.Table)
	return nil
}

func copyIn() error {
	db := open("")
	defer db.Close()
	exec(db, "DROP TABLE IF EXISTS go_copy", "CREATE TABLE go_copy (n int, t text)")
	tx, err := db.Begin()
	must(err)
	statement, err := tx.Prepare(pq.CopyIn("go_copy", "n", "t"))
	must(err)
	for number := 0; number < 20000; number++ {
		_, err = statement.Exec(number, "some text to fill a line")
		must(err)
	}
	_, err = statement.Exec()
	must(err)
	must(statement.Close())
	must(tx.Commit())
	same(20000, value[int](db, "SELECT count(*) FROM go_copy"))
	broken, err := db.Begin()
	must(err)
	statement, err = broken.Prepare(pq.CopyIn("go_copy", "n", "t"))
	must(err)
	_, err = statement.Exec("no number", "x")
	if err == nil {
		_, err = statement.Exec()
	}
	fails("22P02", err)
	must(broken.Rollback())
	same(20000, value[int](db, "SELECT count(*) FROM go_copy"))
	return nil
}

func cancels() error {
	db := open("")
	defer db.Close()
	db.SetMaxOpenConns(2)
	patience, stop := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer stop()
	started := time.Now()
	if _, err := db.ExecContext(patience, "SELECT pg_sleep(20)"); err == nil {
		return fmt.Errorf("a cancelled query went through")
	}
	same(true, time.Since(started) < 10*time.Second)
	same(1, value[int](db, "SELECT 1"))
	left := value[int](db, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(20%'")
	for turn := 0; left > 0 && turn < 50; turn++ {
		time.Sleep(100 * time.Millisecond)
		left = value[int](db, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(20%'")
	}
	same(0, left)
	tx, err := db.Begin()
	must(err)
	exec(tx, "SET LOCAL statement_timeout = '50ms'")
	_, err = tx.Exec("SELECT pg_sleep(10)")
	fails("57014", err)
	must(tx.Rollback())
	same("0", value[string](db, "SHOW statement_timeout"))
	return nil
}

func settings() error {
	first, second := open("application_name=one"), open("application_name=two")
	defer first.Close()
	defer second.Close()
	first.SetMaxOpenConns(1)
	second.SetMaxOpenConns(1)
	exec(first, "SET TIME ZONE 'Asia/Tokyo'")
	exec(second, "SET TIME ZONE 'America/New_York'")
	for turn := 0; turn < 5; turn++ {
		same("Asia/Tokyo", value[string](first, "SHOW TIME ZONE"))
		same("America/New_York", value[string](second, "SHOW TIME ZONE"))
		same("one", value[string](first, "SHOW application_name"))
		same("two", value[string](second, "SHOW application_name"))
	}
	return nil
}

func notices() error {
	connector, err := pq.NewConnector("")
	must(err)
	var heard []string
	db := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(notice *pq.Error) {
		heard = append(heard, notice.Severity+" "+notice.Message)
	}))
	defer db.Close()
	db.SetMaxOpenConns(1)
	exec(db, "DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'careful'; END $$")
	same([]string{"NOTICE hello", "WARNING careful"}, heard)
	return nil
}

func large() error {
	db := open("")
	defer db.Close()
	same(32*mb, len(value[string](db, "SELECT repeat('x', $1::int)", 32*mb)))
	sent := bytes.Repeat([]byte{7}, 8*mb)
	same(true, bytes.Equal(sent, value[[]byte](db, "SELECT $1::bytea", sent)))
	return nil
}

func partly() error {
	db := open("")
	defer db.Close()
	db.SetMaxOpenConns(1)
	for turn := 0; turn < 5; turn++ {
		rows, err := db.Query("SELECT generate_series(1, 10000) WHERE $1", true)
		must(err)
		same(true, rows.Next())
		must(rows.Close())
		same(turn, value[int](db, "SELECT $1::int", turn))
	}
	return nil
}

func twenty() error {
	db := open("")
	defer db.Close()
	exec(db, "DROP TABLE IF EXISTS go_counter", "CREATE TABLE go_counter (id int PRIMARY KEY, n int)",
		"INSERT INTO go_counter SELECT g, 0 FROM generate_series(0, 4) g")
	err := together(20, func(worker int) {
		mine, err := db.Conn(context.Background())
		must(err)
		defer mine.Close()
		add, err := mine.PrepareContext(context.Background(), "UPDATE go_counter SET n = n + 1 WHERE id = $1")
		must(err)
		defer add.Close()
		for turn := 0; turn < 25; turn++ {
			tx, err := mine.BeginTx(context.Background(), nil)
			must(err)
			_, err = tx.Stmt(add).Exec((worker + turn) % 5)
			must(err)
			if turn%5 == 4 {
				must(tx.Rollback())
			} else {
				must(tx.Commit())
			}
		}
	})
	must(err)
	same(400, value[int](db, "SELECT sum(n) FROM go_counter"))
	return nil
}

func listen() error {
	listener := pq.NewListener("", 100*time.Millisecond, time.Second, nil)
	defer listener.Close()
	must(listener.Listen("go_channel"))
	db := open("")
	defer db.Close()
	exec(db, "NOTIFY go_channel, 'payload'")
	select {
	case heard := <-listener.Notify:
		if heard == nil {
			return fmt.Errorf("the listener's connection was lost")
		}
		same("payload", heard.Extra)
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("no notification after 10 s")
	}
}
