// The program exercises lib/pq against whatever PGHOST and PGPORT name: one JSON line per case, exit code 1 when one
// is off. PEER_MODE=transaction leaves out what needs one server for a whole session.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const caseTimeout = 30 * time.Second

var session = os.Getenv("PEER_MODE") != "transaction"

type testCase struct {
	name string
	body func() error
}

type line struct {
	Case   string `json:"case"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func run(one testCase) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if fault := recover(); fault != nil {
				done <- fmt.Errorf("%v", fault)
			}
		}()
		done <- one.body()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(caseTimeout):
		return fmt.Errorf("not done after %v", caseTimeout)
	}
}

func main() {
	off := false
	out := json.NewEncoder(os.Stdout)
	for _, one := range cases() {
		report := line{Case: one.name, OK: true}
		if err := run(one); err != nil {
			off = true
			report.OK = false
			report.Detail = err.Error()
		}
		if err := out.Encode(report); err != nil {
			os.Exit(2)
		}
	}
	if off {
		os.Exit(1)
	}
}
