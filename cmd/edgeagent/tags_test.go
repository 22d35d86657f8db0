package main

import (
	"testing"

	"edgeagent"
)

// What is compared with a panel has the digits that the PLC sent.
func TestValuesHaveTheirDigits(t *testing.T) {
	for _, c := range []struct {
		typ   edgeagent.DataType
		value edgeagent.Value
		want  string
	}{
		{edgeagent.TypeFloat32, edgeagent.Float(float64(float32(0.1))), "0.1"},
		{edgeagent.TypeFloat32, edgeagent.Float(1234567), "1234567"},
		{edgeagent.TypeFloat32, edgeagent.Float(12345678), "12345678"},
		{edgeagent.TypeFloat32, edgeagent.Float(-1e30), "-1e+30"},
		{edgeagent.TypeFloat16, edgeagent.Float(16008), "16008"},
		{edgeagent.TypeFloat64, edgeagent.Float(123456789.25), "123456789.25"},
		{edgeagent.TypeUint32, edgeagent.Float(12345678.0 / 10), "1234567.8"},
		{edgeagent.TypeUint16, edgeagent.Float(100.0 / 3), "33.3333333333"},
		{edgeagent.TypeUint64, edgeagent.Uint(1<<63 + 1), "9223372036854775809"},
		{edgeagent.TypeBool, edgeagent.Bool(true), "true"},
	} {
		if got := valueWord(edgeagent.Reading{Value: c.value, Type: c.typ}); got != c.want {
			t.Errorf("%s %v: %q, want %q", c.typ, c.value, got, c.want)
		}
	}
}
