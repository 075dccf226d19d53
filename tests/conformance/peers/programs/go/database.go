package main

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/lib/pq"
)

// open returns a pool on the server that the environment names; options are lib/pq's, as "name=value".
func open(options string) *sql.DB {
	db, err := sql.Open("postgres", options)
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(20)
	return db
}

// must panics on an error, which ends the case with it.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

type runner interface {
	Exec(query string, args ...any) (sql.Result, error)
	QueryRow(query string, args ...any) *sql.Row
}

func exec(on runner, texts ...string) {
	for _, text := range texts {
		if _, err := on.Exec(text); err != nil {
			panic(fmt.Errorf("%s: %w", text, err))
		}
	}
}

// value returns the one value of a query's one row.
func value[T any](on runner, text string, args ...any) T {
	var found T
	if err := on.QueryRow(text, args...).Scan(&found); err != nil {
		panic(fmt.Errorf("%s: %w", text, err))
	}
	return found
}

func same(wanted, found any) {
	if !reflect.DeepEqual(wanted, found) {
		panic(fmt.Errorf("wanted %v, found %v", wanted, found))
	}
}

// fails demands an error of the server with that SQLSTATE.
func fails(code string, err error) *pq.Error {
	var told *pq.Error
	if !errors.As(err, &told) {
		panic(fmt.Errorf("wanted an error %s, found %v", code, err))
	}
	if string(told.Code) != code {
		panic(fmt.Errorf("wanted %s, found %s: %s", code, told.Code, told.Message))
	}
	return told
}
