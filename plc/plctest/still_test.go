package plctest_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent/plc"
	"edgeagent/plc/plctest"
)

// TestProvenBelievesAMachineThatRan: in a bubble no moment is missed, so that
// nothing is tried again, whatever failed.
func TestProvenBelievesAMachineThatRan(t *testing.T) {
	for name, err := range map[string]error{
		"success": nil, "late": plc.ErrSilent, "wrong": fmt.Errorf("x: %w", plctest.ErrWrong), "a wrong value": &plctest.WrongValueError{},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				got := plctest.Proven(func() error {
					tries++
					time.Sleep(time.Minute)
					return err
				})
				if !errors.Is(got, err) || tries != 1 {
					t.Errorf("%v after %d tries, want %v at once", got, tries, err)
				}
				if stood := plctest.Stood(func() { time.Sleep(time.Hour) }); stood != 0 {
					t.Errorf("stood for %v in a bubble", stood)
				}
			})
		})
	}
}
