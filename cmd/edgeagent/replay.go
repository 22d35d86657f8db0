package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
	"unsafe"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/status"
)

func newReplay(o *options) *cobra.Command {
	var q status.AskedCase
	c := jsonFlag(&cobra.Command{
		Use: "replay JOB_ID", Short: "diagnose a stored case again and compare both answers; changes nothing",
		Long: "Asks again about the case of a job exactly as its attempts saw it, with today's prompt, providers and rules, and prints both\n" +
			"answers. The job keeps its answer; what the new one costs counts into the caps, without an agent into\n" +
			"those of this command alone. Exit code 1 if nobody answered.",
		Args: exactly(1, "one job id"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := edgeagent.ParseID(strings.ToUpper(args[0]))
			if err != nil {
				return usagef("%w; edgeagent jobs list names the jobs", err)
			}
			q.Job = id
			return runReplay(c, o, q)
		},
	}, o)
	c.Flags().StringVar(&q.Provider, "provider", "", "ask this provider alone (default all in their order)")
	c.Flags().BoolVar(&q.DryRun, "dry-run", false, "print what each provider would be sent; send nothing")
	return c
}

// replayed is what replay --json prints.
type replayed struct {
	status.AnsweredCase
	Changed []string `json:"changed"`
}

func runReplay(c *cobra.Command, o *options, q status.AskedCase) error {
	a, err := askOnce(c, o, q)
	if err != nil {
		return err
	}
	changed := changes(a.Stored, a.Diagnosis)
	switch {
	case o.json:
		if err := printJSON(c.OutOrStdout(), replayed{a, changed}); err != nil {
			return err
		}
	case q.DryRun:
		printCaseHead(c.OutOrStdout(), a)
		return printPrompts(c.OutOrStdout(), a.Prompts)
	default:
		printCaseHead(c.OutOrStdout(), a)
		fmt.Fprintln(c.OutOrStdout())
		besides(c.OutOrStdout(), terminalWidth(c.OutOrStdout()), answerLines("STORED", a.Stored), answerLines("NOW", a.Diagnosis))
		fmt.Fprintln(c.OutOrStdout())
		for _, line := range changed {
			fmt.Fprintln(c.OutOrStdout(), printable(line))
		}
		printCalls(c.OutOrStdout(), a.Calls)
	}
	return unanswered(a, q.DryRun)
}

// answerLines is an answer as lines to be set beside another.
func answerLines(title string, d *edgeagent.Diagnosis) []string {
	if d == nil {
		return []string{title, "no answer"}
	}
	lines := []string{title + ": " + strings.TrimSpace(d.By.Provider+" "+d.By.Model), clock(&d.By.At), d.Summary}
	if d.Safety != "" {
		lines = append(lines, "SAFETY: "+d.Safety)
	}
	for _, c := range d.Causes {
		lines = append(lines, string(c.Likelihood)+": "+c.Cause)
	}
	for i, check := range d.Checks {
		lines = append(lines, strconv.Itoa(i+1)+". "+check)
	}
	if d.Unstructured != "" {
		lines = append(lines, "unstructured: "+d.Unstructured)
	}
	lines = append(lines, fmt.Sprintf("grounded %d of %d, %d removed, %d ms, %d+%d tokens, $%.5f",
		d.Grounded.Held, d.Grounded.Checked, len(d.Filtered), d.By.TookMS, d.By.TokensIn, d.By.TokensOut, d.By.CostUSD))
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return lines
}

// changes says what differs between two answers, the first causes first.
func changes(was, is *edgeagent.Diagnosis) []string {
	if was == nil || is == nil {
		return []string{}
	}
	out := []string{"first cause: " + differs(firstCause(*was), firstCause(*is))}
	causes, checks := added(was.Causes, is.Causes, causeText), added(was.Checks, is.Checks, checkText)
	gone, dropped := added(is.Causes, was.Causes, causeText), added(is.Checks, was.Checks, checkText)
	out = append(out,
		fmt.Sprintf("causes: %d then, %d now; %d new, %d gone", len(was.Causes), len(is.Causes), causes, gone),
		fmt.Sprintf("checks: %d then, %d now; %d new, %d gone", len(was.Checks), len(is.Checks), checks, dropped),
		fmt.Sprintf("grounded: %d of %d then, %d of %d now", was.Grounded.Held, was.Grounded.Checked, is.Grounded.Held, is.Grounded.Checked),
		fmt.Sprintf("cost: $%.5f then, $%.5f now; time: %d ms then, %d ms now", was.By.CostUSD, is.By.CostUSD, was.By.TookMS, is.By.TookMS))
	if was.By.PromptVersion != is.By.PromptVersion {
		out = append(out, fmt.Sprintf("prompt: %s then, %s now", dash(was.By.PromptVersion), dash(is.By.PromptVersion)))
	}
	return out
}

func firstCause(d edgeagent.Diagnosis) string {
	if len(d.Causes) == 0 {
		return ""
	}
	return d.Causes[0].Cause
}

func differs(was, is string) string {
	switch {
	case sameText(was, is):
		return "the same"
	case was == "":
		return "none then, now: " + is
	case is == "":
		return "none now, then: " + was
	default:
		return "worded differently; compare them"
	}
}

func causeText(c edgeagent.Cause) string { return c.Cause }
func checkText(s string) string          { return s }

// added counts what is in is and not in was, by its words.
func added[T any](was, is []T, text func(T) string) (n int) {
	for _, x := range is {
		if !slices.ContainsFunc(was, func(y T) bool { return sameText(text(x), text(y)) }) {
			n++
		}
	}
	return n
}

func sameText(a, b string) bool {
	plain := func(s string) string {
		return strings.Join(strings.Fields(strings.ToLower(strings.Trim(s, " ."))), " ")
	}
	return plain(a) == plain(b)
}

// narrow is the width below which two answers stand one below the other.
const narrow = 80

// besides sets two texts side by side, or one below the other where there is no
// room for both.
func besides(w io.Writer, width int, left, right []string) {
	if width < narrow {
		for _, line := range slices.Concat(left, []string{""}, right) {
			fmt.Fprintln(w, line)
		}
		return
	}
	column := (width - 3) / 2
	for i := range max(len(left), len(right)) {
		l, r := wrap(item(left, i), column), wrap(item(right, i), column)
		for k := range max(len(l), len(r)) {
			text := item(l, k)
			fmt.Fprintln(w, strings.TrimRight(text+strings.Repeat(" ", column-utf8.RuneCountInString(text))+" | "+item(r, k), " "))
		}
	}
}

func item(all []string, i int) string {
	if i < len(all) {
		return all[i]
	}
	return ""
}

// wrap breaks a text between words into lines of at most width characters; a
// longer word is cut.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		for utf8.RuneCountInString(word) > width {
			head := string([]rune(word)[:width])
			lines, line, word = appendText(lines, line), head, word[len(head):]
			lines, line = append(lines, line), ""
		}
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	return appendText(lines, line)
}

func appendText(lines []string, line string) []string {
	if line == "" {
		return lines
	}
	return append(lines, line)
}

// terminalWidth is that of the terminal, $COLUMNS, or wide: what goes into a
// file has room.
func terminalWidth(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) {
		return 120
	}
	var size struct{ rows, columns, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if errno != 0 || size.columns == 0 {
		return narrow
	}
	return int(size.columns)
}
