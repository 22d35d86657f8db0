package runbook

import (
	"fmt"
	"slices"
	"strings"

	"edgeagent"
	"edgeagent/llm"
)

// stoppedID is the source of the built-in entry, for a runbook that has none of
// its own for a device that does not answer.
const stoppedID = "builtin#" + edgeagent.CodeDeviceStopped

// stoppedCheck is one step of the built-in entry, with the words of an error
// that bring it to the front.
type stoppedCheck struct {
	text  string
	words []string
}

var englishStopped = []stoppedCheck{
	{"Power: is the PLC or the gateway on, is its 24 V supply and its fuse all right?", []string{"no route", "unreachable", "timeout", "timed out", "i/o timeout", "no answer"}},
	{"Switch port: do the link lights at both ends burn, is the port of the switch enabled?", []string{"no route", "unreachable", "timeout", "timed out", "i/o timeout"}},
	{"Cable and plugs between switch and PLC; try another port or patch cable.", []string{"no route", "unreachable", "i/o timeout"}},
	{"IP conflict or changed address: does the address belong to this PLC, does ping answer from only one device?", []string{"host", "address", "unit"}},
	{"PLC in STOP, or its Modbus server off? Look at the RUN light and at free connection slots.", []string{"refused", "reset", "eof", "slot", "exception", "closed"}},
	{"Another master (panel, SCADA, a laptop) that holds the connection or the serial line?", []string{"refused", "reset", "eof", "busy", "slot", "silent"}},
}

var germanStopped = []stoppedCheck{
	{"Spannung: ist die Steuerung oder das Gateway an, sind 24-V-Versorgung und Sicherung in Ordnung?", englishStopped[0].words},
	{"Switch-Port: leuchten die Link-LEDs an beiden Enden, ist der Port am Switch freigegeben?", englishStopped[1].words},
	{"Kabel und Stecker zwischen Switch und Steuerung; anderen Port oder anderes Patchkabel versuchen.", englishStopped[2].words},
	{"IP-Konflikt oder geänderte Adresse: gehört die Adresse zu dieser Steuerung, antwortet auf Ping nur ein Gerät?", englishStopped[3].words},
	{"Steuerung in STOP oder Modbus-Server aus? RUN-LED und freie Verbindungen prüfen.", englishStopped[4].words},
	{"Hält ein anderer Master (Panel, SCADA, Laptop) die Verbindung oder die serielle Leitung?", englishStopped[5].words},
}

// orderedFor returns the checks with those in front that fit the error.
func orderedFor(checks []stoppedCheck, problem string) []string {
	problem = strings.ToLower(problem)
	var fit, rest []string
	for _, c := range checks {
		if slices.ContainsFunc(c.words, func(w string) bool { return strings.Contains(problem, w) }) {
			fit = append(fit, c.text)
		} else {
			rest = append(rest, c.text)
		}
	}
	return append(fit, rest...)
}

// stopped is the built-in entry: a device that does not answer is no riddle for
// a model, and its checks are the same everywhere.
func (w *writer) stopped(a edgeagent.Alarm) {
	problem := llm.Clean(a.SourceText, 200)
	if problem == "" {
		problem = llm.Clean(a.Text, 200)
	}
	w.say(fmt.Sprintf(w.s.stopped, a.Device, strings.TrimSuffix(problem, ".")) + ".")
	w.d.Causes = []edgeagent.Cause{{
		Cause:      fmt.Sprintf(w.s.stoppedCause, a.Device, strings.TrimSuffix(problem, ".")),
		Likelihood: edgeagent.Likely, Evidence: []string{a.Name()}, Sources: []string{stoppedID},
	}}
	w.d.Checks = orderedFor(w.s.stoppedChecks, a.SourceText+" "+a.Text)
	w.d.Missing = append(w.d.Missing, fmt.Sprintf(w.s.stoppedMiss, a.Device))
}
